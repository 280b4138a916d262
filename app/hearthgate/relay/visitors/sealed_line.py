"""The relay's end of sealed channels: which visitor is on one, and which are free.

    parked channel ──first visitor──▶ SealedLine ──through──▶ session.free ──▶ the next

A channel is sealed for good once a visitor of a forward has taken it, or a web visitor
of a home that seals everything, and carries one after the other: that spares each of
them the dialling of a channel, which costs more than the rest. One that was heard
lately is trusted with the bytes of a forward's visitor at once; any other must answer
first, so that nothing such a visitor said is ever sent twice. A web visitor's first
flight may be, so it goes along, and is kept until the answer. Moves no bytes: that is
hearthgate/shared/net/sealed_channel.py.
"""

from collections.abc import Callable
import socket

from hearthgate.relay.homes.sessions import ParkedChannel
from hearthgate.relay.visitors.pump import Pump
from hearthgate.shared.net.sealed_channel import SealedChannel
from hearthgate.wire.channel import ChannelKind, write_opening
from hearthgate.wire.frames import (
    FrameKind,
    FrameOpener,
    FrameSealer,
    StreamOpen,
    sealed_keys,
    write_stream_open,
)
from hearthgate.wire.proxy import proxy_header

# The PROXY header of an opening, in front of the first frame, says nothing: the visitor
# is named inside.
_NOBODY = proxy_header(("0.0.0.0", 0), ("0.0.0.0", 0))


class SealedLine(SealedChannel):
    """A sealed channel to one home. Lives in one loop."""

    __slots__ = (
        "_clock",
        "_is_fresh",
        "_on_answer",
        "_on_end",
        "_on_lost",
        "_pump",
        "_trust_s",
        "has_answered",
        "serial",
        "session",
        "since",
        "tick",
    )

    def __init__(
        self,
        parked: ParkedChannel,
        pump: Pump,
        *,
        clock: Callable[[], float],
        trust_s: float,
    ) -> None:
        """Take a parked channel over; trust it so long after the last sign of home."""
        session = parked.session
        to_relay, to_home = sealed_keys(session.key, parked.serial)
        super().__init__(
            parked.sock,
            parked.poller,
            FrameSealer(to_home),
            FrameOpener(to_relay),
            is_polled=True,
        )
        self.session = session
        self.serial = parked.serial
        self.since = parked.since  # when it was last heard
        self.tick = pump.tick
        self.has_answered = False  # for the visitor that it carries
        self._pump = pump
        self._clock = clock
        self._trust_s = trust_s
        self._is_fresh = True  # its opening was not sent yet
        self._on_answer: Callable[[], None] = _nothing
        self._on_end: Callable[[int, int], None] = _nothing_moved
        self._on_lost: Callable[[], None] = _nothing
        self.watch()

    @property
    def to_home(self) -> int:
        """Bytes of the visitor it carries."""
        return self.taken

    @property
    def to_visitor(self) -> int:
        """Bytes for the visitor it carries."""
        return self.given

    def take(
        self,
        visitor: socket.socket,
        port: int,
        proxy: bytes,
        *,
        flight: bytes = b"",
        on_answer: Callable[[], None],
        on_lost: Callable[[], None],
        on_end: Callable[[int, int], None],
    ) -> None:
        """Carry a visitor, and in front of all what was read from it already.

        May end before this returns.
        on_answer is called with the first sign of the home, at once if it is trusted;
        on_lost if the channel ends before that: `let_go` gives the visitor back. on_end
        is told the bytes to home and to the visitor, once the visitor's socket closed.
        """
        trusted = not flight and self._clock() - self.since < self._trust_s
        self._on_answer, self._on_lost, self._on_end = on_answer, on_lost, on_end
        self.has_answered = False
        self.tick = self._pump.tick
        self._pump.pairs.add(self)
        opened = write_stream_open(StreamOpen(port, proxy, asks=not trusted))
        first = self._sealer.seal(FrameKind.OPEN, opened)
        if flight:
            first += self._sealer.seal_all(memoryview(flight), is_end=False)
        if self._is_fresh:
            self._is_fresh = False
            first = [self._opening(b"".join(first))]
        if trusted:
            self._answered()
        self.carry(visitor, first, reads=trusted)

    def _opening(self, flight: bytes) -> bytes:
        session = self.session
        return write_opening(
            session.id,
            self.serial,
            session.key,
            _NOBODY,
            flight,
            kind=ChannelKind.SEALED,
        )

    def _answered(self) -> None:
        self.has_answered = True
        self._on_answer()

    def moved(self) -> None:
        """Note that it is in use."""
        self.tick = self._pump.tick

    def heard(self) -> None:
        """Note that the home is there."""
        self.since = self._clock()
        self.tick = self._pump.tick
        if not self.has_answered and not self.is_idle:
            self._answered()
            self.read_on()

    def flushed(self) -> None:
        """Go on reading the visitor, if the home may have its bytes."""
        if self.has_answered:
            self.read_on()

    def cut(self) -> None:
        """End a stream that is not through, unless another channel can have it."""
        if self.is_idle or self.has_answered or self.closed:
            super().cut()
        else:
            self._on_lost()

    def let_go(self) -> socket.socket | None:
        """Close the channel, and forget the visitor."""
        self._on_answer = self._on_lost = _nothing
        self._on_end = _nothing_moved
        return super().let_go()

    def finished(self, taken: int, given: int) -> None:
        """Let the visitor go, and be free for another."""
        self._tell_end(taken, given)
        self.session.set_free(self)

    def gone(self, taken: int, given: int) -> None:
        """Let the visitor go."""
        self.session.forget_sealed(self)
        self._tell_end(taken, given)

    def _tell_end(self, taken: int, given: int) -> None:
        on_end, self._on_end = self._on_end, _nothing_moved
        self._on_answer = self._on_lost = _nothing
        self._pump.left(self)
        on_end(taken, given)


def _nothing() -> None:
    """Tell nobody."""


def _nothing_moved(_to_home: int, _to_visitor: int) -> None:
    """Tell nobody."""
