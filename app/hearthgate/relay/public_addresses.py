"""Learn the addresses by which the Internet reaches this relay.

    settings, or: the address if it is an IP ─┐
    the machine's own global addresses ───────┼─▶ told to each home in its welcome
    where the home's connection came in ──────┘

Behind a NAT the machine does not know its public address. Then nothing is told, and
the home takes the address that it has dialled. Sends no packet.
"""

from collections.abc import Callable, Iterable
import dataclasses
import ipaddress
import socket

from hearthgate.relay.settings import RelaySettings
from hearthgate.wire.names import format_address, is_ip, parse_address

# Where the routing table is asked for: global addresses that the kernel only looks up,
# for connecting a datagram socket sends nothing (connect(2)).
_FAR_AWAY = (
    (socket.AF_INET, "8.8.8.8"),
    (socket.AF_INET6, "2001:4860:4860::8888"),
)
_DISCARD_PORT = 9

Look = Callable[[], tuple[str, ...]]


def local_addresses() -> tuple[str, ...]:
    """Return the addresses from which this machine reaches the Internet, IPv4 first."""
    found = []
    for family, far in _FAR_AWAY:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect((far, _DISCARD_PORT))
                found.append(str(sock.getsockname()[0]))
        except OSError:  # no such family, or no way out
            continue
    return tuple(found)


def is_global(address: str) -> bool:
    """Tell whether the Internet can reach an address."""
    return is_ip(address) and ipaddress.ip_address(address).is_global


def _is_ipv6(address: str) -> bool:
    return ":" in address


def with_learned_address(
    settings: RelaySettings, look: Look = local_addresses
) -> RelaySettings:
    """Return settings with an address, if none was given and the machine has one."""
    if settings.address is not None:
        return settings
    candidates = settings.public_addresses or _served(settings.bind, look())
    # IPv4 comes first. Behind a NAT an IPv6 address alone would keep out those homes
    # that have none.
    if not candidates or not is_global(candidates[0]):
        return settings
    address = format_address(candidates[0], settings.https_port)
    return dataclasses.replace(settings, address=address)


def _served(bind: Iterable[str], addresses: Iterable[str]) -> list[str]:
    """Return those addresses of whose family there is a listening socket."""
    families = {_is_ipv6(host) for host in bind}
    return [one for one in addresses if _is_ipv6(one) in families]


class PublicAddresses:
    """Say where hostnames have to point. Lives in one loop; looks anew each time."""

    def __init__(self, settings: RelaySettings, look: Look = local_addresses) -> None:
        self._settings = settings
        self._look = look

    def addresses(self, dialled: str | None = None) -> tuple[str, ...]:
        """Return the public addresses; empty if one of them cannot be known.

        dialled: our end of a home's connection, after whatever NAT there is.
        """
        settings = self._settings
        if settings.public_addresses:
            return settings.public_addresses
        found = _served(settings.bind, self._look())
        if settings.address is not None:
            found.insert(0, parse_address(settings.address)[0])
        if dialled is not None:
            found.append(dialled)
        known = tuple(dict.fromkeys(one for one in found if is_global(one)))
        if dialled is not None and not any(
            _is_ipv6(one) == _is_ipv6(dialled) for one in known
        ):
            return ()  # it came in by an address that only the other side can see
        return known
