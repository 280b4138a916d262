"""Whom an address stands for, where strangers are counted. A pure function."""

import ipaddress


def subscriber(address: str) -> str:
    """Return what counts as one visitor: an IPv4 address, or the /64 of an IPv6 one.

    A /64 is what one household has (RFC 6177 §2), so changing addresses within it makes
    nobody a new visitor. Text that is no address stands for itself.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
