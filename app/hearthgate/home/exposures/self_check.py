"""Visit a hostname of our own through the relay, as the last step of switching on.

    agent ──TLS with the hostname as SNI──▶ relay ──channel──▶ edge ──▶ our certificate
      └──── a home that seals everything, whose names stay here ──┘

What comes back must be the very certificate that the edge has, so this proves the whole
way of a byte without trusting any name or authority. Asks the service for nothing, or
for the status of one page.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
import contextlib
from pathlib import Path
import re
import socket
import ssl
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hearthgate.home.errors import NotSeenFromOutsideError
from hearthgate.home.tunnel.pool import HandOver
from hearthgate.shared.storage.private_files import (
    NotAFileError,
    StateError,
    read_capped,
)
from hearthgate.wire.names import format_address
from hearthgate.wire.proxy import proxy_header

_DEADLINE_S = 10.0
_CERTIFICATE_MAX_BYTES = 256 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])[ \r\n]")

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[str, int, ssl.SSLContext, str], Awaitable[Streams]]


async def dial(
    address: str, port: int, context: ssl.SSLContext, hostname: str
) -> Streams:
    """Connect to the relay, as any visitor does. Raises OSError."""
    return await asyncio.open_connection(
        address, port, ssl=context, server_hostname=hostname
    )


def past_the_relay(hand_over: HandOver) -> Connect:
    """Return what connects to the edge itself, by a function that takes channels."""

    async def connect(
        address: str, port: int, context: ssl.SSLContext, hostname: str
    ) -> Streams:
        nobody = ("0.0.0.0", 0)
        ours, theirs = socket.socketpair()
        for one in (ours, theirs):
            one.setblocking(False)  # noqa: FBT003  the socket module's own name
        ours.send(proxy_header(nobody, nobody))
        hand_over(theirs)
        del address, port
        return await asyncio.open_connection(
            sock=ours, ssl=context, server_hostname=hostname
        )

    return connect


async def visit(
    address: str,
    port: int,
    hostname: str,
    certificate: Path,
    path: str | None = None,
    *,
    connect: Connect = dial,
) -> int | None:
    """Visit a hostname at a relay's address. Raises NotSeenFromOutsideError.

    With a path, the service is asked for it, and the status of its answer is returned.
    """
    try:
        expected = await asyncio.to_thread(_leaf, certificate)
    except (StateError, NotAFileError, ValueError) as err:
        reason = f"the certificate on disk cannot be read ({err})"
        raise NotSeenFromOutsideError(hostname=hostname, reason=reason) from err
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # compared byte by byte below
    try:
        async with asyncio.timeout(_DEADLINE_S):
            reader, writer = await connect(address, port, context, hostname)
            try:
                tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
                found = tls.getpeercert(binary_form=True)
                if found == expected and path is not None:
                    host = format_address(hostname, port)
                    return await ask_status(reader, writer, host=host, path=path)
            finally:
                writer.transport.abort()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, EOFError, ValueError) as err:
        raise NotSeenFromOutsideError(hostname=hostname, reason=_reason(err)) from err
    if found != expected:
        reason = "another certificate came back than the one of this home"
        raise NotSeenFromOutsideError(hostname=hostname, reason=reason)
    return None


async def ask_status(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    host: str,
    path: str,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Send one GET and return the status of the answer.

    Raises OSError, EOFError, or ValueError for what is no HTTP. The caller closes.
    """
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "User-Agent: Hearthgate"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["Connection: close", "", ""]
    writer.write("\r\n".join(lines).encode())
    await writer.drain()
    first = await reader.readline()
    found = _STATUS.match(first)
    if found is None:
        if not first:
            raise EOFError("the connection was closed")
        raise ValueError("the answer is no HTTP")
    return int(found[1])


def _leaf(certificate: Path) -> bytes:
    raw = read_capped(certificate, _CERTIFICATE_MAX_BYTES)
    found = x509.load_pem_x509_certificates(raw or b"")
    return found[0].public_bytes(Encoding.DER)


def _reason(err: Exception) -> str:
    if isinstance(err, TimeoutError):
        return "no answer came in time"
    if isinstance(err, ssl.SSLError):
        return f"the relay refused the name ({err.reason or err})"
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    if isinstance(err, ValueError):
        return "the answer is no HTTP"
    return "the connection was closed"
