"""Tell whether there is room for one more visitor among the files that may be open.

    allowed ─┬─ kept for arrivals, port 80 and ourselves: so that homes can come back
             └─ homes: control connections, parked channels ──▶ what is left: visitors

A relay that runs into the system's limit can't accept anybody, not even a home that
wants to come back. So visitors are refused before. Counts what is open; opens nothing.
"""

from collections.abc import Callable

from hearthgate.relay.limits import Limits

_OWN = 64  # listening sockets, the admin's and the metrics' connections, the log
_FOR_ONE = 2  # the channel is there already; the home parks another, and some slack
_ARRIVALS_SHARE = 5
_PLAIN_SHARE = 20


class DescriptorBudget:
    """What a limit of open files leaves. Lives in one loop."""

    def __init__(
        self, allowed: int, limits: Limits, *, in_use: Callable[[], int]
    ) -> None:
        """Divide what is allowed.

        in_use: descriptors of homes and of visitors who are inside, at this moment.
        """
        self.allowed = allowed
        self.arrivals_max = min(limits.arrivals_max, max(1, allowed // _ARRIVALS_SHARE))
        self.plain_max = min(
            limits.plain_connections_max, max(1, allowed // _PLAIN_SHARE)
        )
        self._in_use = in_use
        self._most = allowed - self.arrivals_max - self.plain_max - _OWN

    @property
    def visitors_max(self) -> int:
        """How many visitors fit if homes parked no channel."""
        return max(0, self._most // _FOR_ONE)

    def __call__(self) -> bool:
        """Tell whether one more visitor may come in."""
        return self._in_use() + _FOR_ONE <= self._most
