"""Passwords are checked few at a time, beside the loop, and after the limit."""

import asyncio
from collections import Counter
import threading
import time

import pytest

from hearthgate.home.access import (
    CheckLimits,
    GuessLimits,
    PasswordChecks,
    Verdict,
    checks,
    make_access,
)
from hearthgate.home.model import Access

HERE = "198.51.100.7"


@pytest.fixture(scope="module")
def access() -> Access:
    return make_access("anna", "right right")


class Hashing:
    """Stands in for crypt(3): slow until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.seen: Counter[str] = Counter()
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()

    def __call__(self, password: str, _: str) -> bool:
        with self._lock:
            self.seen[password] += 1
            self._now += 1
            self.most = max(self.most, self._now)
        self.go.wait(30)
        with self._lock:
            self._now -= 1
        return password == "right"


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Hashing:
    slow = Hashing()
    monkeypatch.setattr(checks, "matches", slow)
    return slow


def make(guesses: int = 10, at_once: int = 2, queue: int = 5) -> PasswordChecks:
    return PasswordChecks(
        GuessLimits(300, guesses, 3 * guesses),
        CheckLimits(at_once, queue),
        clock=time.monotonic,
    )


async def test_right_wrong_and_then_neither(access: Access) -> None:
    checking = make(guesses=2)
    assert await checking.check("right right", access, HERE) is Verdict.RIGHT
    for _ in range(2):
        assert await checking.check("wrong", access, HERE) is Verdict.WRONG
    assert await checking.check("right right", access, HERE) is Verdict.LIMITED


@pytest.mark.parametrize("nonsense", ["", "\udcff", "a\0b", "x" * 600])
async def test_what_no_password_can_be_is_wrong_and_counts(
    access: Access, nonsense: str
) -> None:
    checking = make(guesses=1)
    assert await checking.check(nonsense, access, HERE) is Verdict.WRONG
    assert await checking.check("right right", access, HERE) is Verdict.LIMITED


async def test_few_are_hashed_at_a_time_and_few_wait(
    access: Access, hashing: Hashing
) -> None:
    checking = make(guesses=100)
    asked = [
        asyncio.create_task(checking.check(f"wrong {number}", access, HERE))
        for number in range(8)
    ]
    busy, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    hashing.go.set()
    verdicts = Counter(await asyncio.gather(*asked))
    assert {one.result() for one in busy} == {Verdict.BUSY}
    assert verdicts == {Verdict.WRONG: 5, Verdict.BUSY: 3}
    assert hashing.most == 2


async def test_what_nobody_had_time_for_is_no_guess(
    access: Access, hashing: Hashing
) -> None:
    checking = make(guesses=2, queue=1)
    first = asyncio.create_task(checking.check("wrong", access, "192.0.2.1"))
    await asyncio.sleep(0)
    for _ in range(5):
        assert await checking.check("wrong too", access, HERE) is Verdict.BUSY
    hashing.go.set()
    assert await first is Verdict.WRONG
    assert await checking.check("right", access, HERE) is Verdict.RIGHT


async def test_one_password_asked_for_many_times_at_once_is_hashed_once(
    access: Access, hashing: Hashing
) -> None:
    checking = make(guesses=2, queue=1)
    asked = [
        asyncio.create_task(checking.check("right", access, HERE)) for _ in range(50)
    ]
    await asyncio.sleep(0)
    hashing.go.set()
    assert set(await asyncio.gather(*asked)) == {Verdict.RIGHT}
    assert hashing.seen == {"right": 1}


async def test_end_gives_up_what_waits(access: Access, hashing: Hashing) -> None:
    checking = make()
    asked = asyncio.create_task(checking.check("wrong", access, HERE))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    hashing.go.set()
    await checking.close()
    (outcome,) = await asyncio.gather(asked, return_exceptions=True)
    assert outcome is Verdict.WRONG or isinstance(outcome, asyncio.CancelledError)
