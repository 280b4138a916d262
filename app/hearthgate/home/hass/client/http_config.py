"""Core's HTTP settings, as its API tells and takes them since 2026.8.

    http/config ──▶ HttpConfig ──wanted(proxy)──▶ the whole configuration to set

What is left out when setting falls back to a default, so everything that is in use goes
back, but for the notes that Core itself adds. Pure functions.
"""

from dataclasses import dataclass
from datetime import datetime
import ipaddress
from typing import Any

import voluptuous as vol

from hearthgate.home.hass.errors import CoreAwayError

_NOTES = frozenset({"created_at", "error", "error_message"})
NEVER_BANS = -1

_CONFIG = vol.Schema(
    {
        vol.Optional("use_x_forwarded_for", default=False): bool,
        vol.Optional("trusted_proxies", default=list): [str],
        vol.Optional("login_attempts_threshold", default=NEVER_BANS): int,
    },
    extra=vol.ALLOW_EXTRA,
)
_PENDING = vol.Schema(
    {
        vol.Optional("error", default=None): vol.Any(None, str),
        vol.Optional("error_message", default=None): vol.Any(None, str),
    },
    extra=vol.ALLOW_EXTRA,
)
_ANSWER = vol.Schema(
    {
        vol.Required("stable"): dict,
        vol.Optional("pending", default=None): vol.Any(None, _PENDING),
        vol.Optional("revert_at", default=None): vol.Any(None, str),
        vol.Required("active_config_type"): str,
    },
    extra=vol.REMOVE_EXTRA,
)


@dataclass(frozen=True, slots=True)
class Change:
    """One setting, before and after."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """What Core uses now, and what it is trying out."""

    in_use: dict[str, Any]  # without Core's notes
    is_trial: bool  # to be confirmed within minutes
    has_pending: bool  # waits for a restart, or is the trial
    revert_at: float | None  # Unix time, of a trial
    failure: str | None = None  # of the last trial, which Core remembers but never uses

    @property
    def proxies(self) -> list[str]:
        """Whom Core believes what they say of visitors."""
        if not self.in_use.get("use_x_forwarded_for"):
            return []
        return list(self.in_use.get("trusted_proxies", []))

    @property
    def login_attempts(self) -> int:
        """After how many wrong logins an address is banned; -1: never."""
        return int(self.in_use.get("login_attempts_threshold", NEVER_BANS))

    def trusts(self, proxy: str) -> bool:
        """Tell whether a proxy is believed."""
        wanted = ipaddress.ip_network(proxy)
        return any(_covers(one, wanted) for one in self.proxies)

    def wanted(self, proxy: str, *, login_attempts: int | None) -> dict[str, Any]:
        """Return the whole configuration with which Core believes a proxy."""
        changed = dict(self.in_use)
        proxies = list(changed.get("trusted_proxies", []))
        if not self.trusts(proxy):
            proxies.append(proxy)
        changed |= {"use_x_forwarded_for": True, "trusted_proxies": proxies}
        if login_attempts is not None:
            changed["login_attempts_threshold"] = login_attempts
        return changed

    def changes(self, proxy: str) -> list[Change]:
        """Return what would change, for the user to read."""
        if self.trusts(proxy):
            return []
        now = self.in_use.get("use_x_forwarded_for", False)
        before = self.in_use.get("trusted_proxies", [])
        after = self.wanted(proxy, login_attempts=None)["trusted_proxies"]
        found = [Change("trusted_proxies", ", ".join(before), ", ".join(after))]
        if not now:
            found.insert(0, Change("use_x_forwarded_for", "false", "true"))
        return found


def read_http_config(answer: object) -> HttpConfig:
    """Read the answer of http/config. Raises CoreAwayError if it makes no sense."""
    try:
        found = _ANSWER(answer)
        is_trial = found["active_config_type"] == "pending"
        in_use = found["pending"] if is_trial else found["stable"]
        _CONFIG(in_use or {})  # fills gaps; what goes back is what Core has said
    except vol.Invalid as err:
        raise CoreAwayError(reason=f"its settings can't be read ({err})") from err
    in_use = {key: value for key, value in (in_use or {}).items() if key not in _NOTES}
    pending = found["pending"] or {}
    failure = pending.get("error_message") or pending.get("error")
    has_pending = bool(pending) and failure is None
    revert_at = _moment(found["revert_at"])
    return HttpConfig(in_use, is_trial, has_pending, revert_at, failure)


def _moment(text: str | None) -> float | None:
    try:
        return None if text is None else datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _covers(known: str, wanted: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        network = ipaddress.ip_network(known, strict=False)
    except ValueError:
        return False
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(wanted, ipaddress.IPv4Network) and wanted.subnet_of(network)
    return isinstance(wanted, ipaddress.IPv6Network) and wanted.subnet_of(network)


def yaml_lines(proxy: str) -> str:
    """Return what goes into configuration.yaml of a Core without that API."""
    return (
        "http:\n"
        "  use_x_forwarded_for: true\n"
        "  trusted_proxies:\n"
        f"    - {proxy}\n"
        "  ip_ban_enabled: true\n"
        "  login_attempts_threshold: 5\n"
    )
