"""A part that fails takes nothing with it, is told, and is tried again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
import contextlib
import logging
import random

import pytest

from hearthgate.home.hass.errors import BrokerAwayError
from hearthgate.home.parts import Parts
from tests.support.relay_parts import until

NAME = "Discovery"


class Stage:
    """Parts without a wait, and what they have told."""

    def __init__(self, *, well_after_s: float = 0.01) -> None:
        self.told: list[list[str]] = []
        self.tries = 0
        self.parts = Parts(
            on_change=self._changed,
            rng=random.Random(1),
            first_s=0.001,
            most_s=0.001,
            well_after_s=well_after_s,
        )

    def _changed(self) -> None:
        self.told.append([one.code for one in self.parts.problems])

    @contextlib.asynccontextmanager
    async def running(
        self, *ways: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[None]:
        """Run a part that goes one way after the other; the last way repeats."""

        async def start() -> None:
            way = ways[min(self.tries, len(ways) - 1)]
            self.tries += 1
            await way()

        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.parts.run(NAME, start))
            try:
                yield
            finally:
                task.cancel()


async def works() -> None:
    await asyncio.Event().wait()


async def fails() -> None:
    raise UnicodeError("label empty")


async def fails_in_a_group() -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fails())


async def fails_later() -> None:
    await asyncio.sleep(0)
    raise ZeroDivisionError


async def is_cancelled_from_within() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def says_why() -> None:
    raise BrokerAwayError(host="a.example", port=1883, reason="no")


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        (fails, "UnicodeError"),
        (fails_in_a_group, "UnicodeError"),
        (fails_later, "ZeroDivisionError"),
        (is_cancelled_from_within, "RuntimeError"),
    ],
)
async def test_a_bug_is_told_in_words_and_the_part_recovers(
    way: Callable[[], Awaitable[None]], reason: str
) -> None:
    stage = Stage()
    async with stage.running(way, works):
        await until(lambda: len(stage.told) == 2)
        assert stage.told == [["part_failed"], []]
        assert stage.tries == 2
    stage = Stage()
    async with stage.running(way):
        await until(lambda: bool(stage.parts.problems))
        (problem,) = stage.parts.problems
        assert problem.fields == {"part": NAME, "reason": reason}
        assert problem.message.startswith("Discovery has stopped because of an error")
        assert problem.retry_at is not None


@pytest.mark.parametrize("is_grouped", [False, True])
async def test_what_a_part_says_in_words_is_told_as_it_is(is_grouped: bool) -> None:
    async def grouped() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(says_why())

    stage = Stage()
    async with stage.running(grouped if is_grouped else says_why):
        await until(lambda: bool(stage.parts.problems))
        (problem,) = stage.parts.problems
        assert problem.code == "broker_away"
        assert problem.fields["host"] == "a.example"


async def test_a_hundred_failures_are_one_traceback_and_one_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    with caplog.at_level(logging.INFO):
        async with stage.running(fails):
            await until(lambda: stage.tries > 100)
    assert [one.levelname for one in caplog.records] == ["ERROR", "WARNING"]
    assert caplog.records[0].exc_info is not None


async def test_a_part_that_fails_again_and_again_does_not_look_well_in_between() -> (
    None
):
    stage = Stage(well_after_s=3600)
    async with stage.running(fails_later):
        await until(lambda: stage.tries > 20)
    assert [] not in stage.told


async def test_a_part_that_ends_by_itself_is_done() -> None:
    stage = Stage()

    async def done() -> None:
        pass

    async with stage.running(fails, done):
        await until(lambda: stage.told == [["part_failed"], []])
    assert stage.tries == 2


async def test_other_parts_go_on_while_one_fails() -> None:
    stage = Stage()
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(stage.parts.run("Other", other)),
            tasks.create_task(stage.parts.run(NAME, fails)),
        ]
        await until(lambda: len(stage.told) > 0 and turns > 100)
        assert [one.code for one in stage.parts.problems] == ["part_failed"]
        for task in running:
            task.cancel()
