"""Look whether something listens at a service that is no web page.

    tcp ──connect──▶ reachable, or a sentence why not      udp ──▶ nobody can tell

Sends no byte: what the protocol is, is not our business.
"""

import asyncio
import contextlib

from hearthgate.home.discovery.probe import Probe
from hearthgate.home.model import Scheme, Target

_DEADLINE_S = 5.0


async def knock(target: Target) -> Probe:
    """Return whether a TCP service takes connections. Never raises for the service."""
    if target.scheme is not Scheme.TCP:
        return Probe(reachable=True)
    try:
        async with asyncio.timeout(_DEADLINE_S):
            _, writer = await asyncio.open_connection(target.host, target.port)
    except TimeoutError:
        return Probe(reachable=False, problem="Nothing answers there.")
    except OSError as err:
        reason = err.strerror or "it cannot be reached"
        return Probe(reachable=False, problem=f"Nothing listens there ({reason}).")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return Probe(reachable=True)
