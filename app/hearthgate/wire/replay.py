"""Accept each number of a sequence once, in any order within a window.

The sliding window of RFC 4303 §3.4.3, with a bit map in one integer. Numbers too far
behind the highest one count as used.
"""

WINDOW = 4096
_MASK = (1 << WINDOW) - 1


class ReplayWindow:
    """Which serials were seen. Numbers start at 1."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = 0
        self._seen = 0  # bit n: highest - n was seen

    def accept(self, number: int) -> bool:
        """Mark a number as used; False if it was used before, or may have been."""
        ahead = number - self._highest
        if ahead > 0:
            kept = (self._seen << ahead) if ahead < WINDOW else 0
            self._seen = (kept | 1) & _MASK
            self._highest = number
            return True
        behind = -ahead
        if number < 1 or behind >= WINDOW or self._seen >> behind & 1:
            return False
        self._seen |= 1 << behind
        return True
