"""Allow so many events per minute and key, in a burst or spread.

A token bucket for each key. Keys that were quiet for a minute are forgotten.
"""

from collections.abc import Callable

_MINUTE_S = 60.0
_KEYS_MAX = 10_000  # a flood from more addresses than that shares one bucket


class RateLimit:
    """Token buckets by key. Lives in one loop."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # key: tokens, at

    def allow(self, key: str) -> bool:
        """Count one event; False if it is one too many."""
        now = self._clock()
        if key not in self._buckets and len(self._buckets) >= _KEYS_MAX:
            self._forget_quiet(now)
            if len(self._buckets) >= _KEYS_MAX:
                key = ""
        tokens, at = self._buckets.get(key, (float(self._per_minute), now))
        tokens = min(
            float(self._per_minute), tokens + (now - at) * self._per_minute / _MINUTE_S
        )
        allowed = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if allowed else tokens, now)
        return allowed

    def _forget_quiet(self, now: float) -> None:
        self._buckets = {
            key: bucket
            for key, bucket in self._buckets.items()
            if now - bucket[1] < _MINUTE_S
        }
