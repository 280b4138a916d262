"""The front door: find out who is behind a new connection on port 443.

    first bytes              goes to
    ─────────────            ───────────────────────────────────────────────
    hello, control name      the control endpoint, with nothing read from it
    hello, anything else     the visitors' desk, with its first flight
    channel preamble         the session whose ticket it carries
    plain HTTP               a short "use https", and the end
    anything else, nothing   the end

Bytes are peeked at until it is clear whose they are, and SO_RCVLOWAT keeps a sender of
single bytes from waking us for each. There is no default behind an unknown first byte.
"""

from collections.abc import Callable
import contextlib
import functools
import logging
import select
import socket

from hearthgate.relay.accept.connection_limiter import ConnectionLimiter
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.homes.sessions import ParkedChannel, Sessions
from hearthgate.relay.limits import Limits
from hearthgate.relay.visitors.visitors import Visitors
from hearthgate.shared.net.poller import ENDED, INCOMING, Poller
from hearthgate.wire.channel import FLIGHT_MAX_BYTES, PREAMBLE_BYTES, read_preamble
from hearthgate.wire.constants import CHANNEL_MAGIC, CONTROL_NAME
from hearthgate.wire.hello import Hello, NeedMore, NotHello, read_hello
from hearthgate.wire.proxy import Endpoint

_LOGGER = logging.getLogger(__name__)

_HANDSHAKE = 22  # the record type of a hello (RFC 8446 §5.1)
_USE_HTTPS = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 59\r\nConnection: close\r\n\r\n"
    b"This port speaks HTTPS only. Use an https:// address here.\n"
)
_HTTP_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"OPTIONS ", b"PRI * ")

Control = Callable[[socket.socket, Endpoint], None]


class _Arrival:
    """A connection of which nobody knows yet what it is."""

    __slots__ = ("_wakes_at", "peer", "since", "sock", "waits")

    def __init__(self, sock: socket.socket, peer: Endpoint, since: float) -> None:
        self.sock = sock
        self.peer = peer
        self.since = since
        self.waits = False  # for more bytes: in the poller, and counted
        self._wakes_at = 1

    def wake_at(self, size: int) -> None:
        """Count as readable once so many bytes are there, or the stream has ended."""
        if size != self._wakes_at:
            self._wakes_at = size
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)


