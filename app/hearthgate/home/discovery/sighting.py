"""Read one mDNS announcement: what it offers, or why it is not believed.

    Announcement (names, records as they came) ──read_sighting──▶ Sighting | Refused

Everything in an announcement is an unauthenticated stranger's: lengths are bounded,
text is cleaned, addresses must be on the LAN, and ports where a request does harm are
left alone. Pure; asks nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from hearthgate.home.discovery.addresses import Interface, choose_address
from hearthgate.home.discovery.catalog import (
    CATALOG,
    NEVER_PROBED_PORTS,
    Entry,
    Kind,
    Role,
)
from hearthgate.home.discovery.limits import DiscoveryLimits
from hearthgate.home.discovery.text import clean_name, clean_text, service_id
from hearthgate.home.model import Scheme, Target

__all__ = ["Announcement", "Refused", "Sighting", "read_sighting"]

_MAX_PORT = 65535
# TXT keys with a name for people: Home Assistant, friendly name, printer's type.
_NAME_KEYS = ("location_name", "fn", "ty", "friendly_name")


@dataclass(frozen=True, slots=True)
class Announcement:
    """The records of one instance, as they came."""

    service_type: str  # as in the catalog: "_http._tcp"
    instance: str  # without type and domain
    server: str  # the SRV target
    port: int
    addresses: Sequence[str]
    txt: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sighting:
    """An instance that is believed."""

    id: str
    service_type: str
    name: str  # may be empty: the title stands in
    target: Target
    role: Role
    kind: Kind
    paths: tuple[str, ...] = ("/",)

    @property
    def rank(self) -> tuple[int, int, str]:
        """Sort key: who speaks for an address that several instances share."""
        certain = 0 if self.role is Role.PAGE else 1
        return (certain, _RANKS[self.service_type], self.id)


_RANKS = {name: rank for rank, name in enumerate(CATALOG)}


@dataclass(frozen=True, slots=True)
class Refused:
    """An announcement that is not shown."""

    reason: str


def read_sighting(
    announcement: Announcement,
    *,
    present: Sequence[Interface],
    loopback: bool,
    limits: DiscoveryLimits,
) -> Sighting | Refused:
    """Return what an announcement offers. Never raises."""
    entry = CATALOG.get(announcement.service_type)
    if entry is None:
        return Refused("unknown type")
    address = choose_address(announcement.addresses, present=present, loopback=loopback)
    if address is None:
        return Refused("no address on this network")
    scheme, port, role = _where(announcement, entry, address)
    if not 1 <= port <= _MAX_PORT:
        return Refused("no port")
    if role is not Role.HINT and port in NEVER_PROBED_PORTS:
        return Refused(f"port {port} is not for web pages")
    return Sighting(
        id=service_id(announcement.instance, announcement.service_type),
        service_type=announcement.service_type,
        name=_name(announcement, limits.text_max_chars),
        target=Target(scheme, address, port),
        role=role,
        kind=entry.kind,
        paths=entry.paths,
    )


def _where(
    announcement: Announcement, entry: Entry, address: str
) -> tuple[Scheme, int, Role]:
    """Return how and on which port the page is, and how certain that is."""
    if entry.admin_url:
        found = _admin_url(announcement, address)
        if found is not None:
            return (*found, Role.PAGE)
    return entry.scheme, entry.port or announcement.port, entry.role


def _admin_url(announcement: Announcement, address: str) -> tuple[Scheme, int] | None:
    """Return scheme and port of TXT adminurl, if it names the announcing device.

    A printer may not send us to somebody else, so any other host voids it; its path
    is ignored.
    """
    text = announcement.txt.get("adminurl", "")
    try:
        url = urlsplit(text)
        host, port = (url.hostname or "").rstrip("."), url.port
    except ValueError:
        return None
    server = announcement.server.lower().rstrip(".")
    own = {server, server.removesuffix(".local"), address, *announcement.addresses}
    if url.scheme not in {Scheme.HTTP, Scheme.HTTPS} or host not in own:
        return None
    scheme = Scheme(url.scheme)
    return scheme, port or (443 if scheme is Scheme.HTTPS else 80)


def _name(announcement: Announcement, max_chars: int) -> str:
    """Return the best name for people; empty if none says anything."""
    name = clean_name(announcement.instance, max_chars)
    if name:
        return name
    for key in _NAME_KEYS:
        text = clean_text(announcement.txt.get(key, ""), max_chars)
        if text:
            return text
    return ""
