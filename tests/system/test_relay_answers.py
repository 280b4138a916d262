"""What the relay's HTTP answers tell of it, wherever they come from: no version.

port 80, the control endpoint, the metrics, the owner's socket
  with an answer, a 404, a refusal, and what is no HTTP at all
"""

import asyncio
from collections.abc import Iterator
import contextlib
from pathlib import Path
import ssl

import aiohttp
import pytest

import hearthgate
from hearthgate.home.tunnel.identity import relay_context
from hearthgate.wire.constants import CONTROL_NAME
from tests.harness.hearthgate import RelayProcess
from tests.harness.scene import LOOPBACK
from tests.support.fake_agent import FakeAgent

DEADLINE_S = 30.0
PAIR = b"POST /v1/pair HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
SECOND = b"GET /second HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with RelayProcess(environment={"HEARTHGATE_METRICS_PORT": "0"}) as one:
        yield one


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a.example.com\r\n\r\n".encode()


async def ask(
    said: bytes, port: int | Path, context: ssl.SSLContext | None = None
) -> bytes:
    """Say something and return all that comes back until the end, or for a while."""
    if isinstance(port, Path):
        reader, writer = await asyncio.open_unix_connection(port)
    else:
        name = CONTROL_NAME if context else None
        reader, writer = await asyncio.open_connection(
            LOOPBACK, port, ssl=context, server_hostname=name
        )
    try:
        writer.write(said)
        async with asyncio.timeout(DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                if b"close" in head.lower():
                    head += await reader.read()
            return head
    finally:
        writer.transport.abort()


def tells_nothing(answer: bytes) -> bool:
    head = answer.partition(b"\r\n\r\n")[0].lower()
    versions = (aiohttp.__version__, hearthgate.__version__, "python", "aiohttp")
    return b"\r\nserver:" not in head and not any(
        one.lower().encode() in head for one in versions
    )


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (get("/"), b"404"),
        (get("/.well-known/acme-challenge/x"), b"404"),
        (b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n", b"400"),
        (b"no HTTP at all\r\n\r\n", b"400"),
    ],
)
async def test_port_80_names_no_software(
    relay: RelayProcess, said: bytes, status: bytes
) -> None:
    answer = await ask(said, relay.http_port)
    assert answer.split()[1] == status
    assert tells_nothing(answer)


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (get("/"), b"404"),
        (get("/v1/control"), b"403"),
        (PAIR, b"400"),
        (b"no HTTP at all\r\n\r\n", b"400"),
    ],
)
async def test_the_control_endpoint_names_no_software(
    relay: RelayProcess, said: bytes, status: bytes
) -> None:
    answer = await ask(said, relay.https_port, relay_context())
    assert answer.split()[1] == status
    assert tells_nothing(answer)


async def test_a_control_connection_names_no_software(
    relay: RelayProcess, tmp_path: Path
) -> None:
    code = await asyncio.to_thread(relay.invite, "a.example.com", "a")
    agent = await FakeAgent.join(code, tmp_path)
    upgrade = (
        b"GET /v1/control HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: %d\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    for version, status in ((13, b"101"), (3, b"400")):
        context = agent.identity.context()
        answer = await ask(upgrade % version, relay.https_port, context)
        assert answer.split()[1] == status
        assert tells_nothing(answer)


async def test_metrics_and_the_owners_socket_name_no_software(
    relay: RelayProcess,
) -> None:
    metrics = relay.metrics_port
    for port in (metrics, relay.data / "relay.sock"):
        for said, status in (
            (get("/metrics" if port == metrics else "/health"), b"200"),
            (get("/nothing"), b"404"),
            (b"no HTTP at all\r\n\r\n", b"400"),
        ):
            answer = await ask(said, port)
            assert answer.split()[1] == status
            assert tells_nothing(answer)


async def test_nothing_behind_the_first_request_is_answered(
    relay: RelayProcess,
) -> None:
    """A thousand requests in one packet cost what one costs."""
    for port, context in (
        (relay.http_port, None),
        (relay.https_port, relay_context()),
    ):
        answer = await ask(get("/first") + SECOND * 1000, port, context)
        assert answer.count(b"HTTP/1.1 ") == 1
