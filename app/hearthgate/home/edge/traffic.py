"""How many visitors there are, and how many bytes went to and from each service.

    generation 1 ─┐
    generation 2 ─┴─ "show stat" ─▶ Meter: what is new since the last look ─▶ totals

HAProxy counts from its own start, so a total is made of what each generation added.
What the last seconds of a generation brought that had to be killed is lost. Totals
begin anew with the agent. Keeps no address and no path of anybody.
"""

from collections.abc import Collection, Mapping
import csv
from dataclasses import dataclass
from typing import Final

from hearthgate.home.edge.requests import hostname_of
from hearthgate.home.model import Bytes

_VISITORS: Final = "visitors"  # as config.py names it
_FRONTEND: Final = "FRONTEND"
_BACKEND: Final = "BACKEND"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one HAProxy has counted until now."""

    visitors: int  # connections that are open
    backends: Mapping[str, Bytes]


@dataclass(frozen=True, slots=True)
class Traffic:
    """What all generations have counted."""

    visitors: int
    backends: Mapping[str, Bytes]


def read_stat(text: str) -> Reading:
    """Read the answer to "show stat". What makes no sense counts as nothing."""
    visitors = 0
    backends: dict[str, Bytes] = {}
    for row in csv.DictReader(text.removeprefix("# ").splitlines()):
        name = row.get("pxname") or ""
        if row.get("svname") == _FRONTEND and name == _VISITORS:
            visitors += _number(row.get("scur"))
        elif row.get("svname") == _BACKEND:
            hostname = hostname_of(name)
            now = Bytes(_number(row.get("bin")), _number(row.get("bout")))
            backends[hostname] = backends.get(hostname, Bytes()) + now
    return Reading(visitors, backends)


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


class Meter:
    """The totals by backend, over all generations."""

    def __init__(self) -> None:
        self._totals: dict[str, Bytes] = {}
        self._last: dict[int, Reading] = {}  # by number of a generation

    def take(self, generation: int, reading: Reading) -> None:
        """Add what a generation has counted since the last look at it."""
        last = self._last.get(generation)
        for name, now in reading.backends.items():
            before = last.backends.get(name) if last else None
            total = self._totals.get(name, Bytes())
            self._totals[name] = total + now.since(before or Bytes())
        self._last[generation] = reading

    def keep(self, generations: Collection[int], backends: Collection[str]) -> None:
        """Forget everything else."""
        self._last = {k: v for k, v in self._last.items() if k in generations}
        self._totals = {k: v for k, v in self._totals.items() if k in backends}

    def traffic(self, generations: Collection[int]) -> Traffic:
        """Return the totals, and the visitors of these generations."""
        readings = [v for k, v in self._last.items() if k in generations]
        return Traffic(sum(one.visitors for one in readings), dict(self._totals))
