"""Keep Home Assistant's notifications to what needs a person now.

    feed ──any event──▶ notices ─┬─ new, or says something else ─▶ create
                                 └─ solved ──────────────────────▶ dismiss

Each is told once: whoever dismisses it has seen it, until it says something else, and
that not more often than every few minutes. What an earlier agent told and is solved by
now is dismissed at the start. Needs no role: Core is asked as for everything else.
"""

import asyncio
from collections.abc import Callable
import contextlib
import logging
import time

import voluptuous as vol

from hearthgate.errors import HearthgateError
from hearthgate.home.hass.client.core import Core
from hearthgate.home.hass.notices.notices import PREFIX, Notice, notices
from hearthgate.home.web.api.facade import HomeApi

_LOGGER = logging.getLogger(__name__)

_DOMAIN = "persistent_notification"
# A problem that is gone again within this time needed nobody.
_SETTLE_S = 10.0
_AGAIN_S = 30.0  # while Core does not answer
_SAY_MORE_S = 600.0  # between two versions of the same notification

_CONFIG = vol.Schema(
    {vol.Optional("language", default="en"): str}, extra=vol.REMOVE_EXTRA
)
_KNOWN = vol.Schema(
    [vol.Schema({vol.Required("notification_id"): str}, extra=vol.REMOVE_EXTRA)]
)


class Notifier:
    """The notifications of one home. Lives in one loop."""

    def __init__(
        self,
        home: HomeApi,
        core: Core,
        *,
        settle_s: float = _SETTLE_S,
        again_s: float = _AGAIN_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home = home
        self._core = core
        self._settle_s = settle_s
        self._again_s = again_s
        self._clock = clock
        self._told: dict[str, Notice] = {}
        self._told_at: dict[str, float] = {}  # also of what was dismissed since
        self._is_reconciled = False

    async def run(self) -> None:
        """Tell until cancelled."""
        with self._home.subscribe() as events:
            pause_s: float | None = self._settle_s
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await events.get()
                    await asyncio.sleep(self._settle_s)
                while not events.empty():
                    events.get_nowait()
                try:
                    pause_s = await self._tell()
                except HearthgateError as err:
                    _LOGGER.debug("Not notified: %s", err)
                    pause_s = self._again_s

    async def _tell(self) -> float | None:
        """Bring Core up to date; return when there may be more, None: at an event."""
        await self._reconcile()
        wanted = {one.id: one for one in self._notices("en")}
        for gone in self._told.keys() - wanted.keys():
            await self._dismiss(gone)
            del self._told[gone]
        late = {one for one in wanted.values() if self._told.get(one.id) != one}
        if not late:
            return None
        shown = {one.id: one for one in self._notices(await self._language())}
        waits: list[float] = []
        for one in wanted.values():
            if one not in late or one.id not in shown:
                continue
            told_s = self._clock() - self._told_at.get(one.id, 0.0)
            if 0 <= told_s < _SAY_MORE_S:  # before that, the clock was set back
                waits.append(_SAY_MORE_S - told_s)
                continue
            await self._create(shown[one.id])
            self._told[one.id] = one
            self._told_at[one.id] = self._clock()
        return min(waits, default=None)

    def _notices(self, language: str) -> list[Notice]:
        return notices(self._home.snapshot(), now=self._clock(), language=language)

    async def _reconcile(self) -> None:
        """Once: take off what an agent before us told and is solved."""
        if self._is_reconciled:
            return
        known = await self._core.ask(f"{_DOMAIN}/get")
        try:
            found = {one["notification_id"] for one in _KNOWN(known)}
        except vol.Invalid:
            found = set()
        ours = {one for one in found if one.startswith(PREFIX)}
        for gone in ours - {one.id for one in self._notices("en")}:
            await self._dismiss(gone)
        self._is_reconciled = True

    async def _language(self) -> str:
        try:
            language: str = _CONFIG(await self._core.ask("get_config"))["language"]
        except vol.Invalid:
            return "en"
        return language

    async def _create(self, notice: Notice) -> None:
        _LOGGER.info("Home Assistant is told: %s", notice.title)
        await self._serve(
            "create",
            notification_id=notice.id,
            title=notice.title,
            message=notice.message,
        )

    async def _dismiss(self, notice_id: str) -> None:
        await self._serve("dismiss", notification_id=notice_id)

    async def _serve(self, service: str, **data: str) -> None:
        await self._core.ask(
            "call_service", domain=_DOMAIN, service=service, service_data=data
        )