class FrontDoor:
    """Hand each new connection to whoever it belongs to. Lives in one loop.

    Owns a connection until it is handed on. Who has not said enough at once counts in
    the limiter of arrivals until then, so that visitors, however many, keep no home
    from coming back; a visitor counts in the limiter of those inside from then on.
    """

    def __init__(
        self,
        *,
        control: Control,
        sessions: Sessions,
        visitors: Visitors,
        poller: Poller,
        waiting: Poller,
        arrivals: ConnectionLimiter,
        inside: ConnectionLimiter,
        limits: Limits,
        counters: Counters,
        clock: Callable[[], float],
    ) -> None:
        """poller: for channels. waiting: for who has not said enough at once."""
        self._control = control
        self._sessions = sessions
        self._visitors = visitors
        self._poller = poller
        self._waiting = waiting
        self._limiter = arrivals
        self._inside = inside
        self._limits = limits
        # An opening carries no longer flight.
        self._hello_max_bytes = min(limits.hello_max_bytes, FLIGHT_MAX_BYTES)
        self._counters = counters
        self._clock = clock
        self._arrivals: dict[_Arrival, None] = {}  # in the order in which they came

    def close(self) -> None:
        """Close every connection that was not handed on."""
        for arrival in list(self._arrivals):
            self._end(arrival)

    def move_to(self, take: Callable[[socket.socket], None]) -> None:
        """Give away every connection that was not handed on, with nothing read."""
        for arrival in list(self._arrivals):
            self._release(arrival)
            take(arrival.sock)

    def sweep(self) -> None:
        """End connections whose first bytes did not come in time."""
        deadline = self._clock() - self._limits.hello_deadline_s
        for arrival in list(self._arrivals):
            if arrival.since > deadline:
                break
            self._counters.refuse("nothing said in time", address=arrival.peer[0])
            self._end(arrival)

    def admit(self, sock: socket.socket, peer: Endpoint) -> None:
        """Take over an accepted connection."""
        self._look(_Arrival(sock, peer, self._clock()), 0)

    def _look(self, arrival: _Arrival, events: int) -> None:
        """Find out what a connection is, from the bytes that are there."""
        try:
            data = arrival.sock.recv(self._hello_max_bytes, socket.MSG_PEEK)
        except BlockingIOError:
            self._wait_for(arrival, 1, events)
            return
        except OSError:
            self._end(arrival)
            return
        if not data:
            self._end(arrival)
        elif data[0] == _HANDSHAKE:
            self._look_at_hello(arrival, data, events)
        elif data.startswith(CHANNEL_MAGIC[: len(data)]):
            self._look_at_preamble(arrival, data, events)
        elif data.startswith(_HTTP_METHODS):
            self._counters.refuse("plain HTTP on the TLS port", address=arrival.peer[0])
            self._say_use_https(arrival)
        elif any(method.startswith(data) for method in _HTTP_METHODS):
            self._wait_for(arrival, len(data) + 1, events)
        else:
            self._counters.refuse("neither TLS nor a channel", address=arrival.peer[0])
            self._end(arrival)

    def _look_at_hello(self, arrival: _Arrival, data: bytes, events: int) -> None:
        match read_hello(data, max_bytes=self._hello_max_bytes):
            case Hello() as hello if hello.server_name == CONTROL_NAME:
                self._release(arrival)
                self._control(arrival.sock, arrival.peer)
            case Hello() as hello:
                try:
                    flight = arrival.sock.recv(len(data))
                except OSError:
                    self._end(arrival)
                    return
                why = self._inside.enter(arrival.peer[0])
                if why:
                    self._counters.refuse(why, address=arrival.peer[0])
                    self._end(arrival)
                    return
                self._release(arrival)
                leave = functools.partial(self._inside.leave, arrival.peer[0])
                self._visitors.admit(arrival.sock, arrival.peer, hello, flight, leave)
            case NeedMore() as more:
                self._wait_for(arrival, len(data) + more.missing, events)
            case NotHello() as fault:
                self._counters.refuse(
                    "a broken hello", fault.reason, address=arrival.peer[0]
                )
                self._end(arrival)

    def _look_at_preamble(self, arrival: _Arrival, data: bytes, events: int) -> None:
        if len(data) < PREAMBLE_BYTES:
            # An H alone may still become HEAD.
            is_sure = len(data) >= len(CHANNEL_MAGIC)
            size = PREAMBLE_BYTES if is_sure else len(CHANNEL_MAGIC)
            self._wait_for(arrival, size, events)
            return
        preamble = read_preamble(data[:PREAMBLE_BYTES])
        session = None
        if preamble is not None:
            session = self._sessions.by_id.get(preamble.session_id)
        if preamble is None or session is None:
            # A session that was just replaced leaves some behind; no reason to shout.
            self._counters.refuse("a channel of no session", address=arrival.peer[0])
            self._end(arrival)
            return
        why = session.accepts(preamble)
        if why or len(data) > PREAMBLE_BYTES:
            why = why or "a channel that talks out of turn"
            home = session.presence.home.name
            self._counters.refuse(why, home=home, address=arrival.peer[0])
            self._end(arrival)
            return
        try:
            arrival.sock.recv(PREAMBLE_BYTES)
        except OSError:
            self._end(arrival)
            return
        self._release(arrival)
        channel = ParkedChannel(
            arrival.sock,
            preamble.serial,
            session,
            poller=self._poller,
            counters=self._counters,
            since=self._clock(),
        )
        self._poller.add(channel.fd, INCOMING, channel.on_event)
        self._visitors.on_channel(session, channel)

    def _wait_for(self, arrival: _Arrival, size: int, events: int) -> None:
        """Look again when so many bytes are there; give up if the stream has ended."""
        if events & (ENDED | select.EPOLLHUP | select.EPOLLERR):
            self._end(arrival)
            return
        if not arrival.waits:
            why = self._limiter.enter(arrival.peer[0])
            if why:
                self._counters.refuse(why, address=arrival.peer[0])
                self._end(arrival)
                return
            arrival.waits = True
            self._arrivals[arrival] = None
            look = functools.partial(self._look, arrival)
            self._waiting.add(arrival.sock.fileno(), INCOMING, look)
        arrival.wake_at(size)

    def _release(self, arrival: _Arrival) -> None:
        """Let go of a connection that somebody else takes over."""
        if arrival.waits:
            self._forget(arrival)
            self._waiting.remove(arrival.sock.fileno())
            arrival.wake_at(1)

    def _say_use_https(self, arrival: _Arrival) -> None:
        with contextlib.suppress(OSError):  # gone; nobody is left to be told
            arrival.sock.recv(self._hello_max_bytes)  # else closing would reset
            arrival.sock.send(_USE_HTTPS)
        self._end(arrival)

    def _end(self, arrival: _Arrival) -> None:
        if arrival.waits:
            self._forget(arrival)
            self._waiting.forget(arrival.sock.fileno())
        arrival.sock.close()

    def _forget(self, arrival: _Arrival) -> None:
        arrival.waits = False
        del self._arrivals[arrival]
        self._limiter.leave(arrival.peer[0])
