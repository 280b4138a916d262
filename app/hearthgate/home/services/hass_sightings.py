"""Home Assistant itself and the pages of other add-ons, as services.

    Supervisor ──/core/info, /supervisor/info──▶ Target ──probe──▶ Service ──▶ on_change

Its port and scheme are settings of the user and change, so they are asked for again and
again. mDNS sees the same things at the machine's own address: `knows` tells them apart.
Exposes nothing, stores nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
import logging
from typing import Final

from hearthgate.errors import HearthgateError
from hearthgate.home.discovery.probe import Probe
from hearthgate.home.hass.client.payloads import AddOn, CoreInfo
from hearthgate.home.hass.client.supervisor import Supervisor
from hearthgate.home.model import Origin, Problem, Service, Target

_LOGGER = logging.getLogger(__name__)

HOME_ASSISTANT: Final = "home-assistant"  # the id of its service, and its kind
_ADD_ON = "addon"
_LOOK_EVERY_S = 60.0
_LOOK_AGAIN_S = 5.0  # when the Supervisor did not answer, as while it is updated
_ID_MAX = 64

Look = Callable[[Target], Awaitable[Probe]]


class Sightings:
    """What the Supervisor says is there. Lives in one loop."""

    def __init__(
        self,
        supervisor: Supervisor,
        probe: Look,
        *,
        on_change: Callable[[Service], None],
        on_lost: Callable[[str], None],
        on_problem: Callable[[Problem | None], None],
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        self._supervisor = supervisor
        self._probe = probe
        self._on_change = on_change
        self._on_lost = on_lost
        self._on_problem = on_problem
        self._look_every_s = look_every_s
        self._shown: dict[str, Service] = {}
        self._addresses: frozenset[str] = frozenset()
        self._is_away = False
        self.core: CoreInfo | None = None  # as the Supervisor last said
        self.looked = asyncio.Event()  # once it was tried, with or without success

    def knows(self, target: Target) -> bool:
        """Tell whether a target is one of ours by another address of this machine."""
        addresses = {one.target.host for one in self._shown.values()} | self._addresses
        ports = {one.target.port for one in self._shown.values()}
        return target.host in addresses and target.port in ports

    def shows(self, service_id: str) -> bool:
        """Tell whether a service is one of ours."""
        return service_id in self._shown

    async def run(self) -> None:
        """Look now and then, until cancelled."""
        while True:
            try:
                await self.look()
            except HearthgateError as err:
                if not self._is_away:  # once, until it is back
                    _LOGGER.warning("%s %s", err, err.advice)
                self._is_away = True
                self._on_problem(Problem.of(err))
            else:
                self._is_away = False
                self._on_problem(None)
            self.looked.set()
            pause_s = _LOOK_AGAIN_S if self._is_away else self._look_every_s
            await asyncio.sleep(pause_s)

    async def look(self) -> None:
        """Look once. Raises what the Supervisor's client raises."""
        own = await self._supervisor.own()
        core = await self._supervisor.core()
        self.core = core
        self._addresses = await self._supervisor.host_addresses()
        found = {HOME_ASSISTANT: _home_assistant(core)}
        for one in await self._supervisor.add_ons(without=own.slug):
            service = _add_on(one, core.address)
            found[service.id] = service
        for service in found.values():
            await self._show(service)
        for service_id in self._shown.keys() - found.keys():
            del self._shown[service_id]
            self._on_lost(service_id)

    async def _show(self, service: Service) -> None:
        probe = await self._probe(service.target)
        shown = Service(
            service.id,
            service.name,
            service.origin,
            service.target,
            kind=service.kind,
            title=probe.title,
            icon=probe.icon,
            reachable=probe.reachable,
            tells_apart=probe.tells_apart,
            problem=probe.problem,
        )
        if self._shown.get(service.id) != shown:
            self._shown[service.id] = shown
            self._on_change(shown)


def _home_assistant(core: CoreInfo) -> Service:
    return Service(
        HOME_ASSISTANT,
        "Home Assistant",
        Origin.DISCOVERED,
        core.target,
        kind=HOME_ASSISTANT,
    )


def _add_on(one: AddOn, address: str) -> Service:
    """Return the service of an add-on, whose ports are the machine's."""
    slug = one.slug.lower().replace("_", "-").replace(".", "-")
    return Service(
        f"addon-{slug}"[:_ID_MAX],
        one.name,
        Origin.DISCOVERED,
        Target(one.scheme, address, one.port),
        kind=_ADD_ON,
    )
