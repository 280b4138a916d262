"""Which interfaces to search on, and which announced address to believe.

    ifaddr ──▶ usable_interfaces ──▶ addresses for the mDNS sockets
    A and AAAA records ──▶ choose_address ──▶ one address on the LAN, or none

mDNS itself runs over IPv4 only: every device at hand answers there, AAAA records come
with it, and IPv6 memberships depend on link-local scopes that change with each boot.
Pure but for `read_interfaces`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from pathlib import Path
import re

import ifaddr

__all__ = ["Interface", "choose_address", "read_interfaces", "usable_interfaces"]

# Networks inside this machine: containers, virtual machines, the Supervisor's bridge,
# and tunnels, where multicast goes nowhere and announcements are not the home's.
_INTERNAL = re.compile(
    r"(?:docker|veth|hassio|virbr|vnet|vmnet|vboxnet|cni|flannel|cali|podman|lxc|lxd"
    r"|br-[0-9a-f]{12}|dummy|ifb|tailscale|zt|wg|tun|ppp)",
)
_UP, _LOOPBACK, _POINT_TO_POINT, _MULTICAST = 0x1, 0x8, 0x10, 0x1000  # netdevice(7)


@dataclass(frozen=True, slots=True)
class Interface:
    """An address of this machine, with the network around it."""

    name: str
    address: IPv4Interface | IPv6Interface
    usable: bool = True  # up, and multicast is possible

    @property
    def internal(self) -> bool:
        """Whether it leads to containers, tunnels or nowhere, rather than to a LAN."""
        return _INTERNAL.match(self.name) is not None


def read_interfaces() -> list[Interface]:
    """Return all addresses of this machine. Blocking, but never waits."""
    found = []
    for adapter in ifaddr.get_adapters():
        usable = _can_multicast(adapter.name)
        for ip in adapter.ips:
            text = ip.ip if isinstance(ip.ip, str) else ip.ip[0]
            address = ip_interface(f"{text}/{ip.network_prefix}")
            found.append(Interface(adapter.name, address, usable))
    return found


def _can_multicast(name: str) -> bool:
    """Whether the kernel says up, multicast and not a tunnel; unknown counts as yes."""
    try:
        flags = int(Path("/sys/class/net", name, "flags").read_text("ascii"), 16)
    except (OSError, ValueError):
        return True
    if flags & _LOOPBACK:
        return bool(flags & _UP)  # multicast works there without the flag
    return bool(flags & _UP and flags & _MULTICAST and not flags & _POINT_TO_POINT)


def usable_interfaces(
    present: Iterable[Interface], wanted: Sequence[str]
) -> tuple[str, ...]:
    """Return the IPv4 addresses to search on, sorted.

    Wanted ones if there are any and the machine has them now; else every address that
    leads to a LAN.
    """
    v4 = [each for each in present if isinstance(each.address, IPv4Interface)]
    if wanted:
        wishes = {IPv4Address(each) for each in wanted}
        chosen = {each.address.ip for each in v4 if each.address.ip in wishes}
    else:
        chosen = {
            each.address.ip
            for each in v4
            if each.usable and not each.internal and _leads_to_lan(each)
        }
    return tuple(str(address) for address in sorted(chosen, key=int))


def _leads_to_lan(interface: Interface) -> bool:
    address = interface.address.ip
    return not (address.is_loopback or address.is_unspecified)


def choose_address(
    announced: Iterable[str], *, present: Iterable[Interface], loopback: bool
) -> str | None:
    """Return the address to believe, IPv4 first; None if none is on the LAN.

    On the LAN means private (RFC 1918, RFC 4193 …) or in a network of one of our own
    interfaces, which covers homes with public addresses. Loopback is ours alone: an
    announcement must not point at what listens only there.
    """
    networks = [each.address.network for each in present]
    usable = []
    for text in announced:
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            continue
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            continue
        if _is_reachable(address, loopback=loopback) and (
            address.is_private or any(address in network for network in networks)
        ):
            usable.append(address)
    usable.sort(key=lambda address: (address.version, int(address)))
    return str(usable[0]) if usable else None


def _is_reachable(address: IPv4Address | IPv6Address, *, loopback: bool) -> bool:
    if address.is_loopback:
        return loopback
    if isinstance(address, IPv4Address) and address in _THIS_NETWORK:
        return False
    return not (
        address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or (address.version == 4 and address.is_reserved)  # noqa: PLR2004
    )


_THIS_NETWORK = IPv4Interface("0.0.0.0/8").network
