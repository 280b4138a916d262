"""How long to wait before HAProxy is started again.

    died ─▶ at once ─▶ 0.25 s ─▶ 0.5 s ─▶ … ─▶ 30 s      and anew after a quiet minute

There is one HAProxy to start and nobody else to collide with, so there is no jitter.
"""

from collections.abc import Callable

from hearthgate.home.edge.settings import EdgeSettings


class Restart:
    """Count failures since HAProxy last held for a while."""

    def __init__(self, settings: EdgeSettings, *, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._failures = 0
        self._started_at: float | None = None

    def started(self) -> None:
        """Note that HAProxy runs now."""
        self._started_at = self._clock()

    def delay(self) -> float:
        """Return the seconds to wait after this failure."""
        settings = self._settings
        if (
            self._started_at is not None
            and self._clock() - self._started_at >= settings.restart_forgiven_s
        ):
            self._failures = 0
        self._started_at = None
        self._failures += 1
        if self._failures == 1:
            return 0.0
        doublings = min(self._failures - 2, 30)
        return min(settings.restart_first_s * 2.0**doublings, settings.restart_max_s)
