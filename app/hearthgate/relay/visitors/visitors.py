"""Bring a visitor from its ClientHello to the pump.

    admit ──route, parked channel──▶ open ──first byte came back──▶ pump
      │                               │
      └─ nothing there ─▶ wait ◀──────┘ the channel is dead: replay the flight

The first flight is kept until the first byte comes back, so that a channel whose NAT
mapping died costs the visitor a replay and not the connection. Knows hostnames and
addresses, never content.
"""

import asyncio
from collections.abc import Callable
import contextlib
import logging
import socket
import struct

from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.counting.traffic import Traffic, VisitorLog
from hearthgate.relay.homes.registry import Home
from hearthgate.relay.homes.sessions import (
    ParkedChannel,
    Presence,
    Route,
    Session,
    Sessions,
)
from hearthgate.relay.limits import Limits
from hearthgate.relay.visitors.pump import Carried, Pump
from hearthgate.relay.visitors.sealed_line import SealedLine
from hearthgate.shared.net.poller import INCOMING, READABLE, WRITABLE, Poller
from hearthgate.wire.alerts import Alert, alert_record
from hearthgate.wire.channel import write_opening
from hearthgate.wire.frames import WEB_PORT
from hearthgate.wire.hello import ACME_TLS_ALPN, Hello
from hearthgate.wire.proxy import Endpoint, proxy_header

_LOGGER = logging.getLogger(__name__)

Elsewhere = Callable[[socket.socket, bytes, str], None]
# Channels that closed, of those parked since the visitor came. Older ones all close
# together if the path breaks, and there is an end to them.
_TRIES_MAX = 5
_UNACKED = struct.Struct("=24xI")  # tcpi_unacked in struct tcp_info (linux/tcp.h)


