"""Hand visitors to HAProxy: the one place where a descriptor changes its process.

    hand_over ─▶ SCM_RIGHTS ─▶ socket pair ─▶ HAProxy
            └─▶ queue, bounded in length and time, while the pair is full or absent

`turn` points the door at the socket pair of another generation; what waits goes there.
Lives in one event loop. Knows nothing of processes and never reads from a visitor.
"""

import asyncio
from collections import deque
from collections.abc import Callable
import contextlib
import errno
import logging
import socket
from typing import Final

from hearthgate.home.edge.settings import EdgeSettings

_LOGGER = logging.getLogger(__name__)

# The kernel counts descriptors in flight per user and says so at the limit
# (ETOOMANYREFS). The socket stays writable then, so time has to pass instead.
_AGAIN_S: Final = 0.05
_WARN_EVERY_S: Final = 60.0


class SocketPasser:
    """Pass visitors' sockets to the current HAProxy. Owns what waits."""

    def __init__(self, settings: EdgeSettings, *, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._pair: socket.socket | None = None
        self._open = False
        self._waiting: deque[tuple[float, socket.socket]] = deque()
        self._watched: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._turned_away = 0
        self._warned_at = float("-inf")

    def open(self) -> None:
        """Let visitors wait from now on, even if no HAProxy runs yet."""
        self._open = True

    def close(self) -> None:
        """Close what waits and what comes until `open`."""
        self._open = False
        self.turn(None)
        while self._waiting:
            self._waiting.popleft()[1].close()
        self._set_timer(None)

    def turn(self, pair: socket.socket | None) -> None:
        """Use another socket pair, non-blocking and owned by the caller."""
        self._unwatch()
        self._pair = pair
        self._flush()

    def leave(self, pair: socket.socket) -> None:
        """Stop using this pair, before it is closed. Visitors wait from now on."""
        if self._pair is pair:
            self.turn(None)

    def offer(self, channel: socket.socket) -> None:
        """Pass a visitor on, or let it wait, or close it. Never raises."""
        usable = self._open and channel.fileno() >= 0
        if not usable or (not self._waiting and self._pass(channel)):
            channel.close()
        elif len(self._waiting) >= self._settings.queue_max:
            channel.close()
            self._count_turned_away()
        else:
            until = self._clock() + self._settings.queue_deadline_s
            self._waiting.append((until, channel))
            self._wait()

    def _pass(self, channel: socket.socket) -> bool:
        """Send one descriptor. False: not now; the socket is still ours."""
        if self._pair is None:
            return False
        try:
            # HAProxy reads exactly one byte with each descriptor.
            socket.send_fds(self._pair, [b"\0"], [channel.fileno()])
        except BlockingIOError:
            return False
        except OSError as err:
            if err.errno != errno.ETOOMANYREFS:
                # HAProxy died; its end is closed. The supervisor turns the door.
                self._unwatch()
                self._pair = None
            return False
        return True

    def _flush(self) -> None:
        now = self._clock()
        while self._waiting:
            until, channel = self._waiting[0]
            if until > now and not self._pass(channel):
                break
            if until <= now:
                self._count_turned_away()
            self._waiting.popleft()
            channel.close()
        self._wait()

    def _wait(self) -> None:
        """Arrange the next try: when the pair can be written, or after a while."""
        if not self._waiting:
            self._unwatch()
            self._set_timer(None)
            return
        if self._timer is None:
            self._set_timer(_AGAIN_S)
        if self._watched is None and self._pair is not None:
            loop = asyncio.get_running_loop()
            self._watched = (loop, self._pair.fileno())
            loop.add_writer(self._watched[1], self._on_writable)

    def _on_writable(self) -> None:
        # A pair can be writable while descriptors in flight are at their limit: one try
        # for each event, then the timer.
        self._unwatch()
        before = len(self._waiting)
        self._flush()
        if self._waiting and len(self._waiting) == before:
            self._unwatch()

    def _on_timer(self) -> None:
        self._timer = None
        self._flush()

    def _unwatch(self) -> None:
        if self._watched is not None:
            loop, descriptor = self._watched
            self._watched = None
            with contextlib.suppress(OSError, ValueError):
                loop.remove_writer(descriptor)

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(seconds, self._on_timer)

    def _count_turned_away(self) -> None:
        self._turned_away += 1
        now = self._clock()
        if now - self._warned_at >= _WARN_EVERY_S:
            self._warned_at = now
            _LOGGER.warning(
                "edge: %s visitors turned away so far, HAProxy did not take them",
                self._turned_away,
            )
