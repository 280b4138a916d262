"""Large bodies: whole, in both directions, without a cap, and fair to each other."""

import asyncio
from collections.abc import AsyncIterator
import contextlib
import hashlib
import random
import socket
import struct
from typing import cast

from aiohttp import web
import pytest

from tests.harness.hearthgate import Json
from tests.harness.scene import LOOPBACK, Scene
from tests.harness.usage import resident_kib

MIB = 1024 * 1024
LARGE = 300 * MIB
SLOW_KIB = 600  # the pump's buffer, and room; what the kernel keeps is not counted

pytestmark = pytest.mark.keeps("processes")


def blocks(size: int) -> bytes:
    """Return a block that repeats after no power of two, so that a lost one shows."""
    return random.Random(size).randbytes(999_983)


async def stream(size: int) -> AsyncIterator[bytes]:
    block = blocks(size)
    while size > 0:
        yield block[:size]
        size -= len(block)


async def checksum(size: int) -> str:
    digest = hashlib.sha256()
    async for block in stream(size):
        digest.update(block)
    return digest.hexdigest()


@contextlib.asynccontextmanager
async def library(scene: Scene) -> AsyncIterator[Json]:
    """Expose a service that sends known bytes."""

    async def send(request: web.Request) -> web.StreamResponse:
        size = int(request.query["bytes"])
        answer = web.StreamResponse()
        answer.content_length = size
        await answer.prepare(request)
        async for block in stream(size):
            await answer.write(block)
        return answer

    app = web.Application()
    app.router.add_get("/book", send)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0).start()
        port = runner.addresses[0][1]
        service = await scene.expose(f"http://{LOOPBACK}:{port}/", "Library")
        try:
            yield service
        finally:
            await scene.remove(service["id"])
    finally:
        await runner.cleanup()


async def test_an_upload_of_300_mb_arrives_whole(scene: Scene, hostname: str) -> None:
    async with (
        scene.visitor(hostname) as visitor,
        visitor.post("/upload", data=stream(LARGE)) as response,
    ):
        assert response.status == 200
        arrived = await response.json()
    assert arrived == {"bytes": LARGE, "sha256": await checksum(LARGE)}


async def test_a_download_of_300_mb_arrives_whole(scene: Scene) -> None:
    async with (
        library(scene) as service,
        scene.visitor(service["exposure"]["hostname"]) as visitor,
        visitor.get("/book", params={"bytes": str(LARGE)}) as response,
    ):
        digest, size = hashlib.sha256(), 0
        async for block in response.content.iter_any():
            digest.update(block)
            size += len(block)
    assert size == LARGE
    assert digest.hexdigest() == await checksum(LARGE)


async def test_a_large_transfer_costs_neither_side_memory(
    scene: Scene, hostname: str
) -> None:
    """300 MB just went through: whoever had kept them would be larger by now."""
    before = {pid: resident_kib(pid) for pid in (scene.relay.pid, scene.home.pid)}
    async with (
        scene.visitor(hostname) as visitor,
        visitor.get("/download", params={"bytes": str(LARGE)}) as response,
    ):
        most = dict(before)
        async for _ in response.content.iter_chunked(4 * MIB):
            most = {pid: max(most[pid], resident_kib(pid)) for pid in most}
    for pid, kib in most.items():
        assert kib - before[pid] < 32 * 1024


async def test_a_slow_reader_neither_starves_others_nor_fills_the_relay(
    scene: Scene, hostname: str
) -> None:
    """Fifty readers that never read, each with a gigabyte on its way."""
    before = resident_kib(scene.relay.pid)
    path = f"/download?bytes={1024 * MIB}"
    request = f"GET {path} HTTP/1.1\r\nHost: {hostname}\r\n\r\n".encode()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(50):
            reader, writer = await scene.open(hostname)
            stack.callback(writer.transport.abort)
            writer.write(request)
            assert await reader.readexactly(1)
            cast("asyncio.Transport", writer.transport).pause_reading()
        async with scene.visitor(hostname) as visitor:
            for _ in range(5):
                params = {"bytes": str(10 * MIB)}
                async with visitor.get("/download", params=params) as response:
                    assert len(await response.read()) == 10 * MIB
        grown = resident_kib(scene.relay.pid) - before
    assert grown < 50 * SLOW_KIB


async def test_a_visitor_who_leaves_in_the_middle_frees_the_channel(
    scene: Scene, hostname: str
) -> None:
    open_before = await asyncio.to_thread(pairs, scene)
    for _ in range(10):
        reader, writer = await scene.open(hostname)
        request = f"GET /download?bytes={LARGE} HTTP/1.1\r\nHost: {hostname}\r\n\r\n"
        writer.write(request.encode())
        await reader.readexactly(100_000)
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    async with asyncio.timeout(30):
        while await asyncio.to_thread(pairs, scene) > open_before:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def pairs(scene: Scene) -> int:
    """Return how many visitors the relay carries."""
    return int(scene.relay.status()["visitors"])
