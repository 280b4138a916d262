"""One side has said all and still listens: through a real relay, nothing gets lost.

    visitor ──hello, bytes, end──▶ RelayProcess ──channel──▶ Tunnel ──▶ the test's edge

HAProxy ends TLS and with it every half-open stream, so here the agent's own tunnel
hands its channels to the test instead.
"""

import asyncio
from collections.abc import AsyncIterator
import contextlib
import hashlib
from pathlib import Path
import random
import socket
import ssl
import time

import pytest

from hearthgate.home.tunnel.identity import Identity
from hearthgate.home.tunnel.pairing import pair
from hearthgate.home.tunnel.tunnel import Tunnel, TunnelOptions
from hearthgate.shared.net.poller import Poller
from hearthgate.wire.proxy import PROXY_HEADER_SIZES
from tests.harness.hearthgate import RelayProcess
from tests.harness.scene import LOOPBACK

HOSTNAME = "tap.home.example.com"
SIZE = 50 * 1024 * 1024
DEADLINE_S = 60.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Tap:
    """A home whose visitors come out as plain streams."""

    def __init__(self, relay: RelayProcess) -> None:
        self._relay = relay
        self._arrived: asyncio.Queue[socket.socket] = asyncio.Queue()

    @contextlib.asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[None]:
        """Pair and publish."""
        code = await asyncio.to_thread(self._relay.invite, "home.example.com", "tap")
        joined = await pair(code, folder)
        poller = Poller(asyncio.get_running_loop())
        tunnel = Tunnel(
            TunnelOptions(
                joined.id, joined.host, joined.port, bytes.fromhex(joined.fingerprint)
            ),
            Identity(folder / joined.id),
            poller=poller,
            hand_over=self._arrived.put_nowait,
            on_status=lambda _status: None,
            clock=time.monotonic,
            wall_clock=time.time,
            rng=random.Random(1),
        )
        tunnel.hostnames = (HOSTNAME,)
        running = asyncio.create_task(tunnel.run(), name="tunnel")
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not tunnel.is_published:  # noqa: ASYNC110  it tells no event
                    await asyncio.sleep(0.01)
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            poller.close()

    async def visit(self) -> tuple[Streams, Streams, bytes]:
        """Return a visitor, what the edge gets of it, and the visitor's hello."""
        visitor = await asyncio.open_connection(LOOPBACK, self._relay.https_port)
        hello = client_hello()
        visitor[1].write(hello)
        async with asyncio.timeout(DEADLINE_S):
            channel = await self._arrived.get()
            edge = await asyncio.open_connection(sock=channel)
            header = await edge[0].readexactly(PROXY_HEADER_SIZES[0])
            assert header.startswith(b"\r\n\r\n\x00\r\nQUIT\n")
            assert await edge[0].readexactly(len(hello)) == hello
        return visitor, edge, hello


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname=HOSTNAME
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


@pytest.fixture
async def tap(tmp_path: Path) -> AsyncIterator[Tap]:
    with RelayProcess() as relay:
        tap = Tap(relay)
        async with tap.open(tmp_path):
            yield tap


@contextlib.asynccontextmanager
async def visited(tap: Tap) -> AsyncIterator[tuple[Streams, Streams]]:
    visitor, edge, _ = await tap.visit()
    try:
        yield visitor, edge
    finally:
        for _, writer in (visitor, edge):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def send_all(writer: asyncio.StreamWriter, content: bytes) -> None:
    """Send in uneven pieces, and then the end of the stream."""
    sizes = random.Random(len(content))
    at = 0
    while at < len(content):
        piece = content[at : at + sizes.randint(1, 400_000)]
        writer.write(piece)
        await writer.drain()
        at += len(piece)
    writer.write_eof()


async def digest_of(reader: asyncio.StreamReader) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    while block := await reader.read(1 << 18):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def known(seed: int) -> tuple[bytes, tuple[int, str]]:
    content = random.Random(seed).randbytes(SIZE)
    return content, (SIZE, hashlib.sha256(content).hexdigest())


async def test_a_visitor_that_has_ended_its_stream_still_gets_50_mb(tap: Tap) -> None:
    content, expected = known(1)
    async with visited(tap) as (visitor, edge), asyncio.timeout(DEADLINE_S):
        visitor[1].write_eof()
        edge[1].write(content[:1])  # until then the relay reads no more of a visitor
        assert await edge[0].read() == b""
        sending = asyncio.create_task(send_all(edge[1], content[1:]))
        assert await digest_of(visitor[0]) == expected
        await sending


async def test_an_edge_that_has_ended_its_stream_still_gets_50_mb(tap: Tap) -> None:
    content, expected = known(2)
    async with visited(tap) as (visitor, edge), asyncio.timeout(DEADLINE_S):
        edge[1].write(b"!")  # the first byte back is what proves the channel alive
        edge[1].write_eof()
        assert await visitor[0].read() == b"!"
        sending = asyncio.create_task(send_all(visitor[1], content))
        assert await digest_of(edge[0]) == expected
        await sending


async def test_50_mb_in_both_directions_survive_that_both_sides_end_at_once(
    tap: Tap,
) -> None:
    """Each end of stream overtakes nothing that was sent before it."""
    up, up_expected = known(3)
    down, down_expected = known(4)
    async with visited(tap) as (visitor, edge), asyncio.timeout(DEADLINE_S):
        found = await asyncio.gather(
            digest_of(edge[0]),
            digest_of(visitor[0]),
            send_all(visitor[1], up),
            send_all(edge[1], down),
        )
    assert list(found[:2]) == [up_expected, down_expected]


async def test_what_a_slow_reader_has_not_read_yet_survives_the_end_of_the_stream(
    tap: Tap,
) -> None:
    content, expected = known(5)
    async with visited(tap) as (visitor, edge), asyncio.timeout(DEADLINE_S):
        sending = asyncio.create_task(send_all(edge[1], content))
        await asyncio.sleep(0.3)  # every buffer on the way is full by now
        assert not sending.done()
        assert await digest_of(visitor[0]) == expected
        await sending


async def test_a_visitor_that_sends_all_and_ends_before_the_edge_answers(
    tap: Tap,
) -> None:
    """The end of the stream arrives while the relay still waits for the first byte."""
    content, expected = known(6)
    async with visited(tap) as (visitor, edge), asyncio.timeout(DEADLINE_S):
        await send_all(visitor[1], content[:100_000])
        edge[1].write(b"go on")
        assert await visitor[0].readexactly(5) == b"go on"
        assert await edge[0].read() == content[:100_000]
        sending = asyncio.create_task(send_all(edge[1], content))
        assert await digest_of(visitor[0]) == expected
        await sending
