"""The PROXY protocol header, version 2, that tells the edge who the visitor is.

    signature 12 | version+command 1 | family+protocol 1 | length 2 | addresses 12 or 36

Source: HAProxy's proxy-protocol.txt, section 2.2. Only TCP over IPv4 and IPv6, no TLVs:
we are both ends.
"""

import functools
import ipaddress
import struct

_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_PROXY_COMMAND = 0x21  # version 2, PROXY
_TCP4 = 0x11
_TCP6 = 0x21
_IPV4_HEAD = _SIGNATURE + struct.pack("!BBH", _PROXY_COMMAND, _TCP4, 12)
_IPV6_HEAD = _SIGNATURE + struct.pack("!BBH", _PROXY_COMMAND, _TCP6, 36)
_IPV4_BYTES = 4
_MAPPED = b"\x00" * 10 + b"\xff\xff"  # RFC 4291 §2.5.5.2
_PORTS = struct.Struct("!HH")

PROXY_HEADER_MAX_BYTES = len(_IPV6_HEAD) + 36
PROXY_HEADER_SIZES = (len(_IPV4_HEAD) + 12, PROXY_HEADER_MAX_BYTES)

Endpoint = tuple[str, int]  # address without scope or brackets, port


def proxy_header(visitor: Endpoint, relay: Endpoint) -> bytes:
    """Return the header for a visitor's TCP connection to the relay.

    Takes addresses as the kernel writes them. IPv4-mapped IPv6 addresses count as IPv4
    (RFC 4291 §2.5.5.2); if only one side is IPv4, both are written as IPv6.
    """
    source, target = _packed(visitor[0]), _packed(relay[0])
    ports = _PORTS.pack(visitor[1], relay[1])
    if len(source) == len(target) == _IPV4_BYTES:
        return b"".join((_IPV4_HEAD, source, target, ports))
    return b"".join((_IPV6_HEAD, _as_ipv6(source), _as_ipv6(target), ports))


@functools.lru_cache(maxsize=1024)  # the same visitors come again, and one relay
def _packed(text: str) -> bytes:
    """Return an address in network order, without zone and IPv4-mapped form."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return address.packed


def _as_ipv6(packed: bytes) -> bytes:
    return packed if len(packed) > _IPV4_BYTES else _MAPPED + packed
