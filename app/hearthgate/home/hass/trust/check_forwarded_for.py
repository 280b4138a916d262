"""Ask a web server for one page and read nothing but the status.

    ask ──GET, and a visitor's address as our edge would name it──▶ Core ──▶ status

Core says 400 to whoever names a visitor without being trusted for it. The address that
it saw is ours on that connection, which is what it has to trust.
"""

import asyncio
import contextlib
from dataclasses import dataclass
import ipaddress
import ssl

from hearthgate.home.exposures.self_check import ask_status
from hearthgate.home.hass.errors import CoreAwayError
from hearthgate.home.model import Scheme, Target

PATH = "/manifest.json"  # small, needs no login, and there since 2013
# From a block that no visitor can have (RFC 5737).
_VISITOR = "203.0.113.1"
_DEADLINE_S = 10.0
# Add-ons without the host network get another address here at every start.
_ADD_ON_NETWORK = ipaddress.ip_network("172.30.33.0/24")


@dataclass(frozen=True, slots=True)
class ForwardedForCheck:
    """What came of it."""

    status: int
    source: str  # our address, as Core sees it

    @property
    def proxy(self) -> str:
        """What Core has to trust: an address or a network."""
        address = ipaddress.ip_address(self.source)
        return str(_ADD_ON_NETWORK if address in _ADD_ON_NETWORK else address)


async def check_forwarded_for(target: Target) -> ForwardedForCheck:
    """Ask Core as our edge does for a visitor. Raises CoreAwayError."""
    context = None
    if target.scheme is Scheme.HTTPS:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # its certificate names the public name
    headers = {"X-Forwarded-For": _VISITOR, "X-Forwarded-Proto": "https"}
    try:
        async with asyncio.timeout(_DEADLINE_S):
            reader, writer = await asyncio.open_connection(
                target.host, target.port, ssl=context
            )
            try:
                source = str(writer.get_extra_info("sockname")[0])
                status = await ask_status(
                    reader, writer, host=target.authority, path=PATH, headers=headers
                )
            finally:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except TimeoutError as err:
        raise CoreAwayError(reason="no answer came in time") from err
    except (OSError, EOFError, ValueError) as err:
        raise CoreAwayError(reason=str(err)[:200] or "not reachable") from err
    return ForwardedForCheck(status, source)
