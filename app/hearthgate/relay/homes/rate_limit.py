"""Allow so much per minute and key, in a burst or spread.

A token bucket for each key. Keys that were quiet for a whole period are forgotten.
"""

from collections.abc import Callable

MINUTE_S = 60.0
HOUR_S = 3600.0
_KEYS_MAX = 10_000  # a flood from more addresses than that shares one bucket


class RateLimit:
    """Token buckets by key. Lives in one loop."""

    def __init__(
        self,
        most: int,
        *,
        clock: Callable[[], float],
        period_s: float = MINUTE_S,
    ) -> None:
        """most: in one period."""
        self._most = float(most)
        self._period_s = period_s
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # key: tokens, at

    def allow(self, key: str, cost: float = 1.0) -> bool:
        """Count an event by what it costs; False, and nothing counted, if too much."""
        now = self._clock()
        if key not in self._buckets and len(self._buckets) >= _KEYS_MAX:
            self._forget_quiet(now)
            if len(self._buckets) >= _KEYS_MAX:
                key = ""
        tokens, at = self._buckets.get(key, (self._most, now))
        tokens = min(self._most, tokens + (now - at) * self._most / self._period_s)
        allowed = tokens >= cost
        self._buckets[key] = (tokens - cost if allowed else tokens, now)
        return allowed

    def _forget_quiet(self, now: float) -> None:
        self._buckets = {
            key: bucket
            for key, bucket in self._buckets.items()
            if now - bucket[1] < self._period_s
        }
