"""Wake up when a hostname needs looking after, and never in a circle.

    next_at(hostname) ──▶ sleep until the first of them ──▶ look_after(hostname)

One task per hostname that is due, so that a slow or failing one holds up no other.
Knows nothing of certificates.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
import logging

_LOGGER = logging.getLogger(__name__)

# The wall clock may jump (sleep, NTP), so look at it again at least this often.
_SLEEP_AT_MOST_S = 600.0
_SLEEP_AT_LEAST_S = 0.05
# A hostname that is as due as before it was looked after is a bug somewhere; it must
# cost one try per minute, not a loop.
_PAUSE_S = 60.0


class Renewer:
    """Look after a set of hostnames, each at its own time."""

    def __init__(
        self,
        *,
        next_at: Callable[[str], float],
        look_after: Callable[[str], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """next_at answers in Unix seconds; look_after must move it forward."""
        self._next_at = next_at
        self._look_after = look_after
        self._clock = clock
        self._kept: frozenset[str] = frozenset()
        self._busy: set[str] = set()
        self._wake = asyncio.Event()

    def keep(self, hostnames: Collection[str]) -> None:
        """Look after these and no others. What already runs is finished."""
        self._kept = frozenset(hostnames)
        self._wake.set()

    async def run(self) -> None:
        """Look after the hostnames until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                for hostname in sorted(self._kept - self._busy):
                    if self._next_at(hostname) <= self._clock():
                        self._busy.add(hostname)
                        tasks.create_task(
                            self._one(hostname), name=f"certificate {hostname}"
                        )
                await self._sleep()

    async def _sleep(self) -> None:
        next_at = min(map(self._next_at, self._kept - self._busy), default=None)
        sleep_s = _SLEEP_AT_MOST_S
        if next_at is not None:
            sleep_s = min(max(next_at - self._clock(), _SLEEP_AT_LEAST_S), sleep_s)
        try:
            async with asyncio.timeout(sleep_s):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _one(self, hostname: str) -> None:
        planned = self._next_at(hostname)
        try:
            await self._look_after(hostname)
        except Exception:  # one hostname must not take down the others
            _LOGGER.exception("%s: looking after its certificate failed", hostname)
        if self._next_at(hostname) == planned:
            await asyncio.sleep(_PAUSE_S)
        self._busy.discard(hostname)
        self._wake.set()
