"""A clock that never runs back, for what must stay expired once it has.

    wall clock ───────────────┐
    last reading + monotonic ─┼─▶ the latest of them: Unix time
    what was stored (seen) ───┘

Setting the time back makes nothing good again, neither while a process lives nor, if
its owner stores what was seen, after a restart. A clock that ran ahead by mistake is
believed: what expires early has to be made anew, which costs less than the other way.
Stores nothing itself.
"""

from collections.abc import Callable
import time


class ForwardClock:
    """Unix time that only grows. Lives in one thread."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._latest = float("-inf")
        self._at = 0.0  # on the monotonic clock

    def seen(self, moment: float) -> None:
        """Take that this moment was in the past already."""
        self._latest = max(self(), moment)

    def __call__(self) -> float:
        """Return the time."""
        now = self._monotonic()
        self._latest = max(self._wall(), self._latest + (now - self._at))
        self._at = now
        return self._latest
