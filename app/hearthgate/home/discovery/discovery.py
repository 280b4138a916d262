"""Find the services of a home, and keep what is known about them up to date.

    Watcher ─Announcement─▶ read_sighting ─▶ Table ─every settle_s─▶ Found
                                                          │ one ServiceWatcher each
    on_change(Service), on_lost(id) ◀────── probes ◀──────┘

Discovery only shows. It exposes nothing, stores nothing but icons, and sends nothing
but mDNS queries and GETs of pages and icons. Announcements are unauthenticated: whether
an exposure follows a service to a new address is decided elsewhere.
"""

import asyncio
from collections.abc import Callable, Sequence
import logging
from pathlib import Path
import random
import time

from hearthgate.home.discovery.addresses import Interface
from hearthgate.home.discovery.icons import IconStore
from hearthgate.home.discovery.limits import DiscoverySettings
from hearthgate.home.discovery.mdns import Key, Watcher
from hearthgate.home.discovery.probe import Probe, Prober
from hearthgate.home.discovery.service_watcher import ServiceWatcher
from hearthgate.home.discovery.sighting import Announcement, Refused, read_sighting
from hearthgate.home.discovery.table import Found, Table
from hearthgate.home.discovery.text import service_id
from hearthgate.home.model import Service, Target
from hearthgate.shared.process.periodic import OncePer
from hearthgate.shared.storage.private_files import StateError

__all__ = ["Discovery"]

_LOGGER = logging.getLogger(__name__)


class Discovery:
    """Report services as they come, change and go. Lives in one loop.

    The callbacks run in the loop and must be quick; `on_lost` comes only for an id that
    `on_change` told of.
    """

    def __init__(
        self,
        settings: DiscoverySettings,
        *,
        icons: Path,
        on_change: Callable[[Service], None],
        on_lost: Callable[[str], None],
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        """Take the folder for icons and where news go."""
        self._settings = settings
        self._limits = limits = settings.limits
        self._on_change = on_change
        self._on_lost = on_lost
        self._rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._icons = IconStore(icons, limits, clock=clock)
        self._prober = Prober(limits, self._icons)
        self._slots = asyncio.Semaphore(limits.probes)
        self._slots_asked = asyncio.Semaphore(limits.probes_asked)
        self._table = Table(limits)
        self._leaving: dict[str, float] = {}  # sighting id: when it goes, loop time
        self._watchers: dict[str, tuple[ServiceWatcher, asyncio.Task[None]]] = {}
        self._news = asyncio.Event()
        self._crowded = asyncio.Event()  # many new icons
        self._warn = OncePer(limits.warn_every_s, clock)
        self._watcher = Watcher(
            settings,
            seen=self._seen,
            gone=self._gone,
            renewed=self._renewed,
            clock=clock,
        )

    async def run(self) -> None:
        """Discover until cancelled; ends every task and closes every socket."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watcher.run(), name="mdns watcher")
                tasks.create_task(self._clean_icons(), name="icon cleaning")
                await self._keep_up(tasks)
        finally:
            self._watchers.clear()

    async def probe(self, target: Target) -> Probe:
        """Look at a service that a user added; works whether or not `run` runs."""
        async with self._slots_asked:
            return await self._prober.probe(target, either_scheme=False)

    def _seen(
        self, key: Key, announcement: Announcement, present: Sequence[Interface]
    ) -> None:
        """Believe an announcement, or say once per hour why not."""
        sighting = read_sighting(
            announcement,
            present=present,
            loopback=self._settings.loopback,
            limits=self._limits,
        )
        if isinstance(sighting, Refused):
            _LOGGER.debug("not shown: %r: %s", key[1][:100], sighting.reason)
            self._gone(key)
            return
        if not self._table.put(sighting):
            self._watcher.try_again()
            if self._warn.due("full"):
                _LOGGER.warning(
                    "more services are announced than we keep (%s, and %s per address);"
                    " the rest is not shown",
                    self._limits.instances,
                    self._limits.instances_per_address,
                )
            return
        self._leaving.pop(sighting.id, None)
        self._news.set()

    def _gone(self, key: Key) -> None:
        """Let a sighting linger: what changes its port says goodbye first."""
        sighting_id = service_id(key[1], key[0])
        if sighting_id in self._table:
            self._leave(sighting_id, self._limits.linger_s)

    def _renewed(self) -> None:
        """Expect everything to be seen again: the network may be another one."""
        for sighting_id in self._table:
            self._leave(sighting_id, self._limits.confirm_s)

    def _leave(self, sighting_id: str, after_s: float) -> None:
        at = asyncio.get_running_loop().time() + after_s
        self._leaving[sighting_id] = min(at, self._leaving.get(sighting_id, at))
        self._news.set()

    async def _keep_up(self, tasks: asyncio.TaskGroup) -> None:
        """Turn sightings into services, at most once per settle time."""
        while True:
            await self._until_news()
            await asyncio.sleep(self._limits.settle_s)
            self._news.clear()
            self._drop_the_left()
            self._refresh(tasks)

    async def _until_news(self) -> None:
        """Return when something came, or when something lingered long enough."""
        at = min(self._leaving.values(), default=None)
        try:
            async with asyncio.timeout_at(at):
                await self._news.wait()
        except TimeoutError:
            return

    def _drop_the_left(self) -> None:
        now = asyncio.get_running_loop().time()
        for sighting_id in [key for key, at in self._leaving.items() if at <= now]:
            del self._leaving[sighting_id]
            self._table.drop(sighting_id)

    def _refresh(self, tasks: asyncio.TaskGroup) -> None:
        """Start, update and end watchers so that they match the table."""
        found = self._table.found()
        for service_id_ in [each for each in self._watchers if each not in found]:
            self._end(service_id_)
        for service_id_, each in found.items():
            known = self._watchers.get(service_id_)
            if known is not None:
                known[0].update(each)
            else:
                self._begin(tasks, each)

    def _begin(self, tasks: asyncio.TaskGroup, found: Found) -> None:
        watcher = ServiceWatcher(
            found,
            prober=self._prober,
            slots=self._slots,
            on_change=self._changed,
            limits=self._limits,
            rng=self._rng,
        )
        task = tasks.create_task(watcher.run(), name=f"watcher {found.id}")
        self._watchers[found.id] = (watcher, task)

    def _end(self, service_id_: str) -> None:
        watcher, task = self._watchers.pop(service_id_)
        task.cancel()
        if watcher.shown is not None:
            _LOGGER.info("%s is gone", watcher.shown.name)
            self._on_lost(service_id_)

    def _changed(self, service: Service) -> None:
        _LOGGER.debug("%s at %s: %s", service.name, service.target.url, service.problem)
        if self._icons.crowded:
            self._crowded.set()
        self._on_change(service)

    async def _clean_icons(self) -> None:
        """Remove icons that nobody needs, hourly or when many are new."""
        while True:
            shown = {
                watcher.shown.icon
                for watcher, _ in self._watchers.values()
                if watcher.shown and watcher.shown.icon
            }
            try:
                await asyncio.to_thread(self._icons.clean, shown)
            except (OSError, StateError) as err:
                _LOGGER.warning("can't clean the icons: %s", err)
            await self._until_crowded()

    async def _until_crowded(self) -> None:
        self._crowded.clear()
        try:
            async with asyncio.timeout(self._limits.icons_clean_every_s):
                await self._crowded.wait()
        except TimeoutError:
            return
