"""The services that a home knows: discovered, added by hand, or exposed and away.

    discovery ──on_change──▶ ┐
    state: by hand           ├──▶ one list of Service, each with an id
    state: exposed, unseen   ┘

An exposed service keeps its pinned address; what discovery says of it is shown beside.
Exposes nothing, stores nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
import logging

from hearthgate.home.discovery.probe import Probe
from hearthgate.home.errors import ServiceUnknownError
from hearthgate.home.model import Exposure, Origin, Service, Target
from hearthgate.home.state.current_state import HomeStore
from hearthgate.home.state.targets import can_be_kept
from hearthgate.shared.process.tasks import Tasks

_LOGGER = logging.getLogger(__name__)

_PROBE_EVERY_S = 120.0  # services by hand; discovery probes its own
# Whether the old address of what is announced elsewhere still answers. Discovery says
# nothing when that changes, and visitors wait meanwhile.
_MOVES_EVERY_S = 10.0

Prober = Callable[[Target], Awaitable[Probe]]


class Services:
    """All services by id. Lives in one loop."""

    def __init__(
        self,
        store: HomeStore,
        probe: Prober,
        *,
        on_change: Callable[[str], None],
        on_gone: Callable[[str], None],
        on_moved: Callable[[Exposure, Target], Awaitable[None]],
    ) -> None:
        self._store = store
        self._probe = probe
        self._on_change = on_change
        self._on_gone = on_gone
        self._on_moved = on_moved
        self._discovered: dict[str, Service] = {}
        self._probes: dict[str, Probe] = {}  # of services by hand, and of unseen ones
        self._moved_from: dict[str, Target] = {}
        self._following: set[str] = set()
        self._stays: dict[str, Target] = {}  # new addresses that were not followed
        self._tasks = Tasks()

    def all(self) -> list[Service]:
        """Return every service once, the ones by hand first."""
        state = self._store.value
        ids = [one.id for one in state.services]
        ids += [one for one in self._discovered if one not in ids]
        ids += [one.service_id for one in state.exposures if one.service_id not in ids]
        return [self.get(one) for one in ids]

    def get(self, service_id: str) -> Service:
        """Return a service as it is shown. Raises ServiceUnknownError."""
        manual = self._store.value.service(service_id)
        exposure = self._store.value.exposure(service_id)
        found = manual or self._discovered.get(service_id)
        if found is None:
            if exposure is None:
                raise ServiceUnknownError
            found = Service(
                service_id, exposure.name, Origin.DISCOVERED, exposure.target
            )
        if exposure is not None and found.target != exposure.target:
            found = replace(found, target=exposure.target)
        probe = self._probes.get(service_id)
        if probe is not None:
            found = replace(
                found,
                reachable=probe.reachable,
                title=probe.title or found.title,
                icon=probe.icon or found.icon,
                problem=probe.problem,
                tells_apart=probe.tells_apart,
            )
        return replace(found, moved_from=self._moved_from.get(service_id))

    def is_present(self, service_id: str) -> bool:
        """Tell whether a service is seen now, or was added by hand."""
        by_hand = self._store.value.service(service_id) is not None
        return by_hand or service_id in self._discovered

    def seen(self, service: Service) -> None:
        """Take what discovery says of a service."""
        self._discovered[service.id] = service
        self._on_change(service.id)
        self._compare(service)

    def _compare(self, service: Service) -> None:
        """Look at the old address of an exposed service that is announced elsewhere."""
        exposure = self._store.value.exposure(service.id)
        if exposure is None or exposure.target == service.target:
            if exposure is None or not exposure.tells_visitor:
                self._probes.pop(service.id, None)
            self._stays.pop(service.id, None)
        elif not service.reachable or not can_be_kept(service.target):
            return
        elif service.id not in self._following:
            self._following.add(service.id)
            self._tasks.start(
                self._follow(exposure, service), f"look for {service.name}"
            )

    def lost(self, service_id: str) -> None:
        """Take that discovery does not see a service any more."""
        self._discovered.pop(service_id, None)
        if self._store.value.exposure(service_id) is None:
            self._on_gone(service_id)
        else:
            self._on_change(service_id)

    async def _follow(self, exposure: Exposure, service: Service) -> None:
        """Move an exposure to the new address, but only if nothing answers at the old.

        mDNS is not authenticated: anybody at home could announce a name, and must not
        get what is sent to the device that has it.
        """
        try:
            old = await self._probe(exposure.target)
            if old.reachable is not False:  # nobody may be moved by a silence either
                if self._stays.get(service.id) == service.target:
                    return
                self._stays[service.id] = service.target
                _LOGGER.warning(
                    "%s: Also announced at %s; staying at %s, which still answers",
                    exposure.hostname,
                    service.target.authority,
                    exposure.target.authority,
                )
                return
            self._moved_from[service.id] = exposure.target
            _LOGGER.warning(
                "%s: Nothing answers at %s any more; following %s to %s",
                exposure.hostname,
                exposure.target.authority,
                service.name,
                service.target.authority,
            )
            await self._on_moved(exposure, service.target)
        finally:
            self._following.discard(service.id)

    def probe_soon(self, service_id: str) -> None:
        """Look at a service that was added or changed by hand."""
        self._probes.pop(service_id, None)
        self._tasks.start(self._look(service_id), f"probe of {service_id}")

    def forget(self, service_id: str) -> None:
        """Drop what was found out about a service."""
        self._probes.pop(service_id, None)
        self._moved_from.pop(service_id, None)

    async def _look(self, service_id: str) -> None:
        try:
            target = self.get(service_id).target
        except ServiceUnknownError:
            return
        probe = await self._probe(target)
        if self._probes.get(service_id) != probe:
            self._probes[service_id] = probe
            try:
                self.get(service_id)
            except ServiceUnknownError:  # removed while we looked
                self._probes.pop(service_id, None)
                return
            self._on_change(service_id)

    async def _watch_moves(self) -> None:
        """Follow what moved while its old address still answered, once it does not."""
        while True:
            await asyncio.sleep(_MOVES_EVERY_S)
            for service in list(self._discovered.values()):
                self._compare(service)

    async def run(self) -> None:
        """Probe what discovery does not, until cancelled."""
        self._tasks.start(self._watch_moves(), "watch for moved services")
        try:
            while True:
                state = self._store.value
                ids = [one.id for one in state.services]
                ids += [
                    one.service_id
                    for one in state.exposures
                    if one.service_id not in ids
                    # Discovery cannot look at what expects a PROXY header.
                    and (one.service_id not in self._discovered or one.tells_visitor)
                ]
                for service_id in ids:
                    await self._look(service_id)
                await asyncio.sleep(_PROBE_EVERY_S)
        finally:
            await self._tasks.close()
