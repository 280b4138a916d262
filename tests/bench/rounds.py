"""Run everything in an order that is fair to all ways.

    fresh    each way is started and weighed at once, before any load
    warm     a short load and one transfer per way, thrown away
    rounds   load by load, and for each load way by way, so that the values of a ratio
             lie seconds apart; each round begins with another way

All ways' processes stay up meanwhile; idle ones cost nothing that can be measured.
"""

from collections.abc import Callable, Iterator
import contextlib
from dataclasses import dataclass

from tests.bench.loads import Measured, Visitors
from tests.bench.memory import weigh_way
from tests.bench.processes import BenchError
from tests.bench.results import Results
from tests.bench.rows import LOADS, MEMORY
from tests.bench.scene import Scene
from tests.bench.ways import WAYS, Doors, Way, WayName

__all__ = ["Plan", "run"]

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
def _running(scene: Scene, name: WayName) -> Iterator[tuple[Way, Doors]]:
    way = WAYS[name](scene)
    try:
        yield way, way.start()
    finally:
        way.stop()


def run(plan: Plan, scene: Scene, say: Say) -> Results:
    """Run the plan. What fails is noted, and the rest goes on."""
    results = Results()
    with contextlib.ExitStack() as stack:
        doors: dict[WayName, Doors] = {}
        for name in plan.ways:
            say(f"start {name}")
            try:
                way, doors[name] = stack.enter_context(_running(scene, name))
            except BenchError as err:
                results.failures.append(f"{name} did not start: {err}")
                continue
            if MEMORY in plan.loads:
                say(f"memory: {name}")
                try:
                    results.memory[name] = weigh_way(
                        scene, way, doors[name].edge, plan.visitors
                    )
                except BenchError as err:
                    results.failures.append(f"{name}, memory: {err}")
        crowds = {
            name: Visitors(scene, where, seconds=plan.seconds)
            for name, where in doors.items()
        }
        loads = [load for load in plan.loads if load != MEMORY]
        if loads:
            _warm(scene, doors, say)
        for number in range(plan.rounds):
            for load in loads:
                for name in _turn(_with_door(doors, LOADS[load]), number):
                    say(f"round {number + 1} of {plan.rounds}, {load}: {name}")
                    measured = _measure(crowds[name], load, name, results)
                    results.add(name, load, measured)
    return results


def _with_door(doors: dict[WayName, Doors], door: str) -> tuple[WayName, ...]:
    return tuple(name for name, one in doors.items() if getattr(one, door) is not None)


def _turn(ways: tuple[WayName, ...], number: int) -> tuple[WayName, ...]:
    first = number % max(1, len(ways))
    return ways[first:] + ways[:first]


def _warm(scene: Scene, doors: dict[WayName, Doors], say: Say) -> None:
    for name, where in doors.items():
        say(f"warm up {name}")
        visitors = Visitors(scene, where, seconds=1)
        with contextlib.suppress(BenchError):  # it fails again where it counts
            visitors.keep_alive()
            visitors.download()


def _measure(
    visitors: Visitors, load: str, name: WayName, results: Results
) -> Measured | None:
    try:
        measured: Measured = getattr(visitors, load)()
    except BenchError as err:
        results.failures.append(f"{name}, {load}: {err}")
        return None
    return measured
