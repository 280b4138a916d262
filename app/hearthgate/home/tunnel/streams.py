"""The home's end of sealed channels on one relay: TCP forwards, sealed web visitors.

    sealed channel ──OPEN──▶ find the service ──connect──▶ carry, as at the relay
          ▲             └──▶ a socket pair ──▶ the edge ──▶ carry
          │                                                  │ through
          └──────────────── waits for the next OPEN ◀────────┘

A channel outlives the session in which it was opened as long as it carries a visitor.
HAProxy is not in the way of a forward: it would need a TLS handshake for each visitor,
which costs ten times what the rest does. Moves no bytes: that is
shared/net/sealed_channel.py.
"""

import asyncio
from collections.abc import Callable
import contextlib
from dataclasses import dataclass
import errno
import logging
import socket

from hearthgate.home.model import Bytes, Target
from hearthgate.home.tunnel.lookup import Lookup
from hearthgate.home.tunnel.pool import HandOver
from hearthgate.shared.net.poller import Poller
from hearthgate.shared.net.sealed_channel import SealedChannel
from hearthgate.wire.frames import (
    WEB_PORT,
    FrameKind,
    FrameOpener,
    FrameSealer,
    StreamOpen,
    read_stream_open,
    sealed_keys,
)

_LOGGER = logging.getLogger(__name__)

_LEFTOVERS_S = 20.0  # longer than a relay takes to tell that it stops, and to stop
# Two tries more for a connection to the service: seven seconds in all.
_OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_SYNCNT, 2),
)


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """Where visitors of a forwarded port go."""

    target: Target
    tells_visitor: bool  # send the visitor's address by PROXY protocol, version 2


FindTcpTarget = Callable[[int], TcpTarget | None]


class Streams:
    """All sealed channels of one relay. Lives in one loop."""

    def __init__(
        self,
        *,
        find_target: FindTcpTarget,
        hand_over: HandOver,
        poller: Poller,
        clock: Callable[[], float],
    ) -> None:
        """hand_over: takes web visitors, each behind a PROXY header."""
        self.find_target = find_target
        self.hand_over = hand_over
        self.poller = poller
        self.lookup = Lookup(clock)
        self._lines: set[_Line] = set()
        self._moved: dict[int, Bytes] = {}  # by port, of those who left
        self._key = b""  # of the session that is valid now

    def begin(self, channel_key: bytes) -> None:
        """Take that a session has begun."""
        self.end()
        self._key = channel_key

    def take(self, sock: socket.socket, serial: int) -> None:
        """Take over a channel of this session; its first frame may have come."""
        line = _Line(self, sock, self._key, serial)
        self._lines.add(line)
        line.watch()

    def end(self) -> None:
        """Take that the session has ended. Its channels are the relay's to close.

        A visitor may be on its way over one that seems to be free. Only if the relay
        closes none, because it is gone, are they closed here.
        """
        if self._key and self._lines:
            loop = asyncio.get_running_loop()
            loop.call_later(_LEFTOVERS_S, self._close_leftovers, self._key)
        self._key = b""

    def _close_leftovers(self, key: bytes) -> None:
        for line in list(self._lines):
            if line.is_idle and line.key == key:
                line.close()

    def targets_changed(self) -> None:
        """Cut visitors whose forward is gone or leads elsewhere now."""
        for line in list(self._lines):
            if line.is_outdated():
                line.cut()

    @property
    def visitors(self) -> int:
        """How many visitors of forwards there are."""
        return sum(line.port != WEB_PORT for line in self._lines)

    def moved(self, port: int) -> Bytes | None:
        """Return the bytes of a forward; None if it had no visitor yet."""
        total = self._moved.get(port)
        for line in self._lines:
            if line.port == port:
                total = (total or Bytes()) + Bytes(line.given, line.taken)
        return total

    def left(self, port: int, received: int, sent: int) -> None:
        """Count what a visitor of a forward who left has moved."""
        if port == WEB_PORT:  # the edge counts these
            return
        total = self._moved.get(port, Bytes())
        self._moved[port] = total + Bytes(received, sent)

    def forget(self, line: "_Line") -> None:
        """Forget a closed channel."""
        self._lines.discard(line)

    async def close(self) -> None:
        """Close everything."""
        self._key = b""
        for line in list(self._lines):
            line.close()
        await self.lookup.close()


class _Line(SealedChannel):
    """One sealed channel."""

    __slots__ = ("_open", "_streams", "_to", "key")

    hangs_up_soon = True

    def __init__(
        self, streams: Streams, sock: socket.socket, key: bytes, serial: int
    ) -> None:
        to_relay, to_home = sealed_keys(key, serial)
        super().__init__(
            sock,
            streams.poller,
            FrameSealer(to_relay),
            FrameOpener(to_home),
            is_polled=False,
        )
        self._streams = streams
        self.key = key
        self._open: StreamOpen | None = None  # what it carries or is about to
        self._to: TcpTarget | None = None

    @property
    def port(self) -> int:
        """Where the visitor came whom it carries, WEB_PORT if there is none."""
        return self._open.port if self._open is not None else WEB_PORT

    def is_outdated(self) -> bool:
        """Tell whether it carries a visitor to where none goes any more."""
        port = self.port
        return port != WEB_PORT and self._streams.find_target(port) != self._to

    def opened(self, inside: bytes) -> None:
        """Find the service that a visitor wants."""
        opened = read_stream_open(inside)
        if opened is not None and opened.port == WEB_PORT:
            self._open = opened
            self._pass_on(opened)
            return
        to = self._streams.find_target(opened.port) if opened else None
        if opened is None or to is None:
            self.cut()
            return
        self._open, self._to = opened, to
        if opened.asks:
            self.say(FrameKind.ACCEPT)
        address = self._streams.lookup.find(to.target.host, self._found)
        if address is not None:
            self._connect(address)

    def _pass_on(self, opened: StreamOpen) -> None:
        """Give the edge one end of a socket pair, and carry the other."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as err:
            _LOGGER.warning("No socket for a visitor: %s", err)
            self.cut()
            return
        ours.setblocking(False)  # noqa: FBT003  the socket module's own name
        theirs.setblocking(False)  # noqa: FBT003
        if opened.asks:
            self.say(FrameKind.ACCEPT)
        self.carry(ours, greeting=opened.proxy)
        self._streams.hand_over(theirs)

    def _found(self, address: str | None) -> None:
        """Connect to a service whose name was looked up."""
        if self.closed:
            return
        if address is None or self.is_outdated():
            self.cut()
            return
        self._connect(address)
        if not self.closed:
            self.go_on()

    def _connect(self, address: str) -> None:
        opened, to = self._open, self._to
        if opened is None or to is None:
            return
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as err:
            _LOGGER.warning("No socket for port %d: %s", opened.port, err)
            self.cut()
            return
        with contextlib.suppress(OSError):
            for level, option, value in _OPTIONS:
                sock.setsockopt(level, option, value)
        code = sock.connect_ex((address, to.target.port))
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            self.cut()
            return
        greeting = opened.proxy if to.tells_visitor else b""
        self.carry(sock, greeting=greeting, connects=code != 0)

    def finished(self, taken: int, given: int) -> None:
        """Count, and wait for the next visitor."""
        self._streams.left(self.port, given, taken)
        self._open = self._to = None

    def gone(self, taken: int, given: int) -> None:
        """Count, and leave."""
        self._streams.forget(self)
        if self._open is not None:
            self._streams.left(self.port, given, taken)
        self._open = self._to = None
