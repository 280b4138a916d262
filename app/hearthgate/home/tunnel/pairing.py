"""Join a relay with a pairing code.

code ──▶ room on disk? ──▶ pinned TLS ──POST /v1/pair {secret, request}──▶ certificate

The relay counts the code as used once it has signed, so all that can fail at home is
tried before.
"""

import asyncio
import base64
from dataclasses import dataclass
import json
from pathlib import Path
import time
from typing import Any

from aiohttp import ClientPayloadError, ServerDisconnectedError
import voluptuous as vol

from hearthgate.errors import quoted
from hearthgate.home.tunnel.dialing import (
    DIAL_DEADLINE_S,
    control_url,
    relay_client,
    relay_errors,
)
from hearthgate.home.tunnel.errors import (
    PairingUncertainError,
    RelayAnswerError,
    RelayRefusedError,
    RelayUnreachableError,
)
from hearthgate.home.tunnel.identity import (
    Identity,
    certificate_request,
    make_key,
    relay_context,
)
from hearthgate.wire.constants import PAIR_PATH
from hearthgate.wire.pairing import (
    PairingCode,
    PairingCodeExpiredError,
    read_pairing_code,
)

_ANSWER_MAX_BYTES = 64 * 1024
_HTTP_CREATED = 201
_ANSWER = vol.Schema(
    {
        "home": vol.All(str, vol.Length(max=64)),
        "certificate": vol.All(str, vol.Length(max=16_384)),
        "domains": vol.All([vol.All(str, vol.Length(max=253))], vol.Length(max=1000)),
    },
    required=True,
    extra=vol.REMOVE_EXTRA,
)
# What aiohttp raises if the connection stood and then ended.
_LOST = (ServerDisconnectedError, ClientPayloadError, ConnectionResetError)
_REFUSAL = vol.Schema(
    {
        "error": {
            "code": str,
            "message": str,
            "hint": str,
            vol.Optional("fields", default=dict): {vol.Optional(str): str},
        }
    },
    required=True,
    extra=vol.REMOVE_EXTRA,
)


@dataclass(frozen=True, slots=True)
class Joined:
    """A relay that this home has joined."""

    id: str  # from the relay's key: the same relay has the same id
    name: str  # what the relay calls this home
    host: str
    port: int
    fingerprint: str  # hex
    home_id: str  # what the relay knows this home by: SHA-256 of its certificate, hex
    domains: tuple[str, ...]


async def pair(text: str, folder: Path) -> Joined:
    """Use a pairing code; keep key and certificate in `folder`/ID.

    Raises PairingCodeError, RelayUnreachableError, RelayKeyError, RelayRefusedError
    with the relay's own words, RelayAnswerError, PairingUncertainError,
    StateNotWritableError. The code is used up if this returns, or may be if the answer
    was lost (PairingUncertainError) or makes no sense.
    """
    code = read_pairing_code(text)
    relay_id = relay_id_of(code)
    identity = Identity(folder / relay_id)
    await asyncio.to_thread(identity.check_room)
    key = make_key()
    answer = await _ask(code, certificate_request(key))
    try:
        home_id = await asyncio.to_thread(identity.save, key, answer["certificate"])
    except ValueError as err:
        raise RelayAnswerError(relay=code.address, reason=str(err)) from err
    return Joined(
        id=relay_id,
        name=answer["home"],
        host=code.host,
        port=code.port,
        fingerprint=code.fingerprint.hex(),
        home_id=home_id,
        domains=tuple(answer["domains"]),
    )


def relay_id_of(code: PairingCode) -> str:
    """Return our id for the relay of a code: the same relay has the same id."""
    return code.fingerprint.hex()[:12]


async def _ask(code: PairingCode, request: str) -> dict[str, Any]:
    """Return the relay's checked answer."""
    body = {"secret": base64.b64encode(code.secret).decode(), "request": request}
    try:
        status, raw = await _post(code, body)
    except RelayUnreachableError as err:
        if isinstance(err.__cause__, _LOST):
            reason = err.fields["reason"]
            raise PairingUncertainError(relay=code.address, reason=reason) from err
        # A code that is old by our own clock explains best why nobody answers.
        if code.expires < time.time():
            raise PairingCodeExpiredError from None
        raise
    try:
        answer = json.loads(raw)
        if status == _HTTP_CREATED:
            checked: dict[str, Any] = _ANSWER(answer)
            return checked
        error = _REFUSAL(answer)["error"]
    except (ValueError, RecursionError, vol.Invalid) as err:
        raise RelayAnswerError(relay=code.address, reason=str(err)[:200]) from err
    raise RelayRefusedError(**quoted(**error))


async def _post(code: PairingCode, body: dict[str, str]) -> tuple[int, bytes]:
    url = control_url(code.port, PAIR_PATH)
    context = await asyncio.to_thread(relay_context)
    with relay_errors(code.host, code.port):
        async with (
            asyncio.timeout(DIAL_DEADLINE_S),
            relay_client(code.host, code.fingerprint) as client,
            client.post(url, json=body, ssl=context) as response,
        ):
            raw = bytearray()
            async for chunk in response.content.iter_any():
                raw += chunk
                if len(raw) > _ANSWER_MAX_BYTES:
                    raise RelayAnswerError(relay=code.address, reason="it is too long")
            return response.status, bytes(raw)
