"""Warn of what strangers can repeat at will, without letting them fill the log.

warn("cause", …) ──first in a period──▶ a line, with how many were left out before
"""

from collections.abc import Callable
import logging
import time

_PERIOD_S = 60.0


class Seldom:
    """Write at most one line a minute for each cause. Lives in one loop."""

    def __init__(
        self,
        logger: logging.Logger,
        *,
        period_s: float = _PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._period_s = period_s
        self._clock = clock
        self._told: dict[str, tuple[float, int]] = {}  # when, and how many not since

    def warn(self, cause: str, text: str, *arguments: object) -> None:
        """Warn, unless the same cause was told lately. Causes are a fixed few."""
        at, missed = self._told.get(cause, (float("-inf"), 0))
        now = self._clock()
        if now - at < self._period_s:
            self._told[cause] = (at, missed + 1)
            return
        self._told[cause] = (now, 0)
        more = f" ({missed} more since the last line)" if missed else ""
        self._logger.warning(f"{text}%s", *arguments, more)  # noqa: G004 (a constant)
