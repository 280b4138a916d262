"""Read the address of a service as users type it.

    "192.168.1.20:3000"   ──▶  http   192.168.1.20   3000
    "https://NAS.local/"  ──▶  https  nas.local       443     or InvalidTargetError
    "tcp://nas.local:22"  ──▶  tcp    nas.local        22

A name or address without a scheme is http, except on port 443. Global addresses are
allowed: a device at home has one as soon as the line has IPv6, and a name could lead to
one anyway. Refused is what can never be a service here: link-local addresses (they need
an interface, and 169.254.169.254 hands out credentials in data centres), multicast,
unspecified and reserved ones.

Never connects; the probe says whether something answers.
"""

import ipaddress
import re

from hearthgate.errors import HearthgateError
from hearthgate.home.model import Scheme, Target
from hearthgate.wire.names import HostnameInvalidError, normalise_host

_LENGTH_MAX = 2048
_PORT_MAX = 65535
_DEFAULT_PORTS = {Scheme.HTTP: 80, Scheme.HTTPS: 443}
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.IGNORECASE | re.DOTALL)
_BRACKETS = re.compile(r"\[([^\[\]]*)\](?::(.*))?")


class InvalidTargetError(HearthgateError):
    """Raise if a text cannot be the address of a service."""

    code = "invalid_address"
    message = "{address} can't be the address of a service: {reason}."
    hint = "Use an address like 192.168.1.20:3000 or http://nas.local:5000."


def read_target(text: str) -> Target:
    """Return where the service answers. Raises InvalidTargetError."""
    try:
        return _read(text.strip())
    except ValueError as err:
        shown = re.sub(r"//[^/@]*@", "//…@", text.strip())[:100]  # may hold a password
        raise InvalidTargetError(address=shown, reason=str(err)) from err


def can_be_kept(target: Target) -> bool:
    """Tell whether a discovered address is one that could be stored."""
    try:
        return read_target(target.url) == target
    except InvalidTargetError:
        return False


def _read(text: str) -> Target:
    if not text or len(text) > _LENGTH_MAX:
        raise ValueError("it is empty or too long")
    if not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("it has characters that no address has")
    scheme, rest = _split_scheme(text)
    authority = _without_path(rest)
    host, port = _split_port(authority)
    if scheme is None:
        scheme = Scheme.HTTPS if port == _DEFAULT_PORTS[Scheme.HTTPS] else Scheme.HTTP
    port = port or _DEFAULT_PORTS.get(scheme)
    if port is None:
        raise ValueError(f"{scheme} needs a port, as in {scheme}://{host}:25565")
    return Target(scheme, _read_host(host), port)


def _split_scheme(text: str) -> tuple[Scheme | None, str]:
    match = _SCHEME.fullmatch(text)
    if match is None:
        return None, text
    try:
        return Scheme(match[1].lower()), match[2]
    except ValueError as err:
        raise ValueError(
            f"it must be http, https, tcp or udp, not {match[1][:20]}"
        ) from err


def _without_path(rest: str) -> str:
    authority, mark, more = rest, "", ""
    for place, character in enumerate(rest):
        if character in "/?#":
            authority, mark, more = rest[:place], character, rest[place + 1 :]
            break
    if mark in {"?", "#"} or more:
        raise ValueError(
            "a service is a whole web server, so leave away what follows the address"
        )
    if "@" in authority:
        raise ValueError("it must not contain a user name or a password")
    return authority


def _split_port(authority: str) -> tuple[str, int | None]:
    match = _BRACKETS.fullmatch(authority)
    if match is not None:
        return _ipv6(match[1]), None if match[2] is None else _port(match[2])
    if authority.count(":") > 1:
        return _ipv6(authority), None
    host, colon, port = authority.partition(":")
    return host, _port(port) if colon else None


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError as err:
        raise ValueError("what looks like an IPv6 address is none") from err


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= _PORT_MAX:
        raise ValueError(f"a port is a number from 1 to {_PORT_MAX}")
    return int(text)


def _read_host(text: str) -> str:
    host = text.lower().removesuffix(".")
    address = _as_address(host)
    return _name(text) if address is None else _usable(address)


def _as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _usable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_link_local:
        raise ValueError("link-local addresses can't be used")
    if address.is_multicast or address.is_unspecified:
        raise ValueError("no single device has this address")
    # IPv6 counts ::1 as reserved.
    if address.is_reserved and not address.is_loopback:
        raise ValueError("the address is reserved")
    return str(address)


def _name(host: str) -> str:
    try:
        return normalise_host(host)
    except HostnameInvalidError as err:
        raise ValueError(str(err.fields["reason"])) from err
