"""Say a thing once per period, however often it happens. Logs nothing by itself."""

from collections.abc import Callable

__all__ = ["OncePer"]


class OncePer:
    """Remember when each of a few known words was last said."""

    def __init__(self, period_s: float, clock: Callable[[], float]) -> None:
        """Take the period in seconds."""
        self._period_s = period_s
        self._clock = clock
        self._said: dict[str, float] = {}

    def due(self, what: str) -> bool:
        """Whether to say it now; yes starts the period."""
        now = self._clock()
        last = self._said.get(what)
        if last is not None and 0 <= now - last < self._period_s:
            return False
        self._said[what] = now
        return True
