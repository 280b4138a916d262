"""Tasks with an owner: ended together, and no failure unseen."""

import asyncio

import pytest

from hearthgate.shared.process.tasks import Tasks


async def test_a_task_that_ends_is_forgotten() -> None:
    tasks = Tasks()
    task = tasks.start(asyncio.sleep(0, "done"), "short")
    assert task.get_name() == "short"
    assert len(tasks) == 1
    assert await task == "done"
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_closing_ends_what_still_runs_and_waits_for_its_end() -> None:
    tasks = Tasks()
    ended: list[str] = []

    async def linger(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    for name in ("one", "two"):
        tasks.start(linger(name), name)
    await asyncio.sleep(0)
    await tasks.close()
    assert sorted(ended) == ["one", "two"]
    await tasks.close()


async def test_a_failure_is_logged_with_the_tasks_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks = Tasks()

    async def fail() -> None:
        raise ValueError("the reason")

    task = tasks.start(fail(), "control of 203.0.113.5")
    await asyncio.wait({task})
    await asyncio.sleep(0)
    assert caplog.messages == ["control of 203.0.113.5 failed"]
    assert "the reason" in caplog.text
    await tasks.close()


async def test_one_failure_does_not_end_the_others() -> None:
    tasks = Tasks()
    going = asyncio.Event()

    async def fail() -> None:
        raise ValueError

    other = tasks.start(going.wait(), "other")
    await asyncio.wait({tasks.start(fail(), "failing")})
    assert not other.done()
    going.set()
    await other


async def test_being_ended_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks()
    tasks.start(asyncio.Event().wait(), "waiting")
    await asyncio.sleep(0)
    await tasks.close()
    assert caplog.messages == []
