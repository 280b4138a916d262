"""A service that knows the PROXY protocol: a HAProxy that says whom it sees.

It refuses connections without the header, and answers each request with the address
that was in it. Listens on loopback only.
"""

import asyncio
from collections.abc import AsyncIterator
import contextlib
from pathlib import Path

from tests.harness.haproxies import program
from tests.harness.ports import free_port

LOOPBACK = "127.0.0.1"
_CONFIG = """
defaults
  mode http
  timeout connect 60s
  timeout client 60s
  timeout server 60s
frontend seen
  bind {bind}
  tcp-request connection expect-proxy layer4
  http-request return status 200 content-type text/plain lf-string "%[src]"
"""


@contextlib.asynccontextmanager
async def proxy_reader(
    folder: Path, certificate: Path | None = None
) -> AsyncIterator[int]:
    """Run one; with a certificate it speaks https. Yield its port."""
    port = free_port()
    bind = f"{LOOPBACK}:{port}" + (f" ssl crt {certificate}" if certificate else "")
    path = folder / f"reader-{port}.cfg"
    path.write_text(_CONFIG.format(bind=bind))
    process = await asyncio.create_subprocess_exec(program(), "-db", "-f", str(path))
    try:
        async with asyncio.timeout(60):
            while not await _listens(port):  # noqa: ASYNC110  nothing tells
                await asyncio.sleep(0.05)
        yield port
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True
