"""Carry a TCP stream over one end of a sealed channel, the same at relay and home.

    plain socket ──recv──▶ frames ──send──▶ channel       plain: a visitor or a service
    plain socket ◀──send── frames ◀──recv── channel

One stream at a time; when both directions have ended, the channel is free for the next.
What a sink does not take at once is kept, at most one buffer for each direction, and
its source is not read until it is gone: backpressure is the kernel's. End of stream is
SHUT_WR towards the plain socket and END on the channel, so half-close survives. A
channel that ends without END was cut, and so the plain socket is reset. Knows no ports.
"""

from collections.abc import Sequence
import contextlib
import logging
import socket
import struct

from hearthgate.shared.net.poller import READABLE, WRITABLE, Handler, Poller
from hearthgate.wire.frames import (
    Frame,
    FrameForgedError,
    FrameKind,
    FrameOpener,
    FrameSealer,
)

_LOGGER = logging.getLogger(__name__)

_KIB = 1024
_BATCH_BYTES = 128 * _KIB  # of a plain socket; becomes some frames in one send
_VIEW = memoryview(bytearray(256 * _KIB))  # nothing stays in it between two calls
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset
# Nothing is sent again on another channel once a visitor's bytes have left, so a path
# that takes nothing for so long ends the stream instead of keeping it for a quarter of
# an hour.
_GIVE_UP_MS = 30_000


