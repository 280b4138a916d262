"""The command line of the benchmark: `python -m tests.bench --help`."""

import json
from pathlib import Path
import shutil
import signal
import sys
import tempfile
from types import FrameType

import click
from rich.console import Console

from tests.bench.chart import draw
from tests.bench.machine import facts
from tests.bench.processes import BenchError, raise_open_files
from tests.bench.results import Results
from tests.bench.rounds import Plan, run
from tests.bench.rows import LOADS, MEMORY, ROWS
from tests.bench.scene import set_up
from tests.bench.table import show
from tests.bench.ways import WAYS, WayName

_ROOT = Path(__file__).resolve().parents[2]
_TOOLS = ("haproxy", "nginx", "wrk", "h2load", "curl", "ssh", "ssh-keygen", "unshare")
_OPEN_FILES = 16384  # 2,000 visitors are two descriptors each in some processes
_MIB = 1 << 20
_NOISY_LOAD = 0.5
_LOG_WIDTH = 120


def _names(_context: object, _option: object, given: tuple[str, ...]) -> list[str]:
    return [name for words in given for name in words.replace(",", " ").split()]


def _pick_ways(names: list[str]) -> tuple[WayName, ...]:
    if unknown := set(names) - set(WAYS):
        known = ", ".join(WAYS)
        raise click.BadParameter(f"no such way: {', '.join(unknown)}; known: {known}")
    return tuple(way for way in WAYS if not names or way in names)


def _pick_loads(names: list[str]) -> tuple[str, ...]:
    known = {row.name: row.load for row in ROWS} | {MEMORY: MEMORY}
    if unknown := set(names) - set(known):
        raise click.BadParameter(
            f"no such row: {', '.join(unknown)}; known: {', '.join(known)}"
        )
    wanted = {known[name] for name in names or known}
    return tuple(load for load in (MEMORY, *LOADS) if load in wanted)


def _check_machine() -> None:
    if missing := [tool for tool in _TOOLS if not shutil.which(tool)]:
        raise BenchError(f"not installed: {', '.join(missing)}")
    if (limit := raise_open_files()) < _OPEN_FILES:
        raise BenchError(f"{limit} open files allowed, {_OPEN_FILES} needed")


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _write(
    out: Path, results: Results, plan: Plan, large_mib: int, machine: dict[str, object]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    settings = {
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "transfer_mib": large_mib,
        "visitors": plan.visitors,
    }
    found = {"machine": machine, "settings": settings, **results.as_dict()}
    (out / "results.json").write_text(json.dumps(found, indent=2) + "\n")
    caption = (
        f"Median of {plan.rounds} rounds on {machine['cores']} cores, everything on "
        "one machine. Bars: compared with HAProxy in TCP mode (dashed line)."
    )
    (out / "chart.svg").write_text(draw(results, list(plan.ways), caption))


@click.command(help=__doc__)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1, 99))
@click.option("--seconds", default=8.0, show_default=True, help="per timed load")
@click.option("--quick", is_flag=True, help="one round, 2 s, 64 MiB: does it work?")
@click.option("--only", multiple=True, callback=_names, help="ways, by comma")
@click.option("--rows", multiple=True, callback=_names, help="rows, by comma")
@click.option("--visitors", default=2000, show_default=True, help="held open")
@click.option("--out", type=click.Path(path_type=Path), default=_ROOT / ".work/bench")
@click.option("--publish", is_flag=True, help="copy the chart to docs/images")
def main(
    *,
    rounds: int,
    seconds: float,
    quick: bool,
    only: list[str],
    rows: list[str],
    visitors: int,
    out: Path,
    publish: bool,
) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=_LOG_WIDTH)  # a table in a log must not be squeezed
    large_mib = 64 if quick else 1024
    plan = Plan(
        ways=_pick_ways(only),
        loads=_pick_loads(rows),
        rounds=1 if quick else rounds,
        seconds=2.0 if quick else seconds,
        visitors=visitors,
    )
    signal.signal(signal.SIGTERM, _stop)
    try:
        _check_machine()
        machine = facts()
        results = _run(plan, large_mib * _MIB, console)
    except BenchError as err:
        console.print(str(err), style="red", markup=False)
        sys.exit(1)
    _write(out, results, plan, large_mib, machine)
    title = f"{plan.rounds} rounds, {machine['cores']} cores, {large_mib} MiB transfers"
    show(results, list(plan.ways), console, title)
    if float(str(machine["load_before"])) > _NOISY_LOAD:
        console.print(f"The machine was busy before: load {machine['load_before']}.")
    if publish:
        images = _ROOT / "docs/images"
        images.mkdir(parents=True, exist_ok=True)
        shutil.copy(out / "chart.svg", images / "bench.svg")
    console.print(f"Written: results.json and chart.svg in {out}")
    if results.failures:
        sys.exit(1)


def _run(plan: Plan, large_bytes: int, console: Console) -> Results:
    with (
        tempfile.TemporaryDirectory(prefix="hearthgate-bench-") as folder,
        set_up(Path(folder), large_bytes=large_bytes) as scene,
        console.status("set up") as status,
    ):

        def say(words: str) -> None:
            status.update(words)
            if not console.is_terminal:
                console.print(words, markup=False)

        return run(plan, scene, say)


if __name__ == "__main__":
    main()
