"""Weigh the processes of a way: idle, and with many open visitor connections.

PSS (proportional set size) shares a page among those who map it, so that the sum over
processes is what the machine really gives; RSS counts shared pages for each of them and
is what `top` shows. Both are in KiB. Kernel socket buffers are in neither.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
import json
from pathlib import Path
import re
import select
import sys
import time

from tests.bench.processes import BenchError, Child
from tests.bench.scene import Scene
from tests.bench.ways import Way

__all__ = ["MemoryReport", "Weight", "weigh_way"]

_SETTLE_S = 1.0  # allocators and timers of five seconds are part of the truth
_DEADLINE_S = 180.0


@dataclass(frozen=True, slots=True)
class Weight:
    """The memory of one role, all its processes together, in KiB."""

    rss_kib: int
    pss_kib: int


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """One way: fresh, with all visitors open, and after they left."""

    idle: Mapping[str, Weight]
    loaded: Mapping[str, Weight]
    after: Mapping[str, Weight]
    asked: int  # connections that were to be opened
    opened: int
    errors: int  # not opened, or cut while they were open

    def per_connection_kib(self, role: str) -> float:
        """Return the growth of a role's RSS per open visitor connection."""
        grown = self.loaded[role].rss_kib - self.idle[role].rss_kib
        return grown / max(1, self.opened)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def _weigh(pid: int) -> Weight:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    sizes = dict(re.findall(r"^(Rss|Pss):\s+(\d+) kB", text, re.MULTILINE))
    return Weight(rss_kib=int(sizes["Rss"]), pss_kib=int(sizes["Pss"]))


def _weigh_all(way: Way) -> dict[str, Weight]:
    found = {}
    for role, pids in way.processes().items():
        parts = [_weigh(pid) for pid in pids]
        found[role] = Weight(
            rss_kib=sum(part.rss_kib for part in parts),
            pss_kib=sum(part.pss_kib for part in parts),
        )
    return found


@dataclass(slots=True)
class _Crowd:
    """The process that holds the visitors' ends."""

    child: Child

    def hear(self) -> dict[str, int]:
        pipe = self.child.process.stdout
        if pipe is None or not select.select([pipe], [], [], _DEADLINE_S)[0]:
            raise BenchError("the visitors did not report in time")
        line = pipe.readline()
        if not line:
            self.child.process.wait()
            self.child.check()
        answer: dict[str, int] = json.loads(line)
        return answer

    def go_on(self) -> None:
        pipe = self.child.process.stdin
        if pipe is not None:
            pipe.write(b"\n")
            pipe.flush()


def weigh_way(scene: Scene, way: Way, port: int, count: int) -> MemoryReport:
    """Open `count` visitor connections through a fresh way and weigh it."""
    time.sleep(_SETTLE_S)
    idle = _weigh_all(way)
    argv = [sys.executable, "-m", "tests.bench.visitors.hold", str(port)]
    argv += [scene.hostname, "/small.txt", str(count)]
    with Child(argv, log=scene.folder / "hold.log", pipes=True) as child:
        crowd = _Crowd(child)
        opened = crowd.hear()
        time.sleep(_SETTLE_S)
        loaded = _weigh_all(way)
        crowd.go_on()
        alive = crowd.hear()
        child.process.wait(_DEADLINE_S)
    time.sleep(_SETTLE_S)
    return MemoryReport(
        idle=idle,
        loaded=loaded,
        after=_weigh_all(way),
        asked=count,
        opened=opened["open"],
        errors=opened["errors"] + alive["errors"],
    )
