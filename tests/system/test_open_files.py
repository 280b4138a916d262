"""The relay at the system's limit of open files: refuses, goes on serving, recovers.

visitors ──▶ relay with few descriptors ◀── a home, with a channel for each
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
from pathlib import Path
import resource
import socket

import pytest

from tests.harness import attacks
from tests.harness.hearthgate import RelayProcess
from tests.harness.usage import descriptors, used_s
from tests.support import hellos
from tests.support.fake_agent import Channel, FakeAgent, read

NAME = "a.cottage.example.com"
ALLOWED = 320
FULL = "more open files than the system allows"
EXHAUSTED = "a connection that failed at once"
QUIET = {"HEARTHGATE_METRICS_PORT": "0"}


@pytest.fixture
def relay() -> Iterator[RelayProcess]:
    with RelayProcess(environment=QUIET, open_files_max=ALLOWED) as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture
async def agent(relay: RelayProcess, tmp_path: Path) -> AsyncIterator[FakeAgent]:
    code = await asyncio.to_thread(relay.invite, "cottage.example.com", "cottage")
    async with await FakeAgent.join(code, tmp_path) as joined:
        await joined.publish(NAME)
        yield joined


Visit = tuple[socket.socket, Channel]


async def visit(agent: FakeAgent, number: int) -> Visit | None:
    """Come, be given a channel and get a first byte; None if refused."""
    loop = asyncio.get_running_loop()
    channel = await agent.park()
    source = f"127.0.{number // 200}.{1 + number % 200}"
    sock = await attacks.dial(agent.joined.port, hellos.hello(NAME), source)
    opened = asyncio.create_task(channel.opened(), name="opened")
    refused = asyncio.create_task(loop.sock_recv(sock, 1), name="refused")
    await asyncio.wait((opened, refused), return_when=asyncio.FIRST_COMPLETED)
    if not opened.done() and not refused.result():
        opened.cancel()
        await asyncio.gather(opened, return_exceptions=True)
        sock.close()
        return None
    await opened
    await loop.sock_sendall(channel.sock, b"x")
    assert await refused == b"x"
    return sock, channel


async def is_served(one: Visit) -> bool:
    """Tell whether bytes go both ways."""
    loop = asyncio.get_running_loop()
    sock, channel = one
    await loop.sock_sendall(sock, b"ping")
    await loop.sock_sendall(channel.sock, b"pong")
    return (await channel.read(4), await read(sock, 4)) == (b"ping", b"pong")


async def fill(agent: FakeAgent, held: contextlib.ExitStack) -> list[Visit]:
    """Let visitors come until one is refused."""
    inside: list[Visit] = []
    while (one := await visit(agent, len(inside))) is not None:
        held.callback(one[0].close)
        inside.append(one)
        assert len(inside) < ALLOWED
    return inside


async def test_visitors_who_do_not_fit_are_refused_and_a_home_still_comes_back(
    relay: RelayProcess, agent: FakeAgent
) -> None:
    with contextlib.ExitStack() as held:
        inside = await fill(agent, held)
        assert len(inside) > ALLOWED // 4
        assert relay.metric(f'refusals_total{{reason="{FULL}"}}') == 1
        assert relay.log.count(f"Refused: {FULL}") == 1
        assert f"The system allows {ALLOWED} open files" in relay.log
        assert all([await is_served(one) for one in inside])

        again = FakeAgent(agent.joined, agent.folder)
        async with again:
            await again.publish(NAME)
            assert all([await is_served(one) for one in inside])
            assert await visit(again, 0) is None
            for sock, _ in inside[: len(inside) // 2]:
                sock.close()
            async with asyncio.timeout(30):
                while (late := await visit(again, 1)) is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            with contextlib.closing(late[0]):
                assert await is_served(late)


async def test_a_system_that_has_no_descriptor_left_stops_nobody_who_is_inside(
    relay: RelayProcess, agent: FakeAgent
) -> None:
    """Take away at once what the relay was promised, as a full system does."""
    with contextlib.ExitStack() as held:
        inside = [await visit(agent, number) for number in range(5)]
        for one in inside:
            assert one is not None
            held.callback(one[0].close)
        metrics = relay.metric("visitors")
        assert metrics == 5
        taken = descriptors(relay.pid)
        _, hard = resource.prlimit(relay.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (taken, hard))
        async with attacks.many(agent.joined.port, 20, b"\x16\x03"):
            async with asyncio.timeout(30):
                while f"Refused: {EXHAUSTED}" not in relay.log:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            for one in inside:
                assert one is not None
                assert await is_served(one)
            before = used_s(relay.pid)
            await asyncio.sleep(1)
            assert used_s(relay.pid) - before < 0.5  # it does not spin
            resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (hard, hard))
        late = await visit(agent, 6)
        assert late is not None
        with contextlib.closing(late[0]):
            assert await is_served(late)
        assert relay.log.count(f"Refused: {EXHAUSTED}") == 1
