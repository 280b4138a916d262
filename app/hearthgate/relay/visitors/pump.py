"""Carry bytes between a visitor and a channel.

    visitor ──recv_into──▶ shared buffer ──send──▶ channel      and the same back

What the sink does not take at once is kept, at most one buffer for each direction, and
its source is not read until it is gone: backpressure is the kernel's. End of stream on
one side becomes SHUT_WR on the other, so half-close survives. Knows nothing of
hostnames, TLS or homes; never logs content.
"""

import asyncio
from collections.abc import Callable
import socket
from typing import Protocol

from hearthgate.relay.counting.traffic import Counted
from hearthgate.shared.net.poller import ENDED, INCOMING, READABLE, WRITABLE, Poller

KIB = 1024
BUFFER_BYTES = 256 * KIB
_MORE = int(socket.MSG_MORE)

PairDone = Callable[["Carried"], None]


class Carried(Counted, Protocol):
    """A visitor on its channel, however its bytes are carried."""

    tick: int  # of the pump, when something last moved
    closed: bool

    def close(self) -> None:
        """Close both sockets and report; twice does no harm."""


class _End:
    """One socket of a pair: reads from it, and writes what the other end read."""

    __slots__ = (
        "_events",
        "_fd",
        "_pair",
        "_recv_into",
        "_send",
        "ended",
        "other",
        "pending",
        "shut",
        "sock",
        "taken",
    )

    def __init__(self, sock: socket.socket, pair: "Pair") -> None:
        self.sock = sock
        self.other: _End = self  # the pair joins its ends
        self.pending: bytes | memoryview = b""  # read by the other end, not yet sent
        self.ended = False  # end of stream was read
        self.shut = False  # SHUT_WR was done
        self.taken = 0  # bytes read
        self._pair = pair
        self._fd = sock.fileno()
        self._events = 0
        self._recv_into = sock.recv_into
        self._send = sock.send

    def want(self, events: int) -> None:
        """Ask for events; none takes the socket out, for EPOLLHUP would spin."""
        if events == self._events:
            return
        poller = self._pair.pump.poller
        if not self._events:
            poller.add(self._fd, events, self.ready)
        elif not events:
            poller.remove(self._fd)
        else:
            poller.set_events(self._fd, events)
        self._events = events

    def adopt(self) -> None:
        """Take over a socket that is in the poller already, asking for INCOMING."""
        self._events = INCOMING
        self._pair.pump.poller.set_handler(self._fd, self.ready)

    def ready(self, events: int) -> None:
        """Move what can be moved; called by the poller."""
        if events & WRITABLE and not self._flush():
            return
        if events & ~WRITABLE and self._events & READABLE:
            self.read(events)

    def read(self, events: int) -> None:
        """Carry one buffer to the other end.

        If the stream has ended, what fits into the buffer are its last bytes: they go
        out in one packet with the end.
        """
        pump = self._pair.pump
        try:
            size = self._recv_into(pump.buffer)
        except BlockingIOError:
            return
        except OSError:
            self._pair.close()
            return
        self._pair.tick = pump.tick
        other = self.other
        if not size:
            self._end()
            return
        self.taken += size
        view = pump.view[:size]
        is_last = events & ENDED and size < BUFFER_BYTES
        try:
            # The two ends are one thing.
            sent = other._send(view, _MORE if is_last else 0)  # noqa: SLF001
        except BlockingIOError:
            sent = 0
        except OSError:
            self._pair.close()
            return
        if sent < size:
            other.pending = bytes(view[sent:])
            other.want(other._events | WRITABLE)  # noqa: SLF001
            self.want(self._events & ~INCOMING)
        elif is_last:
            self._end()

    def _end(self) -> None:
        """Pass on that nothing more comes from here."""
        self.ended = True
        self.want(self._events & ~INCOMING)
        if not self.other.pending:
            self.other.finish()

    def _flush(self) -> bool:
        """Send what is pending; False if the pair is closed."""
        pair = self._pair
        try:
            sent = self._send(self.pending)
        except BlockingIOError:
            return True
        except OSError:
            pair.close()
            return False
        pair.tick = pair.pump.tick
        if sent < len(self.pending):
            self.pending = memoryview(self.pending)[sent:]
            return True
        self.pending = b""
        self.want(self._events & ~WRITABLE)
        if self.other.ended:
            self.finish()
            return not pair.closed
        self.other.want(self.other._events | INCOMING)  # noqa: SLF001
        return True

    def close(self) -> None:
        """Close the socket; what is pending is lost."""
        if self._events:
            self._events = 0
            self._pair.pump.poller.forget(self._fd)
        self.sock.close()
        self.pending = b""

    def part(self) -> None:
        """Let go of the others, so that nobody has to look for a circle."""
        del self.other, self._pair

    def finish(self) -> None:
        """Pass on the end of the other end's stream."""
        self.shut = True
        if self.other.shut:  # both directions are through
            self._pair.close()
            return
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._pair.close()


