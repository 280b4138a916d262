"""Home Assistant as the surroundings of an add-on: its parts, put together.

    Supervisor ─┬─▶ Sightings ──▶ services           Core ◀── Ingress (who asks?)
                └─▶ own info  ──▶ where the page listens  ◀── Trust, external URL

Made only if the Supervisor gave a token. Changes nothing in Home Assistant without a
click.
"""

import asyncio
from collections.abc import Callable
from dataclasses import asdict
import logging
import random
import time
from typing import Protocol

import voluptuous as vol

from hearthgate.errors import HearthgateError
from hearthgate.home.hass.client.core import Core
from hearthgate.home.hass.client.payloads import OwnInfo
from hearthgate.home.hass.client.supervisor import Supervisor
from hearthgate.home.hass.errors import CoreAwayError, NoPublicAddressError
from hearthgate.home.hass.ingress import Ingress
from hearthgate.home.hass.trust.check_forwarded_for import PATH
from hearthgate.home.hass.trust.trust import Trust
from hearthgate.home.model import Problem, Service, Target
from hearthgate.home.services.hass_sightings import Look, Sightings
from hearthgate.home.settings import HassOptions
from hearthgate.home.web.views import Json, problem_view
from hearthgate.shared.process.backoff import Backoff
from hearthgate.shared.settings.kinds import Secret

_LOGGER = logging.getLogger(__name__)

# mDNS may begin without the Supervisor's word after this; what is shown twice then is
# shown once again as soon as the Supervisor answers.
_LOOK_DEADLINE_S = 30.0
# A check that Core refuses is a line in its log, so it is not repeated without need.
_CHECK_EVERY_S = 3600.0
_CHECK_AGAIN_S = 15.0  # while Core does not answer, as while it starts
_CONFIG = vol.Schema(
    {vol.Optional("external_url", default=None): vol.Any(None, str)},
    extra=vol.REMOVE_EXTRA,
)


class Public(Protocol):
    """Home Assistant as seen from the Internet."""

    @property
    def url(self) -> str | None:
        """Where it is public; None while it is not."""

    async def visit(self, path: str) -> int | None:
        """Return the status of a page as a visitor gets it; None: not public."""


class Hass:
    """What Home Assistant means for a home. Lives in one loop; close it."""

    def __init__(
        self,
        settings: HassOptions,
        token: Secret,
        probe: Look,
        public: Public,
        *,
        target: Callable[[], Target | None],
        on_service: Callable[[Service], None],
        on_lost: Callable[[str], None],
        on_change: Callable[[Json], None],
        on_problem: Callable[[Problem | None], None],
    ) -> None:
        """Ask nobody yet.

        `target` tells where the edge finds Core. `on_change` gets `view` anew,
        `on_problem` why the Supervisor cannot be asked, None once it can.
        """
        self._public = public
        self._on_change = on_change
        self._supervisor = Supervisor(settings.supervisor, token)
        self.core = Core(self._supervisor.core_socket, token)
        self.ingress = Ingress(self.core)
        self._sightings = Sightings(
            self._supervisor,
            probe,
            on_change=on_service,
            on_lost=on_lost,
            on_problem=on_problem,
        )
        self._trust = Trust(self.core, target, self._visit, on_change=self._changed)
        self._external_url: str | None = None
        self._shown: Json | None = None

    @property
    def supervisor(self) -> Supervisor:
        """The client that all parts share."""
        return self._supervisor

    # --- services ---------------------------------------------------------------------

    def knows(self, target: Target) -> bool:
        """Tell whether the Supervisor has told of a target, at whatever address."""
        return self._sightings.knows(target)

    def shows(self, service_id: str) -> bool:
        """Tell whether a service is one of the Supervisor's."""
        return self._sightings.shows(service_id)

    async def looked(self) -> None:
        """Wait until the Supervisor has been asked what is there, but not for long."""
        try:
            async with asyncio.timeout(_LOOK_DEADLINE_S):
                await self._sightings.looked.wait()
        except TimeoutError:
            _LOGGER.warning("The Supervisor is slow; looking around without it")

    async def own(self) -> OwnInfo:
        """Return where ingress reaches us. Asks until it is told, or cancelled."""
        backoff = Backoff(
            first_s=1.0,
            most_s=30.0,
            holds_after_s=60.0,
            clock=time.monotonic,
            rng=random.SystemRandom(),
        )
        while True:
            try:
                return await self._supervisor.own()
            except HearthgateError as err:
                _LOGGER.warning("The page can't be served yet: %s", err)
                await asyncio.sleep(backoff.delay())

    # --- life -------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow Home Assistant until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._sightings.run(), name="services of the Supervisor")
            tasks.create_task(self._look_after_trust(), name="trust of Core")

    async def close(self) -> None:
        """End what is under way and close the connections."""
        await self._trust.close()
        await self._supervisor.close()

    async def _look_after_trust(self) -> None:
        await self._sightings.looked.wait()
        while True:
            try:
                await self._check()
            except HearthgateError as err:
                _LOGGER.debug("Core was not checked: %s", err)
                await asyncio.sleep(_CHECK_AGAIN_S)
            else:
                await asyncio.sleep(_CHECK_EVERY_S)

    async def _visit(self) -> int | None:
        return await self._public.visit(PATH)

    # --- what the page shows and wants ------------------------------------------------

    def view(self) -> Json:
        """Return what the API tells of Home Assistant."""
        core, status = self._sightings.core, self._trust.status
        return {
            "version": core.version if core else None,
            "trust": {
                "state": status.state.value,
                "proxy": status.proxy,
                "by": status.by.value if status.by else None,
                "changes": [asdict(one) for one in status.changes],
                "yaml": status.yaml,
                "login_attempts": status.login_attempts,
                "problem": problem_view(status.problem),
            },
            "external_url": self._external_url,
            "public_url": self._public.url,
        }

    def exposure_changed(self) -> None:
        """Take that the public side of Home Assistant may be another one."""
        self._changed()

    def _changed(self) -> None:
        view = self.view()
        if view != self._shown:
            self._shown = view
            self._on_change(view)

    async def check(self) -> Json:
        """Look at Core now. Raises CoreAwayError."""
        await self._check()
        return self.view()

    async def _check(self) -> None:
        await self._trust.check()
        self._external_url = await self._read_external_url()
        self._changed()

    async def _read_external_url(self) -> str | None:
        try:
            found = _CONFIG(await self.core.ask("get_config"))
        except vol.Invalid as err:
            raise CoreAwayError(reason="its settings can't be read") from err
        url: str | None = found["external_url"]
        return url

    async def trust(self, *, login_attempts: int | None) -> Json:
        """Let Core accept our edge; see Trust.apply."""
        await self._trust.apply(login_attempts=login_attempts)
        return self.view()

    async def use_public_url(self) -> Json:
        """Tell Core where it is public. Raises NoPublicAddressError."""
        url = self._public.url
        if url is None:
            raise NoPublicAddressError
        await self.core.ask("config/core/update", external_url=url.rstrip("/"))
        self._external_url = url.rstrip("/")
        self._changed()
        return self.view()