class SealedChannel:
    """One end of a sealed channel. Owns both sockets. Lives in one loop.

    What happens to it is told by the methods at the end, for a subclass to fill.
    """

    __slots__ = (
        "_channel_events",
        "_later",
        "_opener",
        "_plain",
        "_plain_events",
        "_plain_pending",
        "_poller",
        "_seal_pending",
        "_sealer",
        "_waits_to_connect",
        "closed",
        "fd",
        "given",
        "got_end",
        "sent_end",
        "sock",
        "taken",
    )

    def __init__(
        self,
        sock: socket.socket,
        poller: Poller,
        sealer: FrameSealer,
        opener: FrameOpener,
        *,
        is_polled: bool,
    ) -> None:
        """Take a channel, non-blocking; it may be in the poller already, for READABLE.

        Nothing is read before `watch`.
        """
        self.sock = sock
        self.fd = sock.fileno()
        self.closed = False
        self._poller = poller
        self._sealer = sealer
        self._opener = opener
        self._channel_events = READABLE if is_polled else 0
        self._seal_pending: bytes | memoryview = b""
        self._later: list[Frame] = []  # came behind an END that is not passed on yet
        self._plain: socket.socket | None = None
        self._reset()
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GIVE_UP_MS)

    def _reset(self) -> None:
        self._plain_events = 0
        self._plain_pending: bytes | memoryview = b""
        self._waits_to_connect = False
        self.got_end = False  # of the other end's stream
        self.sent_end = False  # of the plain socket's
        self.taken = 0  # bytes from the plain socket
        self.given = 0  # and to it

    @property
    def is_idle(self) -> bool:
        """Whether it carries nothing."""
        return self._plain is None

    def watch(self) -> None:
        """Begin to read the channel."""
        if self._channel_events:
            self._poller.set_handler(self.fd, self._on_channel)
        else:
            self._want_channel(READABLE)

    def carry(
        self,
        plain: socket.socket,
        first: Sequence[bytes] = (),
        *,
        reads: bool = True,
        greeting: bytes = b"",
        connects: bool = False,
    ) -> None:
        """Carry a non-blocking socket that is not in the poller. May end at once.

        first: what goes over the channel before anything else, sealed already. reads:
        begin to read the socket; else `read_on` does. greeting: bytes for the socket
        before all others. connects: its connection is not there yet.
        """
        self._plain = plain
        self._waits_to_connect = connects
        if greeting:
            self._send_plain([greeting])
        if connects and not self.closed:
            self._want_plain(READABLE | WRITABLE)
        if self.closed or self._plain is None:
            return
        if not reads:
            self._send_channel(list(first))
        elif connects:
            if first:
                self._send_channel(list(first))
        else:
            self._want_plain(self._plain_events | READABLE)
            self._read_plain(list(first))

    def read_on(self) -> None:
        """Begin to read the plain socket."""
        if self._plain is not None and not self.sent_end and not self._seal_pending:
            self._want_plain(self._plain_events | READABLE)

    def go_on(self) -> None:
        """Take what came behind an OPEN, whose plain socket is there by now."""
        later, self._later = self._later, []
        self._want_channel(self._channel_events | READABLE)
        if later:
            self._take(later)

    def say(self, kind: FrameKind, inside: bytes = b"") -> None:
        """Send one frame."""
        self._send_channel(self._sealer.seal(kind, inside))

    # --- from the channel -------------------------------------------------------------

    def _on_channel(self, events: int) -> None:
        if events & WRITABLE and self._seal_pending:
            self._flush_channel()
        if not self.closed and events & ~WRITABLE and self._channel_events & READABLE:
            self._read_channel()

    def _read_channel(self) -> None:
        try:
            size = self.sock.recv_into(_VIEW)
        except BlockingIOError:
            return
        except OSError:
            size = 0
        if not size:
            self.cut()
            return
        try:
            frames = self._opener.feed(_VIEW[:size])
        except FrameForgedError:
            _LOGGER.warning("A sealed channel was tampered with, and is closed")
            self.cut()
            return
        if frames:
            self.heard()
            self._take(frames)

    def _take(self, frames: list[Frame]) -> None:
        """Act on frames, and pass on what they bring in one go."""
        out: list[bytes] = []
        for number, (kind, inside) in enumerate(frames, 1):
            if kind == FrameKind.OPEN and self._plain is None:
                self.opened(inside)
                if self._plain is None:  # closed, or what follows waits for `go_on`
                    self._later = frames[number:]
                    self._want_channel(0)
                    return
            elif kind == FrameKind.ACCEPT:
                self.accepted()
            elif kind in (FrameKind.DATA, FrameKind.END) and not self.got_end:
                if inside:
                    out.append(inside)
                if kind == FrameKind.END:
                    self.got_end = True
                    self._later = frames[number:]
                    break
            else:
                _LOGGER.warning("A sealed channel is out of order, and is closed")
                self.cut()
                return
        if out:
            self._send_plain(out)
        elif self.got_end:
            self._end_plain()

    def _send_plain(self, parts: list[bytes]) -> None:
        plain = self._plain
        if plain is None:  # bytes of no stream
            self.cut()
            return
        total = sum(map(len, parts))
        self.given += total
        if self._plain_pending:
            self._plain_pending = b"".join((self._plain_pending, *parts))
            return
        try:
            sent = plain.send(parts[0]) if len(parts) == 1 else plain.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.cut()
            return
        if sent < total:
            self._plain_pending = memoryview(b"".join(parts))[sent:]
            self._want_plain(self._plain_events | WRITABLE)
            self._want_channel(self._channel_events & ~READABLE)
        elif self.got_end:
            self._end_plain()

    def _end_plain(self) -> None:
        """Pass on that the other end's stream has ended."""
        plain = self._plain
        if plain is None or self._waits_to_connect:
            return
        if self.sent_end:
            self._finish()
            return
        try:
            plain.shutdown(socket.SHUT_WR)
        except OSError:
            self.cut()

    # --- from the plain socket --------------------------------------------------------

    def _on_plain(self, events: int) -> None:
        if events & WRITABLE:
            self._flush_plain()
        if (
            self._plain is not None
            and events & ~WRITABLE
            and self._plain_events & READABLE
        ):
            self._read_plain([])

    def _flush_plain(self) -> None:
        plain = self._plain
        if plain is None:
            return
        try:
            sent = plain.send(self._plain_pending) if self._plain_pending else 0
        except BlockingIOError:
            return
        except OSError:
            self.cut()
            return
        if self._waits_to_connect:
            if plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.cut()
                return
            self._waits_to_connect = False
        if sent < len(self._plain_pending):
            self._plain_pending = memoryview(self._plain_pending)[sent:]
            return
        self._plain_pending = b""
        self.moved()
        self._want_plain(self._plain_events & ~WRITABLE)
        if self.got_end:
            self._end_plain()
        else:
            self._want_channel(self._channel_events | READABLE)

    def _read_plain(self, parts: list[bytes]) -> None:
        """Seal what the plain socket has said, behind what is sealed already."""
        plain = self._plain
        if plain is None:
            return
        size = 0
        try:
            size = plain.recv_into(_VIEW, _BATCH_BYTES)
            ended = not size
            # Whoever answers and hangs up has often done both by now: one frame less,
            # and one turn of the loop here and there.
            if 0 < size < _BATCH_BYTES and self.hangs_up_soon:
                more = plain.recv_into(_VIEW[size:], _BATCH_BYTES)
                size, ended = size + more, not more
        except BlockingIOError:
            ended = False
        except OSError:
            self.cut()
            return
        self.taken += size
        self.moved()
        if size or ended:
            parts += self._sealer.seal_all(_VIEW[:size], is_end=ended)
        if ended:
            self.sent_end = True
            self._want_plain(self._plain_events & ~READABLE)
        if parts:
            self._send_channel(parts)

    def _send_channel(self, parts: list[bytes]) -> None:
        if self._seal_pending:
            self._seal_pending = b"".join((self._seal_pending, *parts))
            return
        try:
            sent = self.sock.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.cut()
            return
        if sent < sum(map(len, parts)):
            self._seal_pending = memoryview(b"".join(parts))[sent:]
            self._want_channel(self._channel_events | WRITABLE)
            self._want_plain(self._plain_events & ~READABLE)
        else:
            self._finish_if_through()

    def _flush_channel(self) -> None:
        try:
            sent = self.sock.send(self._seal_pending)
        except BlockingIOError:
            return
        except OSError:
            self.cut()
            return
        if sent < len(self._seal_pending):
            self._seal_pending = memoryview(self._seal_pending)[sent:]
            return
        self._seal_pending = b""
        self.moved()
        self._want_channel(self._channel_events & ~WRITABLE)
        self.flushed()
        self._finish_if_through()

    def flushed(self) -> None:
        """Go on reading the plain socket, now that the channel takes more."""
        self.read_on()

    # --- both -------------------------------------------------------------------------

    def _finish_if_through(self) -> None:
        through = self.sent_end and self.got_end and not self._plain_pending
        if through and not self._seal_pending:
            self._finish()

    def _finish(self) -> None:
        """End a stream that is through; the channel waits for the next."""
        plain = self._plain
        if plain is None or self._seal_pending:
            return
        if self._plain_events:
            self._poller.forget(plain.fileno())
        plain.close()
        self._plain = None
        taken, given = self.taken, self.given
        later, self._later = self._later, []
        self._reset()
        self._want_channel(READABLE)
        self.finished(taken, given)
        if later and not self.closed:
            self._take(later)

    def _want_plain(self, events: int) -> None:
        if self._plain is not None:
            self._plain_events = self._want(
                self._plain.fileno(), self._plain_events, events, self._on_plain
            )

    def _want_channel(self, events: int) -> None:
        if self.closed:
            return
        self._channel_events = self._want(
            self.fd, self._channel_events, events, self._on_channel
        )

    def _want(self, fd: int, old: int, events: int, handler: Handler) -> int:
        """Ask for events; none takes the socket out, for EPOLLHUP would spin."""
        if events == old:
            return events
        if not old:
            self._poller.add(fd, events, handler)
        elif not events:
            self._poller.remove(fd)
        else:
            self._poller.set_events(fd, events)
        return events

    def let_go(self) -> socket.socket | None:
        """Close the channel, but give the plain socket back, not in the poller."""
        plain, self._plain = self._plain, None
        if plain is not None and self._plain_events:
            self._poller.remove(plain.fileno())
            self._plain_events = 0
        self.close()
        return plain

    def cut(self) -> None:
        """End a stream that is not through: who is behind the socket must see it."""
        if self._plain is not None and not self.closed:
            with contextlib.suppress(OSError):
                self._plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        """Close both sockets; what is pending is lost. Twice does no harm."""
        if self.closed:
            return
        self.closed = True
        plain, self._plain = self._plain, None
        if plain is not None:
            if self._plain_events:
                self._poller.forget(plain.fileno())
            plain.close()
        if self._channel_events:
            self._poller.forget(self.fd)
        self.sock.close()
        self._plain_pending = self._seal_pending = b""
        self.gone(self.taken, self.given)

    # --- for a subclass ---------------------------------------------------------------

    hangs_up_soon = False  # whether the plain socket's end is worth a look

    def heard(self) -> None:
        """Take that something authentic came."""

    def moved(self) -> None:
        """Take that bytes have moved."""

    def opened(self, inside: bytes) -> None:
        """Begin a stream that the other end opens; here: nobody may."""
        del inside
        self.cut()

    def accepted(self) -> None:
        """Take that the other end is there."""

    def finished(self, taken: int, given: int) -> None:
        """Take that a stream is through, with how many bytes, and the channel free."""

    def gone(self, taken: int, given: int) -> None:
        """Take that the channel is closed, perhaps in the middle of a stream."""
