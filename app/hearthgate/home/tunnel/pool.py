"""Keep parked channels ready at one relay, and hand opened ones over.

    dial ──connected──▶ preamble ──▶ parked ──opening──▶ check ──▶ the edge
                                       │ closed by the relay: dial another

The number of parked channels follows the visitors: it doubles when they run out and
halves when most stayed unused for a while. New ones are dialled when half are gone.
The PROXY header and the visitor's bytes stay in the socket for the edge; only the
opening in front of them is taken out. What is sealed does not go to the edge:
streams.py.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
import errno
import functools
import logging
import socket

from hearthgate.shared.net.poller import CHANGES, INCOMING, READABLE, WRITABLE, Poller
from hearthgate.wire.channel import (
    OPENING_BYTES,
    opening_head_size,
    opening_is_authentic,
    opening_is_sealed,
    opening_size,
    write_preamble,
)

_LOGGER = logging.getLogger(__name__)

_DIAL_DEADLINE_S = 10.0
_DIALS_MAX = 128  # under way at once; a home router's table is small
_DECAY_S = 30.0  # how long channels stay unused before there are fewer
_PAUSE_FIRST_S = 0.25  # after a dial that failed
_PAUSE_MOST_S = 5.0
_CLOSED_AT_ONCE_S = 1.0  # a channel that is parked for less was not wanted
_PEEK_BYTES = 4096  # an opening with most first flights, post-quantum ones included
# The relay's keep-alive is what keeps a NAT's mapping: our kernel's answers to it come
# from inside. Ours, every two hours, is for the edge, so that it does not keep a
# WebSocket for ever if the relay's machine vanishes.
_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    # The preamble follows at once and acknowledges as well: one packet less (tcp(7)).
    (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0),
)

HandOver = Callable[[socket.socket], None]
OnSealed = Callable[[socket.socket, int], None]  # and the channel's serial


@dataclass(frozen=True, slots=True)
class Ticket:
    """What the relay's welcome says about channels."""

    session_id: bytes
    key: bytes = field(repr=False)
    address: tuple[str, int]  # where the control connection leads, an IP and a port
    channels_max: int


class _Channel:
    """A channel from dialling until it is handed over or closed."""

    __slots__ = ("fd", "in_pieces", "serial", "since", "sock", "took_s")

    def __init__(self, sock: socket.socket, serial: int, since: float) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.serial = serial
        self.since = since
        self.took_s = 0.0  # from dialling to parking: about one round trip
        self.in_pieces = False  # SO_RCVLOWAT was raised


