"""TCP forwards over a path between home and relay that breaks."""

import asyncio
from collections.abc import AsyncIterator
import contextlib

from tests.harness.faulty import BLACKHOLE, FaultyRelay, Kind
from tests.harness.scene import LOOPBACK, Scene
from tests.system.test_forwards_tcp import echo, forwarded, port_of, serving


@contextlib.asynccontextmanager
async def broken_path(**relay: str) -> AsyncIterator[tuple[Scene, FaultyRelay]]:
    async with (
        Scene(paired=False, relay_environment=relay) as scene,
        FaultyRelay(scene.relay.https_port) as path,
    ):
        await scene.pair(path.address)
        yield scene, path


async def say_and_hear(port: int, words: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(words)
    writer.write_eof()
    async with asyncio.timeout(30):
        heard = await reader.read()
    writer.close()
    return heard


async def test_visitors_after_each_other_need_one_channel() -> None:
    async with (
        broken_path() as (scene, path),
        serving(echo) as target,
        forwarded(scene, f"tcp://{LOOPBACK}:{target}") as service,
    ):
        assert await say_and_hear(port_of(service), b"first") == b"first"
        before = set(path.of(Kind.CHANNEL))
        for number in range(50):
            words = str(number).encode()
            assert await say_and_hear(port_of(service), words) == words
        after = set(path.of(Kind.CHANNEL))
        assert before <= after
        assert len(after - before) <= 1  # the pool may fill up again meanwhile


async def test_a_visitor_on_a_channel_that_went_silent_is_heard_once() -> None:
    """Its bytes wait until the home has answered, on this channel or another."""
    heard: list[bytes] = []

    async def listen(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        words = await reader.read()
        if words:  # not the agent, which looks whether anything listens
            heard.append(words)
        writer.write(words)
        writer.close()

    async with (
        broken_path(HEARTHGATE_LIMITS__SEALED_TRUST_S="0.05") as (scene, path),
        serving(listen) as target,
        forwarded(scene, f"tcp://{LOOPBACK}:{target}") as service,
    ):
        port = port_of(service)
        assert await say_and_hear(port, b"one") == b"one"
        await path.fault_of(path.of(Kind.CHANNEL), BLACKHOLE)
        await asyncio.sleep(0.2)  # until the relay trusts the channel no more
        assert await say_and_hear(port, b"two") == b"two"
        assert heard == [b"one", b"two"]
        assert "replaying" in scene.relay.log
