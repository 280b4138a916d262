"""Fail a test that leaves something running or open behind.

    before a test                  after it and its fixtures
    threads, child processes,  ──▶ the same again; what is new gets a few seconds to
    sockets, pipes                 end by itself, then the test fails and says what

What module and session fixtures hold is there before the test, so it does not count.
Tasks are looked at inside the test's own event loop, before the loop is closed. The
whole session is checked once more at its end. Left processes are killed as they are
reported, so one leak fails one test. A test that failed has said enough: its traceback
still holds what it opened. `@pytest.mark.keeps("sockets")` excuses a test.

Checks no memory, no files, and never how long anything took.
"""

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
import inspect

from hypothesis import settings
import pytest
from xdist.workermanage import WorkerController

from tests.tools import leaks

FAILED = pytest.StashKey[bool]()

# On a busy machine any example may take long.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Tell pytest our marker, and mark all that the tests will start."""
    config.addinivalue_line(
        "markers",
        "keeps(kind, ...): may leave these behind: processes, threads, sockets, tasks",
    )
    leaks.mark_children()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController, error: object) -> None:
    """End what a process of tests had started that went down itself."""
    if error:
        mark = {
            "PYTEST_XDIST_WORKER": str(node.workerinput["workerid"]),
            "PYTEST_XDIST_TESTRUNUID": str(node.workerinput["testrunuid"]),
        }
        leaks.kill(leaks.marked(mark))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Look at the tasks of asynchronous tests only: others have no event loop."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            # After the other check: its look comes last, when the loop is closed.
            place = item.fixturenames.index("_nothing_is_left_behind") + 1
            item.fixturenames.insert(place, "_no_task_is_left")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember whether the test itself failed."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="session", autouse=True)
def _no_process_outlives_the_session() -> Iterator[None]:
    before = leaks.processes()
    yield
    _fail_on("processes", leaks.wait_for_end(leaks.processes, before))


@pytest.fixture(autouse=True)
def _nothing_is_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    before = {kind: look() for kind, look in leaks.LOOKS.items()}
    yield
    left = {
        kind: leaks.wait_for_end(look, before[kind])
        for kind, look in leaks.LOOKS.items()
        if kind not in _kept(request)
        and (kind == "processes" or not request.node.stash[FAILED])
    }
    if not request.node.stash[FAILED]:
        for kind, what in left.items():
            _fail_on(kind, what)


@pytest.fixture
async def _no_task_is_left(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    before = asyncio.all_tasks()
    yield
    if "tasks" not in _kept(request) and not request.node.stash[FAILED]:
        _fail_on("tasks", await leaks.unfinished_tasks(before))


def _kept(request: pytest.FixtureRequest) -> set[str]:
    marks = request.node.iter_markers("keeps")
    return {kind for mark in marks for kind in mark.args}


def _fail_on(kind: str, left: list[str]) -> None:
    if left:
        lines = "\n  ".join(left)
        pytest.fail(f"left behind, {kind}:\n  {lines}", pytrace=False)
