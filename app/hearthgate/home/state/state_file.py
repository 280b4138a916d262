"""The home's state file: what may be in it, and how values become lines.

    relays:     [{id, name, host, port, fingerprint, home_id, joined_at}]
    services:   [{id, name, address, kind}]
    exposures:  [{service, name, address, relay, hostname, enabled, access, protocols}]
    exposures:  [{service, name, address, relay, port, enabled, proxy_protocol}]

The second form is that of a forward: its address begins with tcp:// or udp://. Both
have hass_may_switch and was_public, see `model.Exposure`.

Strict, because users may edit the file: what passes here is not checked again. An
exposure may name a relay that is gone: it waits until the home is paired again.
"""

from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from pathlib import Path
import re
import time
from typing import Any

import voluptuous as vol

from hearthgate.home.model import Access, Exposure, Origin, Service, Target
from hearthgate.home.protocols import PROTOCOLS_MAX, protocol_mistake
from hearthgate.home.state.state import HomeState, Membership
from hearthgate.home.state.targets import InvalidTargetError, read_target
from hearthgate.shared.storage.yaml_store import YamlStore
from hearthgate.wire.names import HostnameInvalidError, fold_hostname

STATE_VERSION = 3
STATE_NAME = "state.yaml"
# A household has tens of services; the caps keep a runaway script from filling a disk.
RELAYS_MAX = 32
SERVICES_MAX = 500
EXPOSURES_MAX = 500

_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")  # also a folder name
_HOME_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")  # SHA-256
_NAME_MAX = 128
# Printable ASCII as crypt(3) makes it; a colon or a quote could end it early.
_PASSWORD_HASH = re.compile(r"\$[A-Za-z0-9./$=,_-]{10,500}")


