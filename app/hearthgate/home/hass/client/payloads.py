"""What the Supervisor answers, checked at the door and made into values.

    {"result": "ok", "data": {…}} ──voluptuous──▶ OwnInfo, CoreInfo, AddOn, Broker

Reads only what a home needs, so that a newer Supervisor may say more. Pure functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
import ipaddress
import re
from typing import Any

import voluptuous as vol

from hearthgate.home.model import Scheme, Target
from hearthgate.shared.settings.kinds import HOST, Secret

_SLUG = re.compile(r"[-_.A-Za-z0-9]{1,128}")
# The Supervisor has put scheme and port in already; the host is for us to say.
_WEB_UI = re.compile(r"(https?)://\[HOST\]:([0-9]{1,5})(/.*)?")


@dataclass(frozen=True, slots=True)
class OwnInfo:
    """Where this add-on is reached through ingress, and what it is called."""

    slug: str  # as installed, with the repository's hash in front
    address: str
    ingress_port: int
    host_network: bool


@dataclass(frozen=True, slots=True)
class CoreInfo:
    """Where Home Assistant itself answers."""

    version: str
    address: str
    port: int
    ssl: bool

    @property
    def target(self) -> Target:
        """Return where it is reached from an add-on."""
        return Target(
            Scheme.HTTPS if self.ssl else Scheme.HTTP, self.address, self.port
        )


@dataclass(frozen=True, slots=True)
class AddOn:
    """Another add-on, as far as it has a page of its own."""

    slug: str
    name: str
    scheme: Scheme
    port: int  # on the host


@dataclass(frozen=True, slots=True)
class Broker:
    """An MQTT broker and how to log in."""

    host: str
    port: int
    username: str | None
    password: Secret | None
    tls: bool


def _text(most: int) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or not 0 < len(value) <= most:
            raise vol.Invalid(f"expected a text of 1 to {most} characters")
        return value

    return check


def _slug(value: object) -> str:
    if not isinstance(value, str) or not _SLUG.fullmatch(value):
        raise vol.Invalid("expected a slug")
    return value


def _port(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**16:
        raise vol.Invalid("expected a port")
    return value


def _address(value: object) -> str:
    try:
        return str(ipaddress.ip_address(str(value)))
    except ValueError as err:
        raise vol.Invalid("expected an IP address") from err


def _open(schema: dict[Any, Any]) -> vol.Schema:
    return vol.Schema(schema, extra=vol.REMOVE_EXTRA)


ANSWER = _open(
    {
        vol.Required("result"): vol.Any("ok", "error"),
        vol.Optional("data", default=dict): vol.Any(dict, vol.All(None, lambda _: {})),
        vol.Optional("message", default=""): vol.Any(str, None),
    }
)
_OWN = _open(
    {
        vol.Required("slug"): _slug,
        vol.Required("ip_address"): _address,
        vol.Required("ingress_port"): _port,
        vol.Optional("host_network", default=False): bool,
    }
)
_CORE = _open(
    {
        vol.Optional("version", default=None): vol.Any(None, _text(64)),
        vol.Required("ip_address"): _address,
        vol.Required("port"): _port,
        vol.Required("ssl"): bool,
    }
)
# "addons" became "apps" in newer answers; both are read.
_LISTED = [_open({vol.Required("slug"): _slug, vol.Required("state"): str})]
_INSTALLED = _open({vol.Optional("addons"): _LISTED, vol.Optional("apps"): _LISTED})
_ADD_ON = _open(
    {
        vol.Required("slug"): _slug,
        vol.Required("name"): _text(256),
        vol.Optional("webui", default=None): vol.Any(None, str),
    }
)
_NETWORK = _open(
    {
        vol.Optional("interfaces", default=list): [
            _open(
                {
                    vol.Optional("ipv4", default=None): vol.Any(
                        None, _open({vol.Optional("address", default=list): [str]})
                    ),
                    vol.Optional("ipv6", default=None): vol.Any(
                        None, _open({vol.Optional("address", default=list): [str]})
                    ),
                }
            )
        ]
    }
)
_BROKER = _open(
    {
        vol.Required("host"): HOST.read,
        vol.Required("port"): _port,
        vol.Optional("username", default=None): vol.Any(None, "", _text(1024)),
        vol.Optional("password", default=None): vol.Any(None, "", _text(1024)),
        vol.Optional("ssl", default=False): bool,
    }
)


def read_own(data: object) -> OwnInfo:
    """Read /addons/self/info. Raises vol.Invalid."""
    found = _OWN(data)
    return OwnInfo(
        found["slug"],
        found["ip_address"],
        found["ingress_port"],
        found["host_network"],
    )


def read_core(data: object) -> CoreInfo:
    """Read /core/info. Raises vol.Invalid."""
    found = _CORE(data)
    return CoreInfo(
        found["version"] or "", found["ip_address"], found["port"], found["ssl"]
    )


def read_started(data: object) -> list[str]:
    """Read the slugs of the add-ons that run, from /supervisor/info."""
    found = _INSTALLED(data)
    listed = found.get("addons") or found.get("apps") or []
    return [one["slug"] for one in listed if one["state"] == "started"]


def read_add_on(data: object) -> AddOn | None:
    """Read /addons/…/info. None: it has no page, or none that is reached."""
    found = _ADD_ON(data)
    page = _WEB_UI.fullmatch(found["webui"] or "")
    if page is None or not 0 < int(page[2]) < 2**16:
        return None
    return AddOn(found["slug"], found["name"], Scheme(page[1]), int(page[2]))


def read_addresses(data: object) -> frozenset[str]:
    """Read the host's own addresses, from /network/info."""
    found: set[str] = set()
    for interface in _NETWORK(data)["interfaces"]:
        for family in ("ipv4", "ipv6"):
            for address in (interface[family] or {}).get("address", []):
                try:
                    found.add(str(ipaddress.ip_interface(address).ip))
                except ValueError:
                    continue  # of an interface that has none yet
    return frozenset(found)


def read_broker(data: object) -> Broker:
    """Read /services/mqtt. Raises vol.Invalid."""
    found = _BROKER(data)
    password = found["password"] or None
    return Broker(
        found["host"],
        found["port"],
        found["username"] or None,
        None if password is None else Secret(password),
        found["ssl"],
    )
