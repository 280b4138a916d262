"""Ask the Supervisor of Home Assistant, as an add-on may.

    Supervisor.own() ──GET /addons/self/info, Bearer token──▶ {"result", "data"}
                     ◀── OwnInfo, or an error in the user's words

Every answer is bounded in size and time and checked (`payloads`). Asks for nothing but
what the default role and `services: mqtt:want` allow. Changes nothing.
"""

import asyncio
from collections.abc import Callable, Mapping
import json
import logging
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import ClientError, ClientSession, ClientTimeout, ClientWebSocketResponse
import voluptuous as vol

from hearthgate.home.hass.client.payloads import (
    ANSWER,
    AddOn,
    Broker,
    CoreInfo,
    OwnInfo,
    read_add_on,
    read_addresses,
    read_broker,
    read_core,
    read_own,
    read_started,
)
from hearthgate.home.hass.errors import SupervisorAwayError, SupervisorRefusedError
from hearthgate.shared.settings.kinds import Secret

_LOGGER = logging.getLogger(__name__)
V = TypeVar("V")

# It answers from memory, but the machine may be busy with a backup or an update.
DEADLINE_S = 15.0
# /supervisor/info of a house with a hundred add-ons is about 50 KB.
_ANSWER_MAX_BYTES = 4 * 1024 * 1024
# Core lists every entity in one message, but we never ask for that.
_MESSAGE_MAX_BYTES = 1024 * 1024


class Supervisor:
    """A client of the Supervisor's API. Close it, or use it as a context."""

    def __init__(self, url: str, token: Secret) -> None:
        """Ask at `url`, with the token that the Supervisor gave at this start."""
        self._url = url.rstrip("/")
        self._token = token
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def token(self) -> Secret:
        """What Core's WebSocket behind the Supervisor asks for, too."""
        return self._token

    async def own(self) -> OwnInfo:
        """Return where ingress reaches us."""
        return await self._read("/addons/self/info", read_own)

    async def core(self) -> CoreInfo:
        """Return where Home Assistant answers: its port and scheme are settings."""
        return await self._read("/core/info", read_core)

    async def host_addresses(self) -> frozenset[str]:
        """Return the addresses of this machine on the home network."""
        return await self._read("/network/info", read_addresses)

    async def add_ons(self, *, without: str) -> list[AddOn]:
        """Return the running add-ons that have a page, but for the one of a slug."""
        found: list[AddOn] = []
        for slug in await self._read("/supervisor/info", read_started):
            if slug == without:
                continue
            try:
                one = await self._read(f"/addons/{slug}/info", read_add_on)
            except SupervisorRefusedError as err:
                _LOGGER.debug("%s: left out: %s", slug, err)  # removed meanwhile
                continue
            if one is not None:
                found.append(one)
        return found

    async def broker(self) -> Broker | None:
        """Return the MQTT broker that another add-on provides; None: there is none."""
        try:
            return await self._read("/services/mqtt", read_broker)
        except SupervisorRefusedError as err:
            _LOGGER.debug("No broker: %s", err)
            return None

    async def core_socket(self) -> ClientWebSocketResponse:
        """Open Core's WebSocket, not authenticated yet. The caller closes it.

        Raises aiohttp.ClientError, OSError or TimeoutError.
        """
        return await self._client().ws_connect(
            f"{self._url}/core/websocket", max_msg_size=_MESSAGE_MAX_BYTES
        )

    async def _read(self, path: str, read: Callable[[object], V]) -> V:
        data = await self._ask(path)
        try:
            return read(data)
        except vol.Invalid as err:
            reason = f"its answer to {path} can't be understood ({err})"
            raise SupervisorAwayError(reason=reason) from err

    async def _ask(self, path: str) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            async with (
                asyncio.timeout(DEADLINE_S),
                self._client().get(f"{self._url}{path}", headers=headers) as response,
            ):
                raw = bytearray()
                async for block in response.content.iter_any():
                    raw += block
                    if len(raw) > _ANSWER_MAX_BYTES:
                        raise SupervisorAwayError(reason=f"too long: {path}")
                status = response.status
        except TimeoutError as err:
            raise SupervisorAwayError(reason="no answer came in time") from err
        except (ClientError, OSError) as err:
            raise SupervisorAwayError(reason=str(err)[:200]) from err
        try:
            answer = ANSWER(json.loads(raw))
        except (ValueError, RecursionError, vol.Invalid) as err:
            reason = f"its answer to {path} ({status}) is none of its own"
            raise SupervisorAwayError(reason=reason) from err
        if answer["result"] != "ok":
            reason = (answer["message"] or f"status {status}")[:200].rstrip(".")
            raise SupervisorRefusedError(path=path, reason=reason)
        data: Mapping[str, Any] = answer["data"]
        return data

    def _client(self) -> ClientSession:
        if self._session is None:
            timeout = ClientTimeout(total=None, sock_connect=DEADLINE_S)
            self._session = ClientSession(timeout=timeout)
        return self._session