class ChannelPool:
    """The channels of one session. Not thread-safe; lives in one loop."""

    def __init__(
        self,
        ticket: Ticket,
        hand_over: HandOver,
        poller: Poller,
        *,
        on_sealed: OnSealed,
        channels_min: int,
        channels_max: int,
        only_sealed: bool = False,
        clock: Callable[[], float],
    ) -> None:
        """only_sealed: take no visitor over a clear channel."""
        self._ticket = ticket
        self._only_sealed = only_sealed
        self._hand_over = hand_over
        self._on_sealed = on_sealed
        self._poller = poller
        self._most = max(1, min(channels_max, ticket.channels_max))
        self._least = min(channels_min, self._most)
        self._target = self._least
        self._clock = clock
        self._dialling: dict[int, _Channel] = {}  # by serial
        self._parked: dict[int, _Channel] = {}
        self._serial = 0
        self._unused = self._least  # the fewest parked since the last decay
        self._decayed_at = clock()
        self._pause_s = 0.0
        self._paused_until = 0.0
        self._closed = False
        self.forged = 0  # openings that were refused
        self.unsealed = 0  # likewise, of a relay that does not seal although it has to

    @property
    def parked(self) -> int:
        """How many channels wait for a visitor."""
        return len(self._parked)

    @property
    def target(self) -> int:
        """How many shall wait."""
        return self._target

    def fill(self) -> None:
        """Dial until enough channels are parked or on their way."""
        missing = self._target - len(self._parked) - len(self._dialling)
        if missing > 0:
            self._dial(missing)

    def need(self, count: int, stale_before: int) -> None:
        """Dial for visitors who wait; give up channels that the relay found dead."""
        stale = [one for one in self._parked.values() if one.serial < stale_before]
        for channel in stale:
            self._close(channel)
        if stale:
            _LOGGER.info("%d silent channels are replaced", len(stale))
        under_way = self._under_way()
        if not 0 < count <= under_way:
            self._grow()
        self._pause_s = 0.0
        self._paused_until = 0.0
        self._dial(max(count - under_way, 0))
        self.fill()

    def _under_way(self) -> int:
        """Count the channels that the relay did not know of when it last spoke.

        Its word and a preamble take half a round trip each. The relay asks again four
        times a second, so without this a far one would be answered several times.
        """
        now = self._clock()
        fresh = sum(now - one.since < one.took_s for one in self._parked.values())
        return len(self._dialling) + fresh

    def sweep(self) -> None:
        """Act on deadlines; to be called about once a second."""
        now = self._clock()
        late = now - _DIAL_DEADLINE_S
        for channel in [one for one in self._dialling.values() if one.since < late]:
            self._dial_failed(channel, "it took too long")
        if len(self._parked) >= self._target:
            self._pause_s = 0.0
        self._unused = min(self._unused, len(self._parked))
        if now - self._decayed_at >= _DECAY_S:
            if self._unused > self._target // 2:
                self._target = max(self._least, self._target // 2)
                self._close_surplus()
            self._unused = len(self._parked)
            self._decayed_at = now
        self.fill()

    def _close_surplus(self) -> None:
        """Close the oldest channels beyond the target: the relay takes the freshest."""
        surplus = max(len(self._parked) - self._target, 0)
        for serial in sorted(self._parked)[:surplus]:
            self._close(self._parked[serial])

    def close(self) -> None:
        """Close every channel that was not handed over."""
        self._closed = True
        for channel in [*self._dialling.values(), *self._parked.values()]:
            self._close(channel)

    # --- dialling -----------------------------------------------------------------

    def _dial(self, count: int) -> None:
        if self._closed or self._clock() < self._paused_until:
            return
        for _ in range(min(count, _DIALS_MAX - len(self._dialling))):
            if not self._dial_one():
                return

    def _dial_one(self) -> bool:
        host, port = self._ticket.address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as err:
            self._pause(f"no socket: {err.strerror}")
            return False
        self._serial += 1
        channel = _Channel(sock, self._serial, self._clock())
        try:
            for level, option, value in _OPTIONS:
                sock.setsockopt(level, option, value)
            code = sock.connect_ex((host, port))
        except OSError as err:
            code = err.errno or errno.EIO
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            self._pause(errno.errorcode.get(code, str(code)))
            return False
        self._dialling[channel.serial] = channel
        self._poller.add(
            channel.fd,
            CHANGES | WRITABLE | INCOMING,
            functools.partial(self._connected, channel),
        )
        return True

    def _connected(self, channel: _Channel, _events: int) -> None:
        """Park a channel whose connection stands."""
        ticket = self._ticket
        preamble = write_preamble(ticket.session_id, channel.serial, ticket.key)
        try:
            channel.sock.send(preamble)
        except OSError as err:  # also why there is no connection (connect(2))
            self._dial_failed(channel, errno.errorcode.get(err.errno or 0, str(err)))
            return
        del self._dialling[channel.serial]
        now = self._clock()
        channel.took_s, channel.since = now - channel.since, now
        self._parked[channel.serial] = channel
        self._poller.set_handler(channel.fd, functools.partial(self._opened, channel))

    def _dial_failed(self, channel: _Channel, reason: str) -> None:
        self._close(channel)
        self._pause(reason)

    def _pause(self, reason: str) -> None:
        """Dial no more for a moment: it would fail the same way."""
        if self._clock() < self._paused_until:
            return  # many that fail together count once
        if self._pause_s == 0.0:
            _LOGGER.warning("No channel to %s: %s", self._ticket.address[0], reason)
        self._pause_s = min(max(self._pause_s * 2, _PAUSE_FIRST_S), _PAUSE_MOST_S)
        self._paused_until = self._clock() + self._pause_s

    # --- handing over -------------------------------------------------------------

    def _opened(self, channel: _Channel, events: int) -> None:
        """Check what the relay says on a parked channel, and let the channel go."""
        try:
            data = channel.sock.recv(_PEEK_BYTES, socket.MSG_PEEK)
            size = opening_size(data)
            if size is not None and size > len(data) == _PEEK_BYTES:
                data = channel.sock.recv(size, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            data, size = b"", None
        if not data:
            self._lost(channel)
            return
        if size is None and len(data) >= OPENING_BYTES:
            self._refuse(channel)
        elif size is None or len(data) < size:
            if events & ~(READABLE | WRITABLE):  # it ended in the middle
                self._lost(channel)
                return
            channel.in_pieces = True
            channel.sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_RCVLOWAT, size or OPENING_BYTES
            )
        else:
            self._check(channel, data[:size])

    def _check(self, channel: _Channel, opening: bytes) -> None:
        ticket = self._ticket
        if not opening_is_authentic(
            opening, ticket.session_id, channel.serial, ticket.key
        ):
            self._refuse(channel)
            return
        sock = channel.sock
        sealed = opening_is_sealed(opening)
        if self._only_sealed and not sealed:
            self.unsealed += 1
            if self.unsealed == 1:
                _LOGGER.warning("The relay opens channels in the clear; none is used")
            self._close(channel)
            self.fill()
            return
        try:
            sock.recv(opening_head_size(opening) if sealed else OPENING_BYTES)
            if channel.in_pieces:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        except OSError:
            self._lost(channel)
            return
        self._pause_s = 0.0
        del self._parked[channel.serial]
        self._poller.remove(channel.fd)
        if sealed:
            self._on_sealed(sock, channel.serial)
        else:
            self._hand_over(sock)
        self._unused = min(self._unused, len(self._parked))
        if len(self._parked) < self._target // 4:
            self._grow()
        # Several at once cost both sides less than one after the other; `sweep` fills
        # up what is missing until then.
        if len(self._parked) + len(self._dialling) <= self._target // 2:
            self.fill()

    def _lost(self, channel: _Channel) -> None:
        """Replace a channel that the relay or the way to it has closed."""
        self._close(channel)
        if self._clock() - channel.since < _CLOSED_AT_ONCE_S:
            # Another one would fare no better: the session may be over already.
            self._pause("it closes channels at once")
        self.fill()

    def _refuse(self, channel: _Channel) -> None:
        """Close a channel on which somebody else than the relay spoke."""
        self.forged += 1
        if self.forged == 1:
            _LOGGER.warning(
                "A channel was opened with a forged header; somebody may be on the "
                "path to the relay %s. Nothing was let in",
                self._ticket.address[0],
            )
        self._close(channel)
        self.fill()

    def _grow(self) -> None:
        self._target = min(self._most, max(self._target, 1) * 2)

    def _close(self, channel: _Channel) -> None:
        self._dialling.pop(channel.serial, None)
        self._parked.pop(channel.serial, None)
        self._poller.remove(channel.fd)
        channel.sock.close()
