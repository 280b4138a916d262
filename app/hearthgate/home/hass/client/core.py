"""Give Core commands as an administrator, through the Supervisor.

    ask("http/config") ──▶ connect ─▶ auth ─▶ {"id": 1, "type": …} ─▶ result ─▶ close

The Supervisor's own user in Core is an administrator, so these commands are all there
is to say. One connection per command: they are rare, and none outlives a restart of
Core. Subscribes to nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
import json
from typing import Any

from aiohttp import ClientError, ClientWebSocketResponse, WSMsgType

from hearthgate.home.hass.errors import (
    CommandUnknownError,
    CoreAwayError,
    CoreRefusedError,
    CoreStartsError,
)
from hearthgate.shared.settings.kinds import Secret

DEADLINE_S = 20.0

Connect = Callable[[], Awaitable[ClientWebSocketResponse]]


class Core:
    """Core's WebSocket API."""

    def __init__(
        self, connect: Connect, token: Secret, *, deadline_s: float = DEADLINE_S
    ) -> None:
        """Connect with `connect`, whose result we close."""
        self._connect = connect
        self._token = token
        self._deadline_s = deadline_s

    async def ask(self, command: str, **fields: object) -> Any:  # noqa: ANN401  the caller knows what a command answers, and checks it
        """Return the result of a command.

        Raises CoreAwayError, CommandUnknownError (this Core is too old or too new),
        CoreStartsError, CoreRefusedError.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                socket = await self._connect()
                try:
                    await self._log_in(socket)
                    await socket.send_json({"id": 1, "type": command, **fields})
                    return _result(command, await _answer(socket))
                finally:
                    await socket.close()
        except TimeoutError as err:
            raise CoreAwayError(reason="no answer came in time") from err
        except (ClientError, OSError) as err:
            raise CoreAwayError(reason=str(err)[:200] or "not reachable") from err

    async def _log_in(self, socket: ClientWebSocketResponse) -> None:
        first = await _message(socket)
        if first.get("type") == "auth_required":
            await socket.send_json({"type": "auth", "access_token": str(self._token)})
            first = await _message(socket)
        if first.get("type") != "auth_ok":
            reason = "it does not take the token of this add-on"
            raise CoreRefusedError(command="auth", reason=reason)


async def _answer(socket: ClientWebSocketResponse) -> dict[str, Any]:
    while True:
        message = await _message(socket)
        if message.get("type") == "result" and message.get("id") == 1:
            return message


async def _message(socket: ClientWebSocketResponse) -> dict[str, Any]:
    frame = await socket.receive()
    if frame.type is not WSMsgType.TEXT:
        raise CoreAwayError(reason="it closed the connection")
    try:
        message = json.loads(frame.data)
    except (ValueError, RecursionError) as err:
        raise CoreAwayError(reason="its answer is no JSON") from err
    if not isinstance(message, dict):
        raise CoreAwayError(reason="its answer is no message")
    return message


def _result(command: str, message: dict[str, Any]) -> Any:  # noqa: ANN401  see ask
    if message.get("success") is True:
        return message.get("result")
    error = message.get("error")
    error = error if isinstance(error, dict) else {}
    reason = str(error.get("message") or "no reason given")[:300].rstrip(".")
    if error.get("code") == "unknown_command":
        raise CommandUnknownError(command=command, reason=reason)
    if error.get("code") == "not_running":
        raise CoreStartsError(command=command, reason=reason)
    raise CoreRefusedError(command=command, reason=reason)
