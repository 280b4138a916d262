"""Wait longer after each failure, with jitter, and forget failures only when it holds.

A connection that is accepted and lost again at once must not be retried at once, so
success resets the delay only after it has lasted for a while.
"""

from collections.abc import Callable
import random


class Backoff:
    """Delays between tries, in seconds."""

    def __init__(
        self,
        *,
        first_s: float,
        most_s: float,
        holds_after_s: float,
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._holds_after_s = holds_after_s
        self._clock = clock
        self._rng = rng
        self._next_s = first_s
        self._since: float | None = None  # when the current success began

    def succeeded(self) -> None:
        """Note that a connection stands."""
        self._since = self._clock()

    def delay(self) -> float:
        """Return how long to wait before the next try; 0.5 to 1.5 of the nominal."""
        held = self._since is not None
        if held and self._clock() - (self._since or 0.0) >= self._holds_after_s:
            self._next_s = self._first_s
        self._since = None
        nominal, self._next_s = self._next_s, min(self._next_s * 2, self._most_s)
        return nominal * (0.5 + self._rng.random())

    def reset(self) -> None:
        """Begin again with the first delay: the user asked for it."""
        self._next_s = self._first_s
        self._since = None
