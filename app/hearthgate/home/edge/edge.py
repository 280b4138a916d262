"""Keep exactly one HAProxy for visitors, and let older ones finish.

    apply ─▶ inbox ─┐                     ┌─▶ current   ◀── door ◀── hand_over
    an exit ─▶ inbox ─┴─▶ run, one by one ┴─▶ draining, draining, …   (bounded)

A change is a new generation: written, checked, started, and only when it answers does
the door turn to it. Then hostnames that are gone or have another policy are cut on the
older ones, which stop softly and keep everybody else until they are done. A generation
that dies by itself is replaced from the last good plan.

`run` owns all processes and tasks; `apply` only asks. Does not know why a route exists.
"""

import asyncio
from collections.abc import Callable, Sequence
import contextlib
from dataclasses import dataclass
import itertools
import logging
from pathlib import Path
import socket
import time

from hearthgate.home.access import CheckLimits, GuessLimits, PasswordChecks
from hearthgate.home.edge import folder as folders
from hearthgate.home.edge.errors import EdgeError, EdgeFailedError
from hearthgate.home.edge.generation import Generation
from hearthgate.home.edge.restart import Restart
from hearthgate.home.edge.routes import Route
from hearthgate.home.edge.settings import EdgeSettings
from hearthgate.home.edge.socket_passer import SocketPasser
from hearthgate.home.edge.traffic import Meter, Traffic

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Apply:
    """Somebody wants these routes and waits for the outcome."""

    routes: tuple[Route, ...]
    done: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class _Ended:
    """A generation's process is gone."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class _Again:
    """It is time to try starting HAProxy again."""


class Edge:
    """The edge of one home. Lives in one event loop; call `run` once."""

    def __init__(
        self,
        folder: Path,
        settings: EdgeSettings,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Keep generations below the folder, which is ours alone."""
        self._folder = folder
        self._settings = settings
        self._door = SocketPasser(settings, clock=clock)
        self._restart = Restart(settings, clock=clock)
        self._meter = Meter()
        self._checks = _checks(settings)
        self._inbox: asyncio.Queue[_Apply | _Ended | _Again] = asyncio.Queue()
        self._numbers = itertools.count(1)
        self._wanted = folders.Plan((), ())
        self._current: Generation | None = None
        self._draining: list[Generation] = []
        self._again: asyncio.TimerHandle | None = None

    @property
    def pids(self) -> tuple[int, ...]:
        """Return the process numbers of all generations, the current one first."""
        all_of_them = [self._current, *self._draining]
        return tuple(one.pid for one in all_of_them if one is not None and one.pid)

    async def run(self) -> None:
        """Supervise until cancelled. Ends every HAProxy and closes what waits."""
        await asyncio.to_thread(folders.sweep, self._folder)
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    await self._handle(await self._inbox.get(), tasks)
        finally:
            self._stop()
            await self._checks.close()

    async def apply(self, routes: Sequence[Route]) -> None:
        """Serve these routes and no others; return when visitors reach them.

        Concurrent calls are served in order. The same routes with the same
        certificates change nothing. Raises EdgeRefusedError, EdgeFailedError; what ran
        before still runs then.
        """
        done = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(_Apply(tuple(routes), done))
        await done

    def hand_over(self, channel: socket.socket) -> None:
        """Give a visitor to HAProxy: [PROXY v2 header][ClientHello…] lie in the socket.

        Takes the socket in every case and closes our copy. Never blocks or raises.
        """
        self._door.offer(channel)

    async def cut(self, hostname: str) -> None:
        """End the live connections of a hostname on every generation.

        Where the hostname is still served, visitors may come again. Raises
        EdgeFailedError if HAProxy does not answer.
        """
        for generation in list(self._draining):
            await generation.cut_off(hostname)
        if self._current is not None:
            await self._current.cut(hostname)

    async def traffic(self) -> Traffic:
        """Return how many visitors there are, and the bytes of each service.

        By hostname. What does not answer counts as it did.
        """
        alive = [*self._draining, *([self._current] if self._current else [])]
        for generation in alive:
            try:
                await generation.measure()
            except EdgeError as err:
                _LOGGER.debug("edge: %s is not measured: %s", generation.number, err)
        numbers = {one.number for one in alive}
        return self._meter.traffic(numbers)

    async def _handle(
        self, message: _Apply | _Ended | _Again, tasks: asyncio.TaskGroup
    ) -> None:
        match message:
            case _Apply(routes, done):
                await self._answer(routes, done, tasks)
            case _Ended(generation):
                self._bury(generation)
            case _Again():
                await self._revive(tasks)

    async def _answer(
        self,
        routes: tuple[Route, ...],
        done: asyncio.Future[None],
        tasks: asyncio.TaskGroup,
    ) -> None:
        if done.done():
            return  # its caller was cancelled while it waited
        try:
            wanted = await asyncio.to_thread(folders.plan, routes)
            if wanted != self._wanted or (wanted.routes and self._current is None):
                await self._change(wanted, tasks)
        except EdgeError as err:
            if not done.done():
                done.set_exception(err)
        except BaseException:
            done.cancel()
            raise
        else:
            if not done.done():
                done.set_result(None)

    async def _change(self, wanted: folders.Plan, tasks: asyncio.TaskGroup) -> None:
        """Make the plan live. On failure everything is as before."""
        fresh = await self._start(wanted, tasks) if wanted.routes else None
        self._wanted = wanted
        await self._turn(fresh, tasks)

    async def _start(
        self, wanted: folders.Plan, tasks: asyncio.TaskGroup
    ) -> Generation:
        number = next(self._numbers)
        path = self._folder / str(number)
        fresh = Generation(
            path,
            number,
            wanted,
            self._settings,
            meter=self._meter,
            checks=self._checks,
        )
        try:
            await asyncio.to_thread(folders.write, path, wanted, self._settings, number)
            await fresh.start()
            tasks.create_task(self._watch(fresh), name=f"edge generation {number}")
            await fresh.ready()
        except BaseException:
            await fresh.end()
            raise
        return fresh

    async def _watch(self, generation: Generation) -> None:
        """See one process to its end, whatever ends it."""
        try:
            await generation.wait()
        finally:
            self._door.leave(generation.pair)
            await generation.end()
        self._inbox.put_nowait(_Ended(generation))

    async def _turn(self, fresh: Generation | None, tasks: asyncio.TaskGroup) -> None:
        """Send visitors to the new generation and retire the one before."""
        old, self._current = self._current, fresh
        if fresh is None:
            self._door.close()
        else:
            self._door.open()
            self._door.turn(fresh.pair)
            self._restart.started()
            _LOGGER.info(
                "edge: generation %s serves %s hostnames",
                fresh.number,
                len(fresh.plan.routes),
            )
        if old is not None:
            self._draining.append(old)
            tasks.create_task(old.drain(), name=f"edge drains {old.number}")
        await self._cut_changed()
        await self._shorten()
        alive = [*self._draining, *([fresh] if fresh else [])]
        backends = {route.hostname for one in alive for route in one.plan.routes}
        self._meter.keep({one.number for one in alive}, backends)

    async def _cut_changed(self) -> None:
        """End what began under a policy that is no longer wanted."""
        policies = {route.hostname: route.policy() for route in self._wanted.routes}
        for generation in list(self._draining):
            for route in generation.plan.routes:
                if policies.get(route.hostname) != route.policy():
                    await generation.cut_off(route.hostname)

    async def _shorten(self) -> None:
        """End the oldest generations if too many drain."""
        while len(self._draining) > self._settings.max_draining:
            oldest = self._draining.pop(0)
            _LOGGER.info("edge: generation %s ends, newer ones drain", oldest.number)
            await oldest.end()

    def _bury(self, generation: Generation) -> None:
        if generation in self._draining:
            self._draining.remove(generation)
        if generation is self._current:
            self._current = None
            _LOGGER.error("edge: HAProxy ended by itself, starting it again")
            self._start_later()

    async def _revive(self, tasks: asyncio.TaskGroup) -> None:
        """Start HAProxy again with the last good plan."""
        if self._current is not None or not self._wanted.routes:
            return
        try:
            await self._turn(await self._start(self._wanted, tasks), tasks)
        except EdgeError as err:
            _LOGGER.error("edge: HAProxy cannot be started again: %s", err)  # noqa: TRY400
            self._start_later()

    def _start_later(self) -> None:
        loop = asyncio.get_running_loop()
        if self._again is not None:
            self._again.cancel()
        self._again = loop.call_later(
            self._restart.delay(), self._inbox.put_nowait, _Again()
        )

    def _stop(self) -> None:
        """Leave nothing waiting when `run` ends."""
        if self._again is not None:
            self._again.cancel()
        self._door.close()
        with contextlib.suppress(asyncio.QueueEmpty):
            while True:
                message = self._inbox.get_nowait()
                if isinstance(message, _Apply) and not message.done.done():
                    message.done.set_exception(EdgeFailedError(reason="it stops"))


def _checks(settings: EdgeSettings) -> PasswordChecks:
    """Return what outlives every HAProxy, so that none forgets a guess by its end."""
    guesses = GuessLimits(
        settings.wrong_passwords_s,
        settings.wrong_passwords_max,
        settings.wrong_passwords_max * settings.wrong_passwords_hostnames,
    )
    limits = CheckLimits(settings.password_checks_max, settings.password_queue_max)
    return PasswordChecks(guesses, limits, clock=time.monotonic)
