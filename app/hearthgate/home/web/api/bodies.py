"""What requests may carry: JSON, small, in time, and checked before anybody sees it.

    body ──▶ JSON ──▶ voluptuous ──▶ frozen values    or an error that names a field

Pure but for read_body.
"""

import asyncio
from collections.abc import Callable
import json
from typing import Any, NoReturn

from aiohttp import web
import voluptuous as vol

from hearthgate.errors import HearthgateError, quoted
from hearthgate.home.access import ACCESS_SCHEMA
from hearthgate.home.model import Target
from hearthgate.home.protocols import PROTOCOLS_MAX, protocol_mistake
from hearthgate.home.state.targets import InvalidTargetError, read_target
from hearthgate.home.web.api.facade import KEEP, AccessWish, ExposureWish, Keep
from hearthgate.home.web.errors import (
    BodyTooSlowError,
    InvalidBodyError,
    InvalidValueError,
    NotJsonError,
    NotJsonTypeError,
)
from hearthgate.shared.settings.kinds import Secret
from hearthgate.wire.names import (
    HostnameInvalidError,
    fold_hostname,
    normalise_hostname,
)
from hearthgate.wire.ports import PORT_MAX

_BODY_SECONDS = 15
_NAME_MAX = 64
_CODE_MAX = 4096  # a pairing code is about 200 characters
_LOGIN_PASSWORD_MAX = 1024
_NEW_PASSWORD_MAX = 4096
_ATTEMPTS_MAX = 100


async def read_body(request: web.Request, schema: vol.Schema) -> Any:  # noqa: ANN401
    """Return what the schema made of the body.

    Raises NotJsonError, InvalidBodyError, BodyTooSlowError; the size is the
    application's.
    """
    if request.content_type != "application/json":
        raise NotJsonTypeError(reason=f"its type is {request.content_type[:100]}")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            raw = await request.read()
    except TimeoutError as err:
        raise BodyTooSlowError(seconds=_BODY_SECONDS) from err
    return check_body(raw, schema)


def check_body(raw: bytes, schema: vol.Schema) -> Any:  # noqa: ANN401
    """Return what the schema made of raw JSON. Raises as read_body."""
    try:
        data = json.loads(
            raw.decode(), parse_constant=_refuse_constant, object_pairs_hook=_object
        )
    except RecursionError as err:
        raise NotJsonError(reason="it is nested too deeply") from err
    except ValueError as err:
        raise NotJsonError(reason=str(err)[:200]) from err
    try:
        return schema(data)
    except vol.MultipleInvalid as err:
        raise _invalid(err.errors[0]) from err


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _invalid(error: vol.Invalid) -> InvalidBodyError:
    field = ".".join(str(part) for part in error.path) or "body"
    why = error.__cause__
    if isinstance(why, HearthgateError):
        fields = why.told_fields() | {"field": field[:100]}
        return InvalidValueError(**quoted(why.code, str(why), why.advice, fields))
    return InvalidBodyError(field=field[:100], reason=error.error_message[:300])


def _text(least: int, most: int, *, strip: bool = True) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str):
            raise vol.Invalid("expected a text")
        text = value.strip() if strip else value
        if not least <= len(text) <= most:
            raise vol.Invalid(f"expected {least} to {most} characters")
        if not text.isprintable():
            raise vol.Invalid("expected no control characters")
        return text

    return check


def _target(value: object) -> Target:
    try:
        return read_target(_text(1, 2048)(value))
    except InvalidTargetError as err:
        raise vol.Invalid(str(err).rstrip(".")) from err


def _hostname(value: object) -> str:
    text = _text(1, 1024)(value)
    try:
        # A-labels are judged by the home, which knows whether they are new.
        return fold_hostname(text) if text.isascii() else normalise_hostname(text)
    except HostnameInvalidError as err:
        raise vol.Invalid(str(err).rstrip(".")) from err


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise vol.Invalid("expected true or false")
    return value


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise vol.Invalid("expected a port")
    if not 1 <= value <= PORT_MAX:
        raise vol.Invalid(f"expected a port from 1 to {PORT_MAX}")
    return value


def _protocols(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > PROTOCOLS_MAX:
        raise vol.Invalid(f"expected a list of at most {PROTOCOLS_MAX} protocols")
    for mistake in map(protocol_mistake, value):
        if mistake is not None:
            raise vol.Invalid(mistake)
    return tuple(dict.fromkeys(value))


def _access_wish(value: object) -> AccessWish | Keep | None:
    if value is None or value is KEEP:
        return value
    if not isinstance(value, dict):
        raise vol.Invalid("expected null, or a username and a password")
    data = ACCESS_SCHEMA(value)
    return AccessWish(data["username"], Secret(data["password"]))


def _wish(data: dict[str, Any]) -> ExposureWish:
    return ExposureWish(**data)


def _something(data: dict[str, Any]) -> dict[str, Any]:
    if not data:
        raise vol.Invalid("expected a name or a url")
    return data


def _attempts(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise vol.Invalid("expected a whole number")
    if not 1 <= value <= _ATTEMPTS_MAX:
        raise vol.Invalid(f"expected 1 to {_ATTEMPTS_MAX}")
    return value


LOGIN = vol.Schema(
    {vol.Required("password"): _text(1, _LOGIN_PASSWORD_MAX, strip=False)}
)
# What one could not log in with is refused here; what is weak, by PasswordFile.
PASSWORD_CHANGE = vol.Schema(
    {
        vol.Required("current"): _text(1, _LOGIN_PASSWORD_MAX, strip=False),
        vol.Required("password"): _text(0, _NEW_PASSWORD_MAX, strip=False),
    }
)
PAIR = vol.Schema({vol.Required("code"): _text(1, _CODE_MAX)})
NEW_SERVICE = vol.Schema(
    {vol.Required("name"): _text(1, _NAME_MAX), vol.Required("url"): _target}
)
SERVICE_CHANGE = vol.Schema(
    vol.All({"name": _text(1, _NAME_MAX), "url": _target}, _something)
)
EXPOSURE = vol.Schema(
    vol.All(
        {
            vol.Required("enabled"): _boolean,
            "hostname": _hostname,
            "relay_id": _text(1, 64),
            vol.Optional("access", default=lambda: KEEP): _access_wish,
            "public_port": _port,
            "proxy_protocol": _boolean,
            "hass_may_switch": _boolean,
            "protocols": _protocols,
        },
        _wish,
    )
)
TRUST = vol.Schema(
    {vol.Optional("login_attempts", default=None): vol.Any(None, _attempts)}
)
