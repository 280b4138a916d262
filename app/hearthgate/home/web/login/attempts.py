"""Slow down whoever tries passwords, for each address on its own.

    first five wrong ones: free      then 2, 4, 8 … seconds, at most 15 minutes

An attempt counts before its password is checked, so a hundred at the same moment get no
hundred guesses. IPv6 addresses count by /64: that is what one subscriber has.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from hearthgate.shared.net.subscribers import subscriber

FREE_ATTEMPTS = 5
WAIT_MAX_SECONDS = 15 * 60.0
# Forgotten after an hour without a wrong password.
_FORGET_SECONDS = 3600.0
# 4,096 addresses are about 1 MB. Somebody with more of them is bounded by the number
# of passwords that are checked at a time (login.py).
_ADDRESSES_MAX = 4096


@dataclass(slots=True)
class _Record:
    count: int
    last: float


class Attempts:
    """Count wrong passwords for each address. Lives in one loop."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        """Use a monotonic clock, so that setting the time helps nobody."""
        self._clock = clock
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def begin(self, address: str) -> float:
        """Count an attempt. Return 0 to go on, else the seconds until the next one."""
        key = subscriber(address)
        now = self._clock()
        record = self._records.get(key)
        if record is None or now - record.last > _FORGET_SECONDS:
            record = self._records[key] = _Record(0, now)
            self._make_room()
        wait = record.last + _pause(record.count) - now
        if wait > 0:
            return wait
        record.count += 1
        record.last = now
        self._records.move_to_end(key)
        return 0.0

    def succeeded(self, address: str) -> None:
        """Forget the wrong ones: the right one followed."""
        self._records.pop(subscriber(address), None)

    def _make_room(self) -> None:
        while len(self._records) > _ADDRESSES_MAX:
            self._records.popitem(last=False)


def _pause(count: int) -> float:
    if count < FREE_ATTEMPTS:
        return 0.0
    return float(min(WAIT_MAX_SECONDS, 2 ** min(count - FREE_ATTEMPTS + 1, 20)))
