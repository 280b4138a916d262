"""Open a pinned HTTPS connection to a relay's control endpoint.

The name in the SNI is the relay's control name, which need not be in any DNS; the
address is dialled all the same. Errors come back in the user's words.
"""

from collections.abc import Iterator
import contextlib
import socket
import ssl

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    ServerFingerprintMismatch,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from hearthgate.home.tunnel.errors import RelayKeyError, RelayUnreachableError
from hearthgate.home.tunnel.identity import PinnedKey
from hearthgate.wire.constants import CONTROL_NAME
from hearthgate.wire.names import format_address

DIAL_DEADLINE_S = 15.0


class _RelayResolver(AbstractResolver):
    """Resolve the control name to wherever the relay's address leads."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._resolver = ThreadedResolver()

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,
    ) -> list[ResolveResult]:
        """Return the relay's addresses, as if they were the control name's."""
        found = await self._resolver.resolve(self._host, port, family)
        for one in found:
            one["hostname"] = host
        return found

    async def close(self) -> None:
        """Nothing is held."""


def relay_client(host: str, fingerprint: bytes) -> ClientSession:
    """Return a client that talks to one relay only. The caller closes it."""
    connector = TCPConnector(
        ssl=PinnedKey(fingerprint),
        resolver=_RelayResolver(host),
        use_dns_cache=False,
        force_close=True,
    )
    return ClientSession(
        connector=connector, timeout=ClientTimeout(total=None, connect=DIAL_DEADLINE_S)
    )


def control_url(port: int, path: str, scheme: str = "https") -> str:
    """Return the URL of a path at a relay's control endpoint."""
    return f"{scheme}://{CONTROL_NAME}:{port}{path}"


@contextlib.contextmanager
def relay_errors(host: str, port: int) -> Iterator[None]:
    """Turn what aiohttp and the system raise into RelayKeyError and the like."""
    relay = format_address(host, port)
    try:
        yield
    except ServerFingerprintMismatch as err:
        raise RelayKeyError(relay=relay) from err
    except TimeoutError as err:
        reason = "it took too long"
        raise RelayUnreachableError(relay=relay, reason=reason) from err
    except ClientConnectorError as err:
        reason = _reason(err.os_error)
        raise RelayUnreachableError(relay=relay, reason=reason) from err
    except (ClientError, OSError) as err:
        raise RelayUnreachableError(relay=relay, reason=_reason(err)) from err


def _reason(err: BaseException) -> str:
    if isinstance(err, socket.gaierror):
        return "its name cannot be found"
    if isinstance(err, ssl.SSLError):
        return "no relay speaks there"
    if isinstance(err, ConnectionRefusedError):
        return "the connection was refused"
    if isinstance(err, ConnectionResetError):
        return "the connection was closed at once"
    text = err.strerror if isinstance(err, OSError) else None
    return (text or str(err) or type(err).__name__)[:200]
