"""Count what was refused, and say so without flooding the log.

Each cause is counted for ever and logged at most once per period, with how often it
happened since. Knows no cause by itself: whoever refuses names it.
"""

from collections import Counter
from collections.abc import Callable
import logging

_LOGGER = logging.getLogger(__name__)
_SOURCES_MAX = 1000  # remembered for the log; a flood from many addresses is one line


class Counters:
    """Refusals by cause. Lives in one loop."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        log_period_s: float,
        tell_addresses: bool = True,
    ) -> None:
        """With tell_addresses false, no address of a visitor gets into the log."""
        self.refused: Counter[str] = Counter()
        self._clock = clock
        self._period_s = log_period_s
        self._tell_addresses = tell_addresses
        self._logged: dict[tuple[str, str], tuple[float, int]] = {}

    def refuse(
        self, cause: str, detail: str = "", *, home: str = "", address: str = ""
    ) -> None:
        """Count a refusal; log it unless the same cause and home was logged lately.

        cause is one of a fixed set of phrases: each becomes a time series. address is
        the visitor's, or of whoever dialled.
        """
        self.refused[cause] += 1
        key = (cause, home)
        last, missed = self._logged.get(key, (float("-inf"), 0))
        now = self._clock()
        if now - last < self._period_s:
            self._logged[key] = (last, missed + 1)
            return
        if len(self._logged) >= _SOURCES_MAX:
            self._logged.clear()
        self._logged[key] = (now, 0)
        more = f" ({missed} more since the last line)" if missed else ""
        who = f"{home}: " if home else ""
        told = [one for one in (address * self._tell_addresses, detail) if one]
        what = ": ".join(told)
        _LOGGER.warning("%sRefused: %s%s%s", who, cause, what and f", {what}", more)
