"""Visit a hostname of our own through the relay, as the last step of switching on.

    agent ──TLS with the hostname as SNI──▶ relay ──channel──▶ edge ──▶ our certificate

What comes back must be the very certificate that the edge has, so this proves the whole
way of a byte without trusting any name or authority. Asks the service for nothing.
"""

import asyncio
import contextlib
from pathlib import Path
import ssl

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hearthgate.home.errors import NotSeenFromOutsideError

_DEADLINE_S = 10.0


async def visit(address: str, port: int, hostname: str, certificate: Path) -> None:
    """Visit a hostname at a relay's address. Raises NotSeenFromOutsideError."""
    try:
        expected = await asyncio.to_thread(_leaf, certificate)
    except (OSError, ValueError) as err:
        reason = f"the certificate on disk cannot be read ({err})"
        raise NotSeenFromOutsideError(hostname=hostname, reason=reason) from err
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # compared byte by byte below
    try:
        async with asyncio.timeout(_DEADLINE_S):
            found = await _presented(address, port, hostname, context)
    except (OSError, EOFError) as err:
        raise NotSeenFromOutsideError(hostname=hostname, reason=_reason(err)) from err
    if found != expected:
        reason = "another certificate came back than the one of this home"
        raise NotSeenFromOutsideError(hostname=hostname, reason=reason)


async def _presented(
    address: str, port: int, hostname: str, context: ssl.SSLContext
) -> bytes | None:
    _, writer = await asyncio.open_connection(
        address, port, ssl=context, server_hostname=hostname
    )
    try:
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        return tls.getpeercert(binary_form=True)
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _leaf(certificate: Path) -> bytes:
    found = x509.load_pem_x509_certificates(certificate.read_bytes())
    return found[0].public_bytes(Encoding.DER)


def _reason(err: Exception) -> str:
    if isinstance(err, TimeoutError):
        return "no answer came in time"
    if isinstance(err, ssl.SSLError):
        return f"the relay refused the name ({err.reason or err})"
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    return "the connection was closed"
