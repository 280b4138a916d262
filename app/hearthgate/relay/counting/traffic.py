"""Count what visitors move and how long they wait, for metrics and the visitors' log.

    Visitor ──opened, ended──▶ Traffic ◀──read── metrics, `relay status`

Two additions per visitor, none per byte: what is still open is counted from the pump
when somebody asks. Knows hostnames, never addresses or content.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

# Each hostname is two time series; a relay for families has some dozens of names, and
# Prometheus suffers from what has no bound. More names are counted together.
HOSTNAMES_MAX = 1000
OTHER_HOSTNAMES = "other"

# Seconds. A parked channel answers within a round trip; one that has to be dialled
# takes two more; the last ones are the relay's own deadlines (limits.py).
FIRST_BYTE_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class VisitorLog(StrEnum):
    """Whether there is a line for each visitor."""

    OFF = "off"
    ON = "on"  # without addresses
    ADDRESSES = "addresses"


@runtime_checkable
class Counted(Protocol):
    """Something of a visitor that knows what it has moved."""

    @property
    def to_home(self) -> int:
        """Bytes that the visitor has sent."""

    @property
    def to_visitor(self) -> int:
        """Bytes that the home has sent."""


@dataclass(slots=True)
class Moved:
    """Bytes of one hostname, or of a forward as tcp/25565."""

    to_home: int = 0
    to_visitor: int = 0


class Traffic:
    """Totals since the start. Lives in one loop."""

    def __init__(self, *, hostnames_max: int = HOSTNAMES_MAX) -> None:
        self.visitors = 0  # that were brought to the pump
        self.replays = 0
        self.first_byte_s = 0.0  # sum over all visitors
        self.first_bytes = [0] * (len(FIRST_BYTE_BOUNDS_S) + 1)  # the last: later
        self._hostnames_max = hostnames_max
        self._moved: dict[str, Moved] = {}

    def opened(self, hostname: str, flight_bytes: int, waited_s: float) -> None:
        """Count a visitor whose first byte came back so long after its hello."""
        self.visitors += 1
        self.first_byte_s += waited_s
        self.first_bytes[bisect_left(FIRST_BYTE_BOUNDS_S, waited_s)] += 1
        self._of(hostname).to_home += flight_bytes

    def began(self, hostname: str) -> None:
        """Take that a UDP flow has begun, whose bytes are told when it ends."""
        self._of(hostname)

    def ended(self, hostname: str, to_home: int, to_visitor: int) -> None:
        """Count what a visitor has moved."""
        moved = self._of(hostname)
        moved.to_home += to_home
        moved.to_visitor += to_visitor

    def _of(self, hostname: str) -> Moved:
        moved = self._moved.get(hostname)
        if moved is None:
            if len(self._moved) >= self._hostnames_max:
                hostname = OTHER_HOSTNAMES
            moved = self._moved.setdefault(hostname, Moved())
        return moved

    def by_hostname(
        self, live: Iterable[tuple[str, int, int]] = ()
    ) -> dict[str, Moved]:
        """Return the bytes by hostname, with those of who is still there.

        live: hostname, bytes to home and to the visitor, for each of them. They never
        go back: an end moves the same numbers from here to there.
        """
        total = {
            name: Moved(one.to_home, one.to_visitor)
            for name, one in self._moved.items()
        }
        for hostname, to_home, to_visitor in live:
            known = hostname if hostname in total else OTHER_HOSTNAMES
            moved = total.setdefault(known, Moved())
            moved.to_home += to_home
            moved.to_visitor += to_visitor
        return total
