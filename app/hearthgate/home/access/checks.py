"""Check the passwords that visitors send, few at a time and beside the loop.

    check ─▶ Guesses ─┬─▶ LIMITED
                      └─▶ queue, bounded ─▶ crypt(3) in a thread ─▶ RIGHT or WRONG
                              └─▶ BUSY: full

A hash takes 2 to 20 ms on purpose, so how many are computed at once decides what a
flood of guesses takes from everybody else. One password that is asked for many times at
once is hashed once. Remembers no password, right or wrong, beyond its check.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from hearthgate.home.access.guesses import Guesses, GuessLimits
from hearthgate.home.access.hashing import matches
from hearthgate.home.model import Access
from hearthgate.shared.process.tasks import Tasks


class Verdict(StrEnum):
    """What came of an attempt. The words are those that the edge reads."""

    RIGHT = "right"
    WRONG = "wrong"
    LIMITED = "limited"  # too many were wrong from there; this one was not looked at
    BUSY = "busy"  # too many wait to be looked at


@dataclass(frozen=True, slots=True)
class CheckLimits:
    """How much of the machine passwords may take."""

    at_once_max: int
    queue_max: int  # those at work included


class PasswordChecks:
    """The one place where visitors' passwords are compared. Lives in one loop."""

    def __init__(
        self,
        guesses: GuessLimits,
        limits: CheckLimits,
        *,
        clock: Callable[[], float],
    ) -> None:
        """Use a monotonic clock."""
        self._guesses = Guesses(guesses, clock=clock)
        self._limits = limits
        self._turns = asyncio.Semaphore(limits.at_once_max)
        self._running: dict[tuple[str, str], asyncio.Task[bool]] = {}
        self._tasks = Tasks()

    async def check(self, password: str, access: Access, address: str) -> Verdict:
        """Tell whether the password is right, unless its sender has guessed too often.

        The limit comes first: it holds for the right password as well, or its end would
        tell which one that is.
        """
        attempt = self._guesses.begin(address, access.password_hash, password)
        if attempt is None:
            return Verdict.LIMITED
        right: bool | None = None
        try:
            right = await self._compare(password, access.password_hash)
        finally:
            attempt.end(wrong=right is False)
        if right is None:
            return Verdict.BUSY
        return Verdict.RIGHT if right else Verdict.WRONG

    async def close(self) -> None:
        """Give up what is under way."""
        await self._tasks.close()

    async def _compare(self, password: str, password_hash: str) -> bool | None:
        """Return what crypt(3) says; None if too many wait for that."""
        key = password_hash, password
        task = self._running.get(key)
        if task is None:
            if len(self._running) >= self._limits.queue_max:
                return None
            task = self._tasks.start(self._hash(key), "password check")
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key))
        # Somebody else may wait for the same one.
        return await asyncio.shield(task)

    async def _hash(self, key: tuple[str, str]) -> bool:
        password_hash, password = key
        async with self._turns:
            return await asyncio.to_thread(matches, password, password_hash)
