"""Hostnames and addresses in the one spelling that is compared.

A hostname is compared as lower-case A-labels without a trailing dot (RFC 5890 §2.3.2.1,
RFC 1034 §3.1). Everything that enters is brought to that spelling once; behind the door
names are compared with `==`.
"""

import ipaddress
import re

from hearthgate.errors import HearthgateError
from hearthgate.wire.constants import DEFAULT_RELAY_PORT

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")  # RFC 1123 §2.1
HOSTNAME_MAX = 253  # characters, RFC 1035 §2.3.4, without the trailing dot
_PORT_MAX = 65535


class HostnameInvalidError(HearthgateError):
    """Raise if a text is no hostname that can stand in a certificate."""

    code = "hostname_invalid"
    message = "“{text}” is not a hostname: {reason}."
    hint = "A hostname looks like photos.home.example.com."


class AddressInvalidError(HearthgateError):
    """Raise if a text is no host with an optional port."""

    code = "address_invalid"
    message = "“{text}” is not an address: {reason}."
    hint = "An address looks like relay.example.com or 203.0.113.5:443."


def normalise_hostname(text: str) -> str:
    """Return a hostname in the spelling that is compared.

    Folds case, strips one trailing dot and turns U-labels into A-labels. Raises
    HostnameInvalidError for what a public certificate could not name: an IP address, a
    single label, an empty or overlong label.
    """
    name = text.strip().removesuffix(".")
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError as err:
            raise HostnameInvalidError(
                text=text[:80], reason="a part of it cannot be written in DNS"
            ) from err
    name = name.lower()
    reason = _fault(name)
    if reason:
        raise HostnameInvalidError(text=text[:80], reason=reason)
    return name


def _fault(name: str) -> str:
    """Say why a name could not stand in a certificate; empty if it could."""
    labels = name.split(".")
    bad = next((label for label in labels if not _LABEL.fullmatch(label)), None)
    faults = {
        "it is empty": not name,
        f"it is longer than {HOSTNAME_MAX} characters": len(name) > HOSTNAME_MAX,
        "it is an IP address": is_ip(name),
        "it has no dot": len(labels) == 1,
        "it has an empty part between two dots": bad == "",
        f"“{str(bad)[:70]}” may only have letters, digits and hyphens": bad is not None,
        "its last part is a number": labels[-1].isdigit(),
    }
    return next((reason for reason, applies in faults.items() if applies), "")


def is_ip(text: str) -> bool:
    """Tell whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_below(hostname: str, domain: str) -> bool:
    """Tell whether a hostname is a domain or a name below it; both normalised."""
    return hostname == domain or hostname.endswith("." + domain)


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of a relay's address; the port defaults to 443.

    Takes a hostname, an IPv4 address, an IPv6 address in brackets or bare.
    Raises AddressInvalidError.
    """
    rest = text.strip()
    if is_ip(rest):
        return str(ipaddress.ip_address(rest)), DEFAULT_RELAY_PORT
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or not is_ip(host) or (tail and not tail.startswith(":")):
            raise AddressInvalidError(
                text=text[:80], reason="the brackets do not match"
            )
        return str(ipaddress.ip_address(host)), _port(tail[1:], text)
    host, _, port = rest.partition(":")
    if is_ip(host):
        return host, _port(port, text)
    if host.lower() == "localhost":
        return "localhost", _port(port, text)
    try:
        return normalise_hostname(host), _port(port, text)
    except HostnameInvalidError as err:
        raise AddressInvalidError(
            text=text[:80], reason=str(err.fields["reason"])
        ) from err


def _port(digits: str, text: str) -> int:
    if not digits:
        return DEFAULT_RELAY_PORT
    if digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) <= _PORT_MAX:
        return int(digits[:6])
    raise AddressInvalidError(
        text=text[:80], reason=f"the port must be a number from 1 to {_PORT_MAX}"
    )


def format_address(host: str, port: int) -> str:
    """Return host and port as one text, IPv6 in brackets, port 443 left out."""
    shown = f"[{host}]" if ":" in host else host
    return shown if port == DEFAULT_RELAY_PORT else f"{shown}:{port}"