def _matches(pattern: re.Pattern[str], what: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise vol.Invalid(f"expected {what}")
        return value

    return check


def _name(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= _NAME_MAX:
        raise vol.Invalid(f"expected a name of 1 to {_NAME_MAX} characters")
    if not value.isprintable():
        raise vol.Invalid("expected a name without control characters")
    return value


def _username(value: object) -> str:
    if ":" in _name(value):  # RFC 7617 §2
        raise vol.Invalid("expected a user name without a colon")
    return _name(value)


def _hostname(value: object) -> str:
    try:
        stored = isinstance(value, str) and fold_hostname(value) == value
    except HostnameInvalidError as err:
        raise vol.Invalid(str(err)) from err
    if not stored:
        raise vol.Invalid("expected a hostname in lower case without a trailing dot")
    return str(value)


def _host(value: object) -> str:
    if not isinstance(value, str):
        raise vol.Invalid("expected a host name or an address")
    bracketed = f"[{value}]" if ":" in value else value
    try:
        target = read_target(f"https://{bracketed}")
    except InvalidTargetError as err:
        raise vol.Invalid("expected a host name or an address") from err
    if target.host != value:
        raise vol.Invalid("expected a host in lower case, without a port")
    return value


def _target(value: object) -> Target:
    if not isinstance(value, str):
        raise vol.Invalid("expected an address like http://192.168.1.20:3000/")
    try:
        return read_target(value)
    except InvalidTargetError as err:
        raise vol.Invalid(str(err)) from err


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**16:
        raise vol.Invalid("expected a port from 1 to 65535")
    return value


def _protocol(value: object) -> str:
    mistake = protocol_mistake(value)
    if mistake is not None:
        raise vol.Invalid(mistake)
    return str(value)


def _moment(value: object) -> int:
    """Read a time with seconds. YAML makes a datetime of one without quotes."""
    try:
        moment = (
            value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        )
    except ValueError as err:
        raise vol.Invalid("expected a time like 2026-01-31T12:00:00+00:00") from err
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp())


def _unique(*keys: str) -> Callable[[list[dict[str, Any]]], list[dict[str, Any]]]:
    def check(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for key in keys:
            seen: set[Hashable] = set()
            for value in (item[key] for item in items):
                if value in seen:
                    raise vol.Invalid(f"{key} {value!r} is there twice")
                seen.add(value)
        return items

    return check


_ID_CHECK = _matches(_ID, "an id of lower-case letters, digits and hyphens")
_RELAY = {
    vol.Required("id"): _ID_CHECK,
    vol.Required("name"): _name,
    vol.Required("host"): _host,
    vol.Required("port"): _port,
    vol.Required("fingerprint"): _matches(_FINGERPRINT, "64 hexadecimal digits"),
    vol.Required("home_id"): _matches(_HOME_ID, "the id of a home"),
    vol.Required("joined_at"): _moment,
}
_SERVICE = {
    vol.Required("id"): _ID_CHECK,
    vol.Required("name"): _name,
    vol.Required("address"): _target,
    vol.Optional("kind", default="web"): _ID_CHECK,
}
_ACCESS = {
    vol.Required("username"): _username,
    vol.Required("password_hash"): _matches(_PASSWORD_HASH, "a password hash"),
}
_EXPOSURE = {
    vol.Required("service"): _ID_CHECK,
    vol.Required("name"): _name,
    vol.Required("address"): _target,
    vol.Required("relay"): _ID_CHECK,
    vol.Optional("hostname", default=""): vol.Any("", _hostname),
    vol.Optional("port", default=0): vol.Any(0, _port),
    vol.Required("enabled"): bool,
    vol.Optional("access", default=None): vol.Any(None, _ACCESS),
    vol.Optional("proxy_protocol", default=False): bool,
    vol.Optional("hass_may_switch", default=False): bool,
    vol.Optional("was_public", default=False): bool,
    vol.Optional("protocols", default=list): vol.All(
        [_protocol], vol.Length(max=PROTOCOLS_MAX)
    ),
}


def _one_way(data: dict[str, Any]) -> dict[str, Any]:
    """Refuse an exposure that is neither a site nor a forward, or both."""
    is_web = data["address"].scheme.is_web
    if is_web is not bool(data["hostname"]) or is_web is bool(data["port"]):
        raise vol.Invalid(
            "expected a hostname for http and https, or a port for tcp and udp"
        )
    return data


def _ways_unique(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Refuse a hostname that is there twice, or a port twice at one relay."""
    seen: set[Hashable] = set()
    for item in items:
        way = item["hostname"] or (
            item["relay"],
            item["address"].scheme,
            item["port"],
        )
        if way in seen:
            raise vol.Invalid(f"{item['hostname'] or item['port']!r} is there twice")
        seen.add(way)
    return items


def _with_forwards(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew no forwards; nothing else is different."""
    return data


def _with_switches(data: dict[str, Any]) -> dict[str, Any]:
    """Version 2 let Home Assistant switch everything, and did not know who decided.

    What is on has been turned on by somebody, with the rules that it has.
    """
    exposures = data.get("exposures")
    for one in exposures if isinstance(exposures, list) else []:
        if isinstance(one, dict):
            one["was_public"] = one.get("enabled") is True
    return data


MIGRATIONS = {1: _with_forwards, 2: _with_switches}
STATE_SCHEMA = vol.Schema(
    {
        vol.Optional("relays", default=list): vol.All(
            [_RELAY], vol.Length(max=RELAYS_MAX), _unique("id")
        ),
        vol.Optional("services", default=list): vol.All(
            [_SERVICE], vol.Length(max=SERVICES_MAX), _unique("id")
        ),
        vol.Optional("exposures", default=list): vol.All(
            [vol.All(_EXPOSURE, _one_way)],
            vol.Length(max=EXPOSURES_MAX),
            _unique("service"),
            _ways_unique,
        ),
    }
)


def home_state_store(
    folder: Path, *, clock: Callable[[], float] = time.time
) -> YamlStore[HomeState]:
    """Return the store of a home's data folder."""
    return YamlStore(
        folder / STATE_NAME,
        version=STATE_VERSION,
        schema=STATE_SCHEMA,
        load=load_state,
        dump=dump_state,
        empty=HomeState,
        migrations=MIGRATIONS,
        title="relays, services and exposures of a home",
        clock=clock,
    )


def load_state(data: dict[str, Any]) -> HomeState:
    """Build the state from data that STATE_SCHEMA returned."""
    return HomeState(
        relays=tuple(Membership(**one) for one in data["relays"]),
        services=tuple(_load_service(one) for one in data["services"]),
        exposures=tuple(_load_exposure(one) for one in data["exposures"]),
    )


def _load_service(data: dict[str, Any]) -> Service:
    return Service(
        id=data["id"],
        name=data["name"],
        origin=Origin.MANUAL,
        target=data["address"],
        kind=data["kind"],
    )


def _load_exposure(data: dict[str, Any]) -> Exposure:
    access = data["access"]
    return Exposure(
        service_id=data["service"],
        name=data["name"],
        target=data["address"],
        relay_id=data["relay"],
        hostname=data["hostname"],
        enabled=data["enabled"],
        access=None if access is None else Access(**access),
        public_port=data["port"],
        tells_visitor=data["proxy_protocol"],
        hass_may_switch=data["hass_may_switch"],
        was_public=data["was_public"],
        protocols=tuple(data["protocols"]),
    )


def dump_state(state: HomeState) -> dict[str, Any]:
    """Return the state as STATE_SCHEMA takes it, without its version."""
    return {
        "relays": [_dump_relay(one) for one in state.relays],
        "services": [_dump_service(one) for one in state.services],
        "exposures": [_dump_exposure(one) for one in state.exposures],
    }


def _dump_relay(relay: Membership) -> dict[str, Any]:
    return {
        "id": relay.id,
        "name": relay.name,
        "host": relay.host,
        "port": relay.port,
        "fingerprint": relay.fingerprint,
        "home_id": relay.home_id,
        "joined_at": datetime.fromtimestamp(relay.joined_at, UTC).isoformat(),
    }


def _dump_service(service: Service) -> dict[str, Any]:
    return {
        "id": service.id,
        "name": service.name,
        "address": service.target.url,
        "kind": service.kind,
    }


def _dump_exposure(exposure: Exposure) -> dict[str, Any]:
    data: dict[str, Any] = {
        "service": exposure.service_id,
        "name": exposure.name,
        "address": exposure.target.url,
        "relay": exposure.relay_id,
        "enabled": exposure.enabled,
        "hass_may_switch": exposure.hass_may_switch,
        "was_public": exposure.was_public,
    }
    if exposure.public_port:
        data["port"] = exposure.public_port
        data["proxy_protocol"] = exposure.tells_visitor
    else:
        data["hostname"] = exposure.hostname
        if exposure.tells_visitor:
            data["proxy_protocol"] = True
    if exposure.protocols:
        data["protocols"] = list(exposure.protocols)
    if exposure.access is not None:
        data["access"] = {
            "username": exposure.access.username,
            "password_hash": exposure.access.password_hash,
        }
    return data
