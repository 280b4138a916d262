"""Gather what the rounds found, and judge it.

    samples  row, way  → one value per round (None: that load failed)
    ratios   row, peer → Hearthgate / peer, per round
    verdicts every target with what was found; unmeasured ones are left out

Pure: no clock, no files.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from tests.bench.loads import Measured
from tests.bench.memory import MemoryReport
from tests.bench.rows import (
    AGENT_KB,
    RELAY_IDLE_KB,
    RELAY_PER_VISITOR_KB,
    ROWS,
    TARGETS,
    RatioTarget,
)
from tests.bench.ways import WayName

__all__ = ["Results", "Spread", "Verdict"]

_KB_PER_KIB = 1.024
_OURS = WayName.HEARTHGATE


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, and how far they lie apart."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target."""

    what: str
    wanted: str
    found: str
    reached: bool


@dataclass(slots=True)
class Results:
    """Everything that one run found."""

    samples: dict[str, dict[WayName, list[float | None]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    errors: dict[str, dict[WayName, int]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(int))
    )
    memory: dict[WayName, MemoryReport] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)  # sentences

    def add(self, way: WayName, load: str, measured: Measured | None) -> None:
        """Keep what one load found on one way; None if it failed as a whole."""
        for row in ROWS:
            if row.load == load:
                value = measured.values.get(row.name) if measured else None
                self.samples[row.name][way].append(value)
        self.errors[load][way] += measured.errors if measured else 1

    def spread(self, row: str, way: WayName) -> Spread | None:
        """Return the median of a row on a way; None without a single value."""
        return _spread(self.samples.get(row, {}).get(way, []))

    def ratio(self, row: str, peer: WayName, *, inverse: bool = False) -> Spread | None:
        """Return Hearthgate's value by the peer's, judged round by round."""
        ways = self.samples.get(row, {})
        pairs = zip(ways.get(_OURS, []), ways.get(peer, []), strict=False)
        both = [(ours, theirs) for ours, theirs in pairs if ours and theirs]
        return _spread([t / o if inverse else o / t for o, t in both])

    def verdicts(self) -> list[Verdict]:
        """Judge every target that was measured."""
        found = [verdict for t in TARGETS if (verdict := self._judge(t))]
        if (report := self.memory.get(_OURS)) is not None:
            found += _judge_memory(report)
        return found + self._judge_errors()

    def _judge(self, target: RatioTarget) -> Verdict | None:
        ratio = self.ratio(target.row, target.peer, inverse=target.inverse)
        if ratio is None:
            return None
        title = next(row.title for row in ROWS if row.name == target.row)
        names = (target.peer.label, _OURS.label)
        first, second = names if target.inverse else names[::-1]
        return Verdict(
            what=f"{title}: {first} / {second}",
            wanted=target.bound,
            found=f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
            reached=target.reached(ratio.median),
        )

    def _judge_errors(self) -> list[Verdict]:
        found = []
        for load, what in (("download", "Downloads"), ("upload", "Uploads")):
            if _OURS in self.errors.get(load, {}):
                count = self.errors[load][_OURS]
                done = len(self.samples[load][_OURS])
                found.append(
                    Verdict(
                        what=f"{what} without an error, Hearthgate",
                        wanted="0 errors",
                        found=f"{count} errors in {done}",
                        reached=count == 0,
                    )
                )
        return found

    def as_dict(self) -> dict[str, object]:
        """Return what results.json holds."""
        return {
            "rows": {row.name: self._row(row.name) for row in ROWS if self._has(row)},
            "memory_kib": {way: kept.as_dict() for way, kept in self.memory.items()},
            "targets": [
                {
                    "what": verdict.what,
                    "wanted": verdict.wanted,
                    "found": verdict.found,
                    "reached": verdict.reached,
                }
                for verdict in self.verdicts()
            ],
            # Only what failed: the words of a tool may hold paths of this machine.
            "failures": [failure.partition(":")[0] for failure in self.failures],
        }

    def _has(self, row: object) -> bool:
        return getattr(row, "name", "") in self.samples

    def _row(self, name: str) -> Mapping[str, object]:
        row = next(row for row in ROWS if row.name == name)
        return {
            "title": row.title,
            "unit": row.unit,
            "better": "less" if row.less_is_better else "more",
            "ways": {
                way: {
                    "rounds": values,
                    "errors": self.errors[row.load][way],
                    **_spread_dict(self.spread(name, way)),
                }
                for way, values in self.samples[name].items()
            },
            "hearthgate_by": {
                way: _spread_dict(ratio)
                for way in self.samples[name]
                if way is not _OURS and (ratio := self.ratio(name, way))
            },
        }


def _spread(values: list[float | None] | list[float]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(median(known), min(known), max(known))


def _spread_dict(spread: Spread | None) -> dict[str, float | None]:
    if spread is None:
        return {"median": None, "min": None, "max": None}
    return {"median": spread.median, "min": spread.low, "max": spread.high}


def _judge_memory(report: MemoryReport) -> list[Verdict]:
    relay_kb = report.idle["relay"].rss_kib * _KB_PER_KIB
    agent_kb = _KB_PER_KIB * max(
        report.idle["agent"].rss_kib, report.loaded["agent"].rss_kib
    )
    each_kb = report.per_connection_kib("relay") * _KB_PER_KIB
    return [
        Verdict(
            what="Memory of the relay with an idle home",
            wanted=f"≤ {RELAY_IDLE_KB / 1000:.0f} MB",
            found=f"{relay_kb / 1000:.1f} MB",
            reached=relay_kb <= RELAY_IDLE_KB,
        ),
        Verdict(
            what="Memory of the relay per open visitor connection",
            wanted=f"≤ {RELAY_PER_VISITOR_KB:.0f} KB",
            found=f"{each_kb:.1f} KB",
            reached=each_kb <= RELAY_PER_VISITOR_KB,
        ),
        Verdict(
            what="Memory of the agent, idle or not",
            wanted=f"≤ {AGENT_KB / 1000:.0f} MB",
            found=f"{agent_kb / 1000:.1f} MB",
            reached=agent_kb <= AGENT_KB,
        ),
        Verdict(
            what=f"{report.asked:,} open visitor connections, Hearthgate",
            wanted="0 errors",
            found=f"{report.opened:,} open, {report.errors} errors",
            reached=report.opened == report.asked and report.errors == 0,
        ),
    ]