class Pair:
    """A visitor and the channel that carries it. Closed once, by whoever is first."""

    __slots__ = ("channel", "closed", "on_done", "pump", "tick", "visitor")

    def __init__(
        self,
        pump: "Pump",
        visitor: socket.socket,
        channel: socket.socket,
        on_done: PairDone,
    ) -> None:
        self.pump = pump
        self.visitor = _End(visitor, self)
        self.channel = _End(channel, self)
        self.visitor.other = self.channel
        self.channel.other = self.visitor
        self.on_done = on_done
        self.tick = pump.tick
        self.closed = False

    @property
    def to_home(self) -> int:
        """Bytes that the visitor has sent, but for its first flight."""
        return self.visitor.taken

    @property
    def to_visitor(self) -> int:
        """Bytes that the home has sent."""
        return self.channel.taken

    def close(self) -> None:
        """Close both sockets and report; what is pending is lost."""
        if self.closed:
            return
        self.closed = True
        self.visitor.close()
        self.channel.close()
        self.pump.left(self)
        self.on_done(self)
        self.visitor.part()
        self.channel.part()


class Pump:
    """Carry the bytes of all pairs of one loop. Owns the sockets that it was given."""

    def __init__(self, poller: Poller) -> None:
        self.poller = poller
        self.buffer = bytearray(BUFFER_BYTES)
        self.view = memoryview(self.buffer)
        self.pairs: set[Carried] = set()
        self.tick = 0  # advanced by the owner: the clock of `close_idle`
        self._empty: asyncio.Future[None] | None = None

    def join(
        self,
        visitor: socket.socket,
        channel: socket.socket,
        unsent: bytes | memoryview,
        on_done: PairDone,
    ) -> Pair:
        """Carry bytes both ways until both streams ended, or one failed.

        Both sockets are non-blocking. The visitor is not in the poller; the channel is,
        for INCOMING, and has its first bytes waiting. `unsent` goes to the channel
        before anything else. `on_done` may be called before this returns.
        """
        pair = Pair(self, visitor, channel, on_done)
        self.pairs.add(pair)
        pair.channel.adopt()
        if unsent:
            pair.channel.pending = unsent
            pair.channel.want(INCOMING | WRITABLE)
        else:
            pair.visitor.want(INCOMING)
        pair.channel.read(0)
        return pair

    def close_idle(self, ticks: int) -> int:
        """Close pairs that moved nothing for over so many ticks; return how many."""
        oldest = self.tick - ticks
        idle = [pair for pair in self.pairs if pair.tick < oldest]
        for pair in idle:
            pair.close()
        return len(idle)

    def left(self, pair: Carried) -> None:
        """Forget a closed pair."""
        self.pairs.discard(pair)
        if not self.pairs and self._empty is not None:
            if not self._empty.done():  # the waiter may have lost its patience
                self._empty.set_result(None)
            self._empty = None

    async def emptied(self) -> None:
        """Wait until no pair is left. One waiter at a time."""
        if self.pairs:
            self._empty = asyncio.get_running_loop().create_future()
            await self._empty

    def close(self) -> None:
        """Close every pair."""
        for pair in list(self.pairs):
            pair.close()
