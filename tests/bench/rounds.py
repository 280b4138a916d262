"""Run everything in an order that is fair to all ways.

    weigh    each way, fresh, before any load
    rounds   load by load, and for each load way by way, so that the values of a ratio
             lie seconds apart; each round begins with another way

A way runs only while it is measured, in a folder of its own: one that has nothing to do
may still take a share of the machine. A short load of the same kind warms it up first.
"""

from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
import tempfile

from tests.bench.loads import Measured, Visitors
from tests.bench.memory import weigh_way
from tests.bench.processes import BenchError
from tests.bench.results import Results
from tests.bench.rows import LOADS, MEMORY
from tests.bench.scene import Scene
from tests.bench.ways import WAYS, Doors, Way, WayName, with_door

__all__ = ["Plan", "run"]

_WARM_S = 1.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    ways: tuple[WayName, ...]
    loads: tuple[str, ...]  # methods of Visitors, or MEMORY
    rounds: int
    seconds: float  # per timed load
    visitors: int  # open connections for the memory rows


@contextlib.contextmanager
def _running(scene: Scene, name: WayName) -> Iterator[tuple[Scene, Way, Doors]]:
    """Run one way in a fresh folder: its scene, itself, where its visitors connect."""
    with tempfile.TemporaryDirectory(dir=scene.folder, prefix=name) as folder:
        own = replace(scene, folder=Path(folder))
        way = WAYS[name](own)
        try:
            yield own, way, way.start()
        finally:
            way.stop()


def run(plan: Plan, scene: Scene, say: Say) -> Results:
    """Run the plan. What fails is noted, and the rest goes on."""
    results = Results()
    if MEMORY in plan.loads:
        for name in plan.ways:
            say(f"memory: {name}")
            try:
                with _running(scene, name) as (own, way, doors):
                    results.memory[name] = weigh_way(
                        own, way, doors.edge, plan.visitors
                    )
            except BenchError as err:
                results.failures.append(f"{name}, memory: {err}")
    for number in range(plan.rounds):
        for load in (load for load in plan.loads if load != MEMORY):
            for name in _turn(with_door(LOADS[load], plan.ways), number):
                say(f"round {number + 1} of {plan.rounds}, {load}: {name}")
                try:
                    measured = _measure(plan, scene, name, load)
                except BenchError as err:
                    results.failures.append(f"{name}, {load}: {err}")
                    measured = None
                results.add(name, load, measured)
    return results


def _turn(ways: tuple[WayName, ...], number: int) -> tuple[WayName, ...]:
    first = number % max(1, len(ways))
    return ways[first:] + ways[:first]


def _measure(plan: Plan, scene: Scene, name: WayName, load: str) -> Measured:
    with _running(scene, name) as (own, _, doors):
        for seconds in (_WARM_S, plan.seconds):
            visitors = Visitors(own, doors, seconds=seconds)
            measured: Measured = getattr(visitors, load)()
        return measured
