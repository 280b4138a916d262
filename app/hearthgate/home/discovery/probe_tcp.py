"""Look whether something listens at a service that is no web page.

    tcp ──connect──────────▶ reachable, or a sentence why not
    udp ──empty datagram───▶ refused (ICMP): nothing listens    silence: nobody can tell

What the protocol is, is not our business: a TCP service gets no byte, a UDP service one
datagram without any, since nothing else makes a host say that nothing listens there.
"""

import asyncio
import contextlib
import os
import socket

from hearthgate.home.discovery.probe import Probe
from hearthgate.home.model import Scheme, Target

_DEADLINE_S = 5.0
# How long the kernel looks for a host that is not there at all: three tries of ARP or
# neighbour discovery, one a second. A refusal comes within a round trip.
_SILENCE_S = 4.0
_UDP_SILENT = "Nothing there answers. Over UDP that alone is no sign of a fault."


async def probe_tcp(target: Target) -> Probe:
    """Return whether something listens. Never raises for the service."""
    look = _knock_udp if target.scheme is Scheme.UDP else _knock_tcp
    try:
        async with asyncio.timeout(_DEADLINE_S):
            return await look(target)
    except TimeoutError:
        return Probe(reachable=False, problem="Nothing answers there.")
    except OSError as err:
        return Probe(reachable=False, problem=f"Nothing listens there ({_why(err)}).")


def _why(err: OSError) -> str:
    """Return the system's words; asyncio's own name the address once more."""
    if err.errno is not None and err.errno > 0:
        return os.strerror(err.errno)
    return err.strerror or "it cannot be reached"  # of a name, in getaddrinfo's words


async def _knock_tcp(target: Target) -> Probe:
    _, writer = await asyncio.open_connection(target.host, target.port)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Probe(reachable=True)


async def _knock_udp(target: Target) -> Probe:
    """Return what is known then. Raises OSError for a refusal, also on the way."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as sock:
        sock.settimeout(0)
        sock.connect(address)  # only then does the kernel tell us of a refusal
        sock.send(b"")
        try:
            async with asyncio.timeout(_SILENCE_S):
                await loop.sock_recv(sock, 1)
        except TimeoutError:
            return Probe(reachable=None, problem=_UDP_SILENT)
    return Probe(reachable=True)
