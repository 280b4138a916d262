"""Keep an eye on one service: probe it now and then, and tell when it changed.

    Found ─▶ show ─▶ probe ─▶ show if different ─▶ wait (or until announced anew) ─▶ …

A service that only may have a page is shown after its first answer. A failed probe
keeps the title and the icon: they are still the best picture of it. Holds no schedule
of others; the number of probes at a time is the owner's semaphore.
"""

import asyncio
from collections.abc import Callable
import logging
import random

from hearthgate.home.discovery.catalog import Kind, guess_kind
from hearthgate.home.discovery.limits import DiscoveryLimits
from hearthgate.home.discovery.probe import Probe, Prober
from hearthgate.home.discovery.table import Found
from hearthgate.home.model import Origin, Service, Target, replace

__all__ = ["ServiceWatcher"]

_LOGGER = logging.getLogger(__name__)


class ServiceWatcher:
    """One service. `run` belongs to a task of the owner, who cancels it."""

    def __init__(
        self,
        found: Found,
        *,
        prober: Prober,
        slots: asyncio.Semaphore,
        on_change: Callable[[Service], None],
        limits: DiscoveryLimits,
        rng: random.Random,
    ) -> None:
        """Take what is known; nothing is shown before `run`."""
        self.shown: Service | None = None
        self._found = found
        self._prober = prober
        self._slots = slots
        self._on_change = on_change
        self._limits = limits
        self._rng = rng
        self._last: Probe | None = None  # of this target
        self._title: str | None = None
        self._icon: str | None = None
        self._anew = asyncio.Event()

    def update(self, found: Found) -> None:
        """Take what an announcement changed, show it, and probe soon."""
        if found == self._found:
            return
        if found.target != self._found.target:
            self._last = None
        self._found = found
        self._anew.set()
        self._show()

    async def run(self) -> None:
        """Show and probe until cancelled."""
        self._show()
        failures = 0
        while True:
            self._anew.clear()
            found = self._found
            probe = await self._probe(found)
            if found.target != self._found.target:
                continue  # it moved meanwhile
            self._note(probe)
            failures = 0 if probe.reachable else failures + 1
            await self._rest(failures)

    async def _probe(self, found: Found) -> Probe:
        async with self._slots:
            try:
                return await self._prober.probe(
                    found.target, found.paths, either_scheme=True
                )
            except Exception:
                # A bug that one odd page brings to light must not end discovery.
                _LOGGER.exception("the probe of %s failed", found.target.url)
                return Probe(reachable=False, problem="It could not be looked at.")

    def _note(self, probe: Probe) -> None:
        self._last = probe
        self._title = probe.title or self._title
        self._icon = probe.icon or self._icon
        self._show()

    async def _rest(self, failures: int) -> None:
        """Wait for the next turn: jittered, longer after failures, none if it moved."""
        every = self._limits.probe_every_s
        if failures:
            wait = self._limits.probe_failed_every_s * 2 ** min(failures - 1, 8)
            every = min(every, wait)
        target, loop = self._found.target, asyncio.get_running_loop()
        soonest = loop.time() + self._limits.probe_soonest_s
        try:
            async with asyncio.timeout(every * self._rng.uniform(0.8, 1.2)):
                await self._anew.wait()
        except TimeoutError:
            return
        if self._found.target == target:
            await asyncio.sleep(soonest - loop.time())

    def _show(self) -> None:
        """Tell the owner, if there is something new to see."""
        service = self._service()
        answered = self._last is not None and self._last.reachable
        if not (self._found.certain or answered or self.shown):
            return
        if service != self.shown:
            self.shown = service
            self._on_change(service)

    def _service(self) -> Service:
        found, last = self._found, self._last
        service = Service(
            id=found.id,
            name=found.name or self._title or found.target.authority,
            origin=Origin.DISCOVERED,
            target=self._target(),
            kind=_kind(found, self._title),
            title=self._title,
            icon=self._icon,
        )
        if last is None:
            return service
        return replace(
            service,
            reachable=last.reachable,
            problem=last.problem,
            tells_apart=last.tells_apart,
        )

    def _target(self) -> Target:
        return (self._last and self._last.target) or self._found.target


def _kind(found: Found, title: str | None) -> Kind:
    return guess_kind(found.name, title) if found.kind is Kind.WEB else found.kind
