"""Run the parts that a home can do without, so that none of them ends the rest.

    run(name, start) ──▶ await start() ─┬─ ends ────────────────────▶ done
          ▲                             └─ raises ─▶ log, tell, wait ─┐
          └───────────────────────────────────────────────────────────┘

What a part raises in the user's words is told as it is; anything else is a bug, whose
traceback is logged. Both are logged once per hour and part. `problems` has what is
wrong now, for the page; a part that has run for a while is well again. Knows no part by
name.
"""

import asyncio
from collections.abc import Callable, Coroutine
import logging
import random
import time
from typing import Any

from hearthgate.errors import HearthgateError
from hearthgate.home.errors import PartFailedError
from hearthgate.home.model import Problem
from hearthgate.shared.process.backoff import Backoff
from hearthgate.shared.process.periodic import OncePer

_LOGGER = logging.getLogger(__name__)

_FIRST_S = 5.0
_MOST_S = 300.0
# Longer than the deadline of every connection that a part makes first, so that one
# which fails again and again does not look well in between.
_WELL_AFTER_S = 30.0
_SAY_EVERY_S = 3600.0

Start = Callable[[], Coroutine[Any, Any, None]]


class Parts:
    """The optional parts of one process. Lives in one loop."""

    def __init__(
        self,
        *,
        on_change: Callable[[], None],
        rng: random.Random,
        first_s: float = _FIRST_S,
        most_s: float = _MOST_S,
        well_after_s: float = _WELL_AFTER_S,
    ) -> None:
        """`on_change` is called when `problems` has changed; it must not raise.

        first_s, most_s: between two tries of the same part.
        """
        self._on_change = on_change
        self._rng = rng
        self._first_s = first_s
        self._most_s = most_s
        self._well_after_s = well_after_s
        self._problems: dict[str, Problem] = {}
        self._tracebacks = OncePer(_SAY_EVERY_S, time.monotonic)
        self._lines = OncePer(_SAY_EVERY_S, time.monotonic)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with parts now, by their names."""
        return tuple(problem for _, problem in sorted(self._problems.items()))

    def tell(self, name: str, problem: Problem | None) -> None:
        """Take what is wrong with a part; None: nothing."""
        if self._problems.get(name) == problem:
            return
        if problem is None:
            del self._problems[name]
        else:
            self._problems[name] = problem
        self._on_change()

    async def run(self, name: str, start: Start) -> None:
        """Run a part again and again until it ends by itself, or until cancelled.

        `name` begins a sentence. `start` is called for each try.
        """
        backoff = Backoff(
            first_s=self._first_s,
            most_s=self._most_s,
            holds_after_s=2 * self._well_after_s,
            clock=time.monotonic,
            rng=self._rng,
        )
        while True:
            backoff.succeeded()
            well = asyncio.get_running_loop().call_later(
                self._well_after_s, self.tell, name, None
            )
            try:
                failure = await _failure_of(start, name)
            finally:
                well.cancel()
            if failure is None:
                self.tell(name, None)
                return
            delay_s = backoff.delay()
            self._failed(name, failure, delay_s)
            await asyncio.sleep(delay_s)

    def _failed(self, name: str, failure: Exception, delay_s: float) -> None:
        told, line = _in_words(failure), f"{name}: %s Trying again in %.0f s"
        if told is None:
            line = "%s Trying again in %.0f s"
            told = PartFailedError(part=name, reason=type(first_of(failure)).__name__)
            if self._tracebacks.due(name):
                _LOGGER.error("%s has failed", name, exc_info=failure)
        level = logging.WARNING if self._lines.due(name + told.code) else logging.DEBUG
        _LOGGER.log(level, line, told, delay_s)
        self.tell(name, Problem.of(told, time.time() + delay_s))


async def _failure_of(start: Start, name: str) -> Exception | None:
    """Run a part until it ends; return why, None if it has done what it should.

    In a task of its own, which tells whether we are cancelled or something in there:
    Task.cancelling() does not, once a TaskGroup of Python 3.11 was within.
    """
    task = asyncio.get_running_loop().create_task(start(), name=name)
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if task.cancelled():
        return RuntimeError("it was cancelled from within")
    failure = task.exception()
    if failure is None or isinstance(failure, Exception):
        return failure
    raise failure


def _in_words(failure: Exception) -> HearthgateError | None:
    """Return an error that a user may read, also from within a group of one."""
    if isinstance(failure, ExceptionGroup) and len(failure.exceptions) == 1:
        return _in_words(failure.exceptions[0])
    return failure if isinstance(failure, HearthgateError) else None


def first_of(failure: Exception) -> Exception:
    """Return the first error within a group; one that is no group is itself."""
    if isinstance(failure, ExceptionGroup):
        return first_of(failure.exceptions[0])
    return failure
