"""Home Assistant as the surroundings of an add-on: its parts, put together.

    Supervisor ─┬─▶ Sightings ──▶ services           Core ◀── Ingress (who asks?)
                └─▶ own info  ──▶ where the page listens

Made only if the Supervisor gave a token. Decides nothing.
"""

import asyncio
from collections.abc import Callable
import logging
import random
import time

from hearthgate.backoff import Backoff
from hearthgate.errors import HearthgateError
from hearthgate.home.hass.core import Core
from hearthgate.home.hass.ingress import Ingress
from hearthgate.home.hass.payloads import OwnInfo
from hearthgate.home.hass.sightings import Look, Sightings
from hearthgate.home.hass.supervisor import Supervisor
from hearthgate.home.model import Service, Target
from hearthgate.home.settings import HassOptions
from hearthgate.values import Secret

_LOGGER = logging.getLogger(__name__)

# mDNS may begin without the Supervisor's word after this; what is shown twice then is
# shown once again as soon as the Supervisor answers.
_LOOK_DEADLINE_S = 30.0


class Hass:
    """What Home Assistant means for a home. Lives in one loop; close it."""

    def __init__(
        self,
        settings: HassOptions,
        token: Secret,
        probe: Look,
        *,
        on_change: Callable[[Service], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """Ask nobody yet."""
        self._supervisor = Supervisor(settings.supervisor, token)
        self._core = Core(self._supervisor.core_socket, token)
        self.ingress = Ingress(self._core)
        self._sightings = Sightings(
            self._supervisor, probe, on_change=on_change, on_lost=on_lost
        )

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

    async def run(self) -> None:
        """Follow Home Assistant until cancelled."""
        await self._sightings.run()

    async def close(self) -> None:
        """Close the connections."""
        await self._supervisor.close()
