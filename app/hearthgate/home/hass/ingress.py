"""Who opens the page in Home Assistant: only its administrators may.

    browser ─▶ Core ─▶ Supervisor (X-Remote-User-Id) ─▶ Ingress ─▶ Core: who is that?

The Supervisor lets every user of Home Assistant in, so the id is looked up in Core's
own list. Whatever is not clear means no: several ids, an unknown one, a Core that does
not answer. Trusts the header only because the server below takes no other peer.
"""

import asyncio
from collections.abc import Callable
import logging
import time
from typing import Any

from aiohttp import web
import voluptuous as vol

from hearthgate.home.hass.client.core import Core
from hearthgate.home.hass.errors import CoreAwayError
from hearthgate.home.web.login.users import User

_LOGGER = logging.getLogger(__name__)

# Long enough that a page's requests ask Core once; who loses a role waits this long.
_LIST_HOLDS_S = 15.0
_ADMINISTRATORS = "system-admin"
_USER_HEADER = "X-Remote-User-Id"
_HOST_HEADER = "X-Forwarded-Host"

_USERS = vol.Schema(
    [
        vol.Schema(
            {
                vol.Required("id"): str,
                vol.Optional("name", default=None): vol.Any(None, str),
                vol.Optional("is_owner", default=False): bool,
                vol.Required("is_active"): bool,
                vol.Optional("group_ids", default=list): [str],
            },
            extra=vol.REMOVE_EXTRA,
        )
    ]
)


class Ingress:
    """Know the administrators. Lives in one loop."""

    login = "none"

    def __init__(
        self, core: Core, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._core = core
        self._monotonic = monotonic
        self._administrators: dict[str, User] = {}
        self._asked_at: float | None = None
        self._lock = asyncio.Lock()

    async def user(self, request: web.Request) -> User | None:
        """Return the administrator who asks, None for everybody else.

        Raises CoreAwayError, CoreRefusedError: then nobody is let in either.
        """
        ids = request.headers.getall(_USER_HEADER, [])
        if len(ids) != 1 or not ids[0]:
            if ids:
                _LOGGER.warning("Refused a request with %d user ids", len(ids))
            return None
        async with self._lock:
            if not self._is_fresh():
                await self._ask()
        return self._administrators.get(ids[0])

    def _is_fresh(self) -> bool:
        at = self._asked_at
        return at is not None and self._monotonic() - at < _LIST_HOLDS_S

    async def _ask(self) -> None:
        self._administrators = {}
        self._asked_at = None
        listed = await self._core.ask("config/auth/list")
        try:
            users = _USERS(listed)
        except vol.Invalid as err:
            raise CoreAwayError(reason="its list of users can't be read") from err
        self._administrators = {
            one["id"]: User(one["name"] or "administrator")
            for one in users
            if _is_administrator(one)
        }
        self._asked_at = self._monotonic()


def _is_administrator(user: dict[str, Any]) -> bool:
    is_one: bool = user["is_owner"] or _ADMINISTRATORS in user["group_ids"]
    return is_one and bool(user["is_active"])


def host_for_browser(request: web.Request) -> str:
    """Return the host and port that the browser believes to talk to.

    Core names it; a list would mean that somebody else has named one before.
    """
    named = request.headers.getall(_HOST_HEADER, [])
    return named[0].strip() if len(named) == 1 and "," not in named[0] else ""
