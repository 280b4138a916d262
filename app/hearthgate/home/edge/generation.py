"""One generation: a plan, its folder, its HAProxy and its desk, and how it retires.

    start ─▶ ready ─▶ serves ─▶ drain ─▶ gone          cut: at any time while it lives

Knows nothing of other generations or of the door.
"""

import asyncio
import logging
from pathlib import Path
import socket
from typing import Final

from hearthgate.home.access import PasswordChecks
from hearthgate.home.edge.console import Console
from hearthgate.home.edge.errors import EdgeError, EdgeFailedError
from hearthgate.home.edge.folder import Plan, remove
from hearthgate.home.edge.passwords import Desk
from hearthgate.home.edge.process import Haproxy
from hearthgate.home.edge.settings import EdgeSettings
from hearthgate.home.edge.traffic import Meter

_LOGGER = logging.getLogger(__name__)

_LOOK_FIRST_S: Final = 0.05
_LOOK_MAX_S: Final = 1.0
# A session can begin between the list of sessions and the end of the last one.
_SHUT_ROUNDS: Final = 5


class Generation:
    """A running plan. `end` must be called, and may be called twice."""

    def __init__(
        self,
        folder: Path,
        number: int,
        plan: Plan,
        settings: EdgeSettings,
        *,
        meter: Meter,
        checks: PasswordChecks,
    ) -> None:
        self.number = number
        self.plan = plan
        self._folder = folder
        self._meter = meter
        self._process = Haproxy(folder, number, settings)
        self._desk = Desk(plan.routes, checks)
        self._console: Console | None = None  # while it drains
        self._console_ready = asyncio.Event()
        self._drained = False

    @property
    def pair(self) -> socket.socket:
        """Return our end of its socket pair. It stays ours."""
        return self._process.pair

    @property
    def pid(self) -> int | None:
        """Return the process number while it runs."""
        return self._process.pid

    async def start(self) -> None:
        """Have the configuration checked, then start. Raises EdgeError."""
        await self._process.check()
        await self._desk.open(self._folder)
        await self._process.start()

    async def ready(self) -> None:
        """Return when it takes visitors. Raises EdgeFailedError."""
        await self._process.ready()

    async def wait(self) -> None:
        """Return when the process has ended."""
        status = await self._process.wait()
        _LOGGER.debug("edge: generation %s ended with %s", self.number, status)

    async def drain(self) -> None:
        """Take no more visitors, and end when the last one has left.

        The console is opened first: a stopping HAProxy would not accept it any more,
        and without it nobody could be cut. Its last visitor gone, the console is
        closed, because HAProxy waits for that one too.
        """
        try:
            self._console = await Console.open(self._folder)
            self._console_ready.set()
            await self._process.door_is_empty()
            self._process.soft_stop()
            await self._empty(self._console)
            if self.pid is not None:
                self._meter.take(self.number, await self._console.stat())
            self._drained = True
        except EdgeError as err:
            _LOGGER.debug("edge: generation %s drains alone: %s", self.number, err)
            self._process.soft_stop()
        finally:
            self._console_ready.set()
            await self._disconnect()

    async def measure(self) -> None:
        """Count what has passed until now. Raises EdgeFailedError."""
        if self._console is not None:
            self._meter.take(self.number, await self._console.stat())
        elif not self._drained and self.pid is not None:
            console = await Console.open(self._folder)
            try:
                self._meter.take(self.number, await console.stat())
            finally:
                await console.close()

    async def cut(self, hostname: str) -> None:
        """End a hostname's live connections; it may be visited again."""
        console = await Console.open(self._folder)
        try:
            await _shut(console, hostname)
        finally:
            await console.close()

    async def cut_off(self, hostname: str) -> None:
        """End a hostname's live connections while it drains, and let none begin again.

        Better all visitors of an old generation than one that must be gone: if HAProxy
        does not obey, it ends.
        """
        await self._console_ready.wait()
        if self._drained or self.pid is None:
            return
        try:
            if self._console is None:
                raise EdgeFailedError(reason="it has no console")
            await self._console.forbid(hostname)
            await _shut(self._console, hostname)
        except EdgeError as err:
            if self.pid is None or self._drained:
                return  # it ended meanwhile, and with it every connection
            _LOGGER.warning(
                "edge: %s stays on generation %s, so that ends: %s",
                hostname,
                self.number,
                err,
            )
            await self._process.end()

    async def end(self) -> None:
        """End the process, close what is open and remove the folder with its keys."""
        await self._disconnect()
        await self._process.end()
        self._process.close()
        await self._desk.close()
        await asyncio.to_thread(remove, self._folder)

    async def _empty(self, console: Console) -> None:
        """Return when there is no visitor left; looks often at first."""
        pause_s = _LOOK_FIRST_S
        while self.pid is not None and await console.visitors():
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LOOK_MAX_S)

    async def _disconnect(self) -> None:
        console, self._console = self._console, None
        if console is not None:
            await console.close()


async def _shut(console: Console, hostname: str) -> None:
    for _ in range(_SHUT_ROUNDS):
        if not await console.shut(hostname):
            return
