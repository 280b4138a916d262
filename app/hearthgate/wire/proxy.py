"""The PROXY protocol header, version 2, that tells the edge who the visitor is.

    signature 12 | version+command 1 | family+protocol 1 | length 2 | addresses 12 or 36

Source: HAProxy's proxy-protocol.txt, section 2.2. Only TCP over IPv4 and IPv6, no TLVs:
we are both ends.
"""

import ipaddress
import struct

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_PROXY_COMMAND = 0x21  # version 2, PROXY
_TCP4 = 0x11
_TCP6 = 0x21
_IPV4_HEAD = _SIGNATURE + struct.pack("!BBH", _PROXY_COMMAND, _TCP4, 12)
_IPV6_HEAD = _SIGNATURE + struct.pack("!BBH", _PROXY_COMMAND, _TCP6, 36)
_PORTS = struct.Struct("!HH")

PROXY_HEADER_MAX_BYTES = len(_IPV6_HEAD) + 36
PROXY_HEADER_SIZES = (len(_IPV4_HEAD) + 12, PROXY_HEADER_MAX_BYTES)

Endpoint = tuple[str, int]  # address without scope or brackets, port


def proxy_header(visitor: Endpoint, relay: Endpoint) -> bytes:
    """Return the header for a visitor's TCP connection to the relay.

    IPv4-mapped IPv6 addresses count as IPv4 (RFC 4291 §2.5.5.2); if only one side is
    IPv4, both are written as IPv6. Raises ValueError for what is no address.
    """
    source = plain_address(visitor[0])
    target = plain_address(relay[0])
    ports = _PORTS.pack(visitor[1], relay[1])
    if source.version == target.version == 4:  # noqa: PLR2004  IP version
        return _IPV4_HEAD + source.packed + target.packed + ports
    return _IPV6_HEAD + _as_ipv6(source) + _as_ipv6(target) + ports


def plain_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address without zone and without the IPv4-mapped form."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _as_ipv6(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    if isinstance(address, ipaddress.IPv6Address):
        return address.packed
    return b"\x00" * 10 + b"\xff\xff" + address.packed


def is_proxy_header(data: bytes) -> bool:
    """Tell whether data is exactly one header as `proxy_header` writes it."""
    return len(data) in PROXY_HEADER_SIZES and data[:16] in (_IPV4_HEAD, _IPV6_HEAD)