class Visitor:
    """One visitor between hello and pump; afterwards only what its end needs."""

    __slots__ = (
        "_came_to",
        "_desk",
        "_flight",
        "_leave",
        "_line",
        "_unsent",
        "channel",
        "closed",
        "hostname",
        "opened_at",
        "peer",
        "replays",
        "route",
        "since",
        "sock",
        "tries",
    )

    def __init__(
        self,
        desk: "Visitors",
        sock: socket.socket,
        *,
        peer: Endpoint,
        hostname: str,
        flight: bytes,
        leave: Callable[[], None],
    ) -> None:
        self.sock = sock
        self.hostname = hostname
        self.route: Route | None = None
        self.channel: ParkedChannel | SealedLine | None = None
        self.since = desk.clock()
        self.opened_at = 0.0
        self.tries = 0
        self.replays = 0
        self.closed = False
        self._desk = desk
        self.peer = peer
        self._flight = flight
        self._came_to = ""  # a forward, for who is no web visitor
        self._unsent: bytes | memoryview = b""
        self._line: SealedLine | None = None  # that carries it, if one does
        self._leave = leave

    @property
    def goal(self) -> tuple[int, Endpoint]:
        """The port in an OPEN, and what the visitor has dialled."""
        return WEB_PORT, self._desk.relay

    def is_sealed_by(self, session: Session) -> bool:
        """Tell whether it goes over a sealed channel to this home."""
        return session.seals

    def choose(self, presence: Presence) -> ParkedChannel | SealedLine | None:
        """Take a channel of the kind that it can use."""
        session = presence.session
        if session is not None and self.is_sealed_by(session):
            return presence.take_sealable()
        return presence.take_channel()

    def proceed(self, channel: ParkedChannel | SealedLine) -> None:
        """Go on over a channel."""
        desk = self._desk
        session = channel.session
        route = session.presence.routes.get(self.hostname)
        if route is None or self.closed:
            channel.close()
            self.refuse(Alert.UNRECOGNIZED_NAME)
            return
        self.channel = channel
        self.tries += channel.since >= self.since
        if self.route is not route:
            self._leave_route()
            self.route = route
            route.live.add(self)
        self.opened_at = desk.clock()
        desk.opening[self] = None
        if isinstance(channel, SealedLine) or self.is_sealed_by(session):
            self._begin_sealed(channel)
        else:
            self._begin(channel)

    def _begin_sealed(self, channel: ParkedChannel | SealedLine) -> None:
        """Have a sealed channel carry the visitor."""
        desk = self._desk
        if isinstance(channel, ParkedChannel):
            channel = SealedLine(
                channel,
                desk.pump,
                clock=desk.clock,
                trust_s=desk.limits.sealed_trust_s,
            )
        self.channel = self._line = channel
        port, target = self.goal
        channel.take(
            self.sock,
            port,
            proxy_header(self.peer, target),
            flight=self._flight,
            on_answer=self._on_answer,
            on_lost=self._channel_ended,
            on_end=self._on_end,
        )

    def _on_answer(self) -> None:
        """Take that the home is there, or was a moment ago: this channel it will be."""
        line, route = self._line, self.route
        if line is not None:
            self._answered(line)
            if route is not None:
                route.live.add(line)

    def _on_end(self, to_home: int, to_visitor: int) -> None:
        """Take that the channel has closed the visitor's socket, or died."""
        line, self._line = self._line, None
        if self.route is not None and line is not None:
            self.route.live.discard(line)
        if self.closed:
            return
        self.closed = True
        self._desk.opening.pop(self, None)
        self._desk.left(self, to_home, to_visitor)
        self._leave_route()
        self._leave()

    def _begin(self, channel: ParkedChannel) -> None:
        """Send opening and flight; wait for the first byte back."""
        session = channel.session
        proxy = proxy_header(self.peer, self._desk.relay)
        self._unsent = write_opening(
            session.id, channel.serial, session.key, proxy, self._flight
        )
        self._desk.poller.set_handler(channel.fd, self._on_channel)
        self._send()

    def _tell(self, alert: Alert) -> None:
        """Say why the visitor is refused."""
        self.sock.send(alert_record(alert))

    def _send(self) -> None:
        channel = self.channel
        if channel is None:
            return
        unsent = self._unsent
        had_rest = isinstance(unsent, memoryview)
        try:
            sent = channel.sock.send(unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._channel_ended()
            return
        has_rest = sent < len(unsent)
        self._unsent = memoryview(unsent)[sent:] if has_rest else b""
        if has_rest != had_rest:
            more = WRITABLE if has_rest else 0
            self._desk.poller.set_events(channel.fd, INCOMING | more)

    def _on_channel(self, events: int) -> None:
        channel = self.channel
        if channel is None:
            return
        if events & WRITABLE and self._unsent:
            self._send()
            if self.channel is not channel:
                return
        if events & ~(READABLE | WRITABLE):
            # Ended; perhaps with bytes before the end.
            try:
                if not channel.sock.recv(1, socket.MSG_PEEK):
                    self._channel_ended()
                    return
            except BlockingIOError:
                return
            except OSError:
                self._channel_ended()
                return
        if events & ~WRITABLE:
            self._join(channel)

    def _join(self, channel: ParkedChannel | SealedLine) -> None:
        """Give visitor and channel to the pump."""
        route = self.route
        if route is None:
            self.close()
            return
        self._answered(channel)
        unsent, self._unsent = self._unsent, b""
        pump = self._desk.pump
        pair = pump.join(self.sock, channel.sock, unsent, self._done)
        if not pair.closed:
            route.live.add(pair)

    def _answered(self, channel: ParkedChannel | SealedLine) -> None:
        """Take that the first byte came back: nothing is replayed from here on."""
        desk = self._desk
        desk.opening.pop(self, None)
        now = desk.clock()
        channel.session.answered_at = now
        desk.traffic.opened(self.hostname, len(self._flight), now - self.since)
        if self.route is not None:
            self.route.live.discard(self)
        self._flight = b""
        self.channel = None

    def _done(self, pair: Carried) -> None:
        self.closed = True
        self._desk.left(self, pair.to_home, pair.to_visitor)
        if self.route is not None:
            self.route.live.discard(pair)
        self._leave()

    def _channel_ended(self) -> None:
        """Replay on another channel at once: this one was closed, not lost."""
        self._drop_channel()
        if self.tries >= _TRIES_MAX:
            self.refuse(Alert.INTERNAL_ERROR)
        else:
            self._desk.place(self)

    def replay(self) -> bool:
        """Replay on a fresh channel; False if the one replay was used up."""
        self._drop_channel()
        if self.replays:
            self.refuse(Alert.INTERNAL_ERROR)
            return False
        self.replays += 1
        self._desk.traffic.replays += 1
        return True

    def _drop_channel(self) -> None:
        """Close the channel and keep the visitor."""
        self._desk.opening.pop(self, None)
        line, self._line = self._line, None
        channel, self.channel = self.channel, None
        if line is not None:
            line.let_go()
        elif channel is not None:
            channel.close()

    def unacknowledged(self) -> bool:
        """Tell whether the home's kernel has not acknowledged the flight."""
        if self.channel is None:
            return False
        try:
            info = self.channel.sock.getsockopt(
                socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED.size
            )
        except OSError:
            return True
        return len(info) >= _UNACKED.size and _UNACKED.unpack(info)[0] > 0

    def refuse(self, alert: Alert) -> None:
        """Tell the visitor, as far as TLS lets us, and close."""
        if self.closed:
            return
        with contextlib.suppress(OSError):  # gone; nobody is left to be told
            self._tell(alert)
        self.close()

    def move_to(self, elsewhere: Elsewhere) -> None:
        """Give the visitor away with its first flight."""
        if self.closed:
            return
        self.closed = True
        self._drop_channel()
        self._leave_route()
        self._leave()
        elsewhere(self.sock, self._flight, self._came_to)

    def _leave_route(self) -> None:
        if self.route is not None:
            self.route.live.discard(self)
            self.route = None

    def close(self) -> None:
        """Close the visitor and the channel it holds. Twice does no harm."""
        if self.closed:
            return
        self.closed = True
        self._drop_channel()
        self._leave_route()
        self.sock.close()
        self._leave()


class Visitors:
    """All visitors between hello and pump. Lives in one loop."""

    def __init__(
        self,
        sessions: Sessions,
        pump: Pump,
        poller: Poller,
        limits: Limits,
        counters: Counters,
        *,
        holder: Callable[[str], Home | None],
        relay: Endpoint,
        clock: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
        traffic: Traffic,
        log: VisitorLog = VisitorLog.OFF,
    ) -> None:
        self.traffic = traffic
        self.relay = relay  # what the edge is told that the visitor has dialled
        self.pump = pump
        self.poller = poller
        self.clock = clock
        self.opening: dict[Visitor, None] = {}  # in the order in which they were opened
        self._sessions = sessions
        self.limits = limits
        self._counters = counters
        self._holder = holder  # whose grant covers a hostname
        self._loop = loop
        self._asking: set[Presence] = set()
        self._elsewhere: Elsewhere | None = None
        self._log = log

    def admit(
        self,
        sock: socket.socket,
        peer: Endpoint,
        hello: Hello,
        flight: bytes,
        leave: Callable[[], None],
    ) -> None:
        """Take over a visitor with its first flight; call leave() once it is gone.

        The socket is non-blocking and not in the poller.
        """
        name = hello.server_name
        visitor = Visitor(
            self, sock, peer=peer, hostname=name or "", flight=flight, leave=leave
        )
        if name is None:
            self._counters.refuse("a hello without a name", address=peer[0])
            visitor.refuse(Alert.UNRECOGNIZED_NAME)
        elif ACME_TLS_ALPN in hello.protocols:
            # Somebody on the path to the home could answer on a clear channel.
            self._counters.refuse("an acme-tls/1 validation", name)
            visitor.refuse(Alert.NO_APPLICATION_PROTOCOL)
        else:
            self.place(visitor)

    def move_to(self, elsewhere: Elsewhere) -> None:
        """Send away whoever waits for a channel, now and from here on.

        elsewhere(sock, flight, forward) takes the socket over; forward is empty for a
        web visitor. Who has a channel stays.
        """
        self._elsewhere = elsewhere
        for presence in self._sessions.presences.values():
            waiting = list(presence.waiting)
            presence.waiting.clear()
            for visitor in waiting:
                if isinstance(visitor, Visitor):
                    visitor.move_to(elsewhere)

    def place(self, visitor: Visitor) -> None:
        """Give a visitor a channel, or let it wait for one, or refuse it."""
        if self._elsewhere is not None:
            visitor.move_to(self._elsewhere)
            return
        route = self._sessions.routes.get(visitor.hostname)
        if route is None:
            presence = self._sessions.expected(self._holder(visitor.hostname))
        else:
            presence = route.presence
        if presence is None:
            self._counters.refuse("an unknown hostname", visitor.hostname[:100])
            visitor.refuse(Alert.UNRECOGNIZED_NAME)
            return
        channel = visitor.choose(presence) if route is not None else None
        if channel is not None:
            visitor.proceed(channel)
        else:
            self._wait(visitor, presence)

    def _wait(self, visitor: Visitor, presence: Presence) -> None:
        if len(presence.waiting) >= self.limits.waiting_per_home_max:
            name = presence.home.name
            self._counters.refuse("more waiting visitors than allowed", home=name)
            visitor.refuse(Alert.INTERNAL_ERROR)
            return
        presence.waiting.append(visitor)
        self._ask_soon(presence)

    def _ask_soon(self, presence: Presence) -> None:
        """Ask for channels once for all who come in this turn of the loop."""
        if not self._asking:
            self._loop.call_soon(self._ask)
        self._asking.add(presence)

    def _ask(self) -> None:
        asking, self._asking = self._asking, set()
        for presence in asking:
            presence.ask_for_channels()

    def on_channel(self, session: Session, channel: ParkedChannel) -> None:
        """Park a fresh channel, or give it to a visitor who waits."""
        session.parked.append(channel)
        if session.presence.waiting:
            session.presence.serve()

    def left(self, visitor: Visitor, to_home: int, to_visitor: int) -> None:
        """Count what a visitor has moved, and log it if the owner wants that."""
        self.traffic.ended(visitor.hostname, to_home, to_visitor)
        if self._log is VisitorLog.OFF:
            return
        _LOGGER.info(
            "%s: A visitor%s left after %.1f s, %d bytes to home, %d to the visitor",
            visitor.hostname,
            f" from {visitor.peer[0]}" if self._log is VisitorLog.ADDRESSES else "",
            self.clock() - visitor.since,
            to_home,
            to_visitor,
        )

    def sweep(self) -> None:
        """Act on passed deadlines. To be called four times a second."""
        now = self.clock()
        for visitor in list(self.opening):
            if now - visitor.opened_at < self.limits.unacknowledged_deadline_s:
                break  # the others were opened later
            if visitor.channel is not None and self._is_lost(visitor, now):
                self._replay(visitor)
        for presence in self._sessions.presences.values():
            self._sweep_waiting(presence, now)

    def _is_lost(self, visitor: Visitor, now: float) -> bool:
        old = now - visitor.opened_at >= self.limits.first_byte_deadline_s
        return old or self._is_path_dead(visitor, now)

    def _is_path_dead(self, visitor: Visitor, now: float) -> bool:
        """Tell whether nothing goes through to the home, for others neither."""
        channel = visitor.channel
        if channel is None or visitor.unacknowledged():
            return True
        silent = channel.session.answered_at < visitor.opened_at
        return silent and now - visitor.opened_at >= self.limits.silent_home_deadline_s

    def _replay(self, visitor: Visitor) -> None:
        channel = visitor.channel
        if channel is None:
            return
        session = channel.session
        presence = session.presence
        stale_before = 0
        if self._is_path_dead(visitor, self.clock()):
            opened_at = visitor.opened_at
            dead = [one.serial for one in session.parked if one.since <= opened_at]
            session.discard_stale(opened_at)
            if presence.session is session:  # the serials of another mean nothing
                stale_before = max([channel.serial, *dead]) + 1
            _LOGGER.info(
                "%s: Channels went silent; replaying on a fresh one, %d more given up",
                visitor.hostname,
                len(dead),
            )
        if not visitor.replay():
            self._counters.refuse("no answer from home", home=presence.home.name)
        elif self._elsewhere is not None:
            visitor.move_to(self._elsewhere)
        else:
            presence.waiting.appendleft(visitor)
        presence.ask_for_channels(stale_before=stale_before)

    def _sweep_waiting(self, presence: Presence, now: float) -> None:
        deadline = now - self.limits.waiting_deadline_s
        for visitor in [one for one in presence.waiting if one.since < deadline]:
            presence.waiting.remove(visitor)
            home = presence.home.name
            self._counters.refuse("no channel from home in time", home=home)
            visitor.refuse(Alert.INTERNAL_ERROR)
        if presence.waiting and presence.session is not None:
            presence.serve()
            presence.ask_for_channels()

    def close(self) -> None:
        """Close every visitor that has a channel but has not reached the pump."""
        for visitor in list(self.opening):
            visitor.close()
