"""A new relay process takes over, and nobody on a forwarded port notices."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
import contextlib
import signal
import socket

import pytest

from tests.harness.hearthgate import Json
from tests.harness.scene import LOOPBACK, PATIENT, Scene
from tests.system import test_forwards_tcp as tcp
from tests.system import test_forwards_udp as udp
from tests.system.test_take_over import until_status


@pytest.fixture
async def town() -> AsyncIterator[Scene]:
    async with Scene(relay_environment=PATIENT) as scene:
        yield scene


async def visit(port: int) -> None:
    """Come, say something, hear it, and leave. Raises OSError, AssertionError."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        writer.write(b"knock knock")
        writer.write_eof()
        assert await reader.read() == b"knock knock"
    finally:
        writer.close()


async def ask(port: int) -> None:
    """Send a datagram from a port of its own until it comes back. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.connect((LOOPBACK, port))
        # What is on its way when the relay changes may be lost, once: it is UDP.
        assert await udp.ask(sock, b"anybody?", tries=40) == b"anybody?"


class Stream:
    """One visitor after the other, each of them new."""

    def __init__(self, come: Callable[[int], Awaitable[None]], service: Json) -> None:
        self.good = 0
        self.bad: list[str] = []
        self.is_over = False
        self._come = come
        self._port = service["exposure"]["public_port"]
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        while not self.is_over:
            problem = ""
            try:
                async with asyncio.timeout(60):
                    await self._come(self._port)
            except Exception as err:  # noqa: BLE001  each is a refused visitor
                problem = repr(err)
            async with self._changed:
                self.good += not problem
                self.bad += [problem] if problem else []
                self._changed.notify_all()

    async def more(self, count: int = 20) -> None:
        wanted = self.good + count
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: self.good >= wanted or self.bad)


@contextlib.asynccontextmanager
async def coming(*streams: Stream) -> AsyncIterator[None]:
    tasks = [
        asyncio.create_task(one.run(), name="visitors")
        for one in streams
        for _ in range(3)
    ]
    try:
        yield
    finally:
        for one in streams:
            one.is_over = True
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def echoing(town: Scene) -> AsyncIterator[Json]:
    """Forward a TCP port to a service that says everything again."""
    async with (
        tcp.serving(tcp.echo) as target,
        tcp.forwarded(town, f"tcp://{LOOPBACK}:{target}") as service,
    ):
        yield service


async def test_no_visitor_of_a_port_is_refused_over_three_restarts(
    town: Scene,
) -> None:
    async with (
        echoing(town) as to_tcp,
        udp.forwarded(town, udp.Service()) as to_udp,
    ):
        streams = [Stream(visit, to_tcp), Stream(ask, to_udp)]
        async with coming(*streams):
            for _ in range(3):
                for one in streams:
                    await one.more()
                old = await town.relay.replace()
                await old.wait()
            for one in streams:
                await one.more()
        assert [one.bad for one in streams] == [[], []]
        await until_status(town)


async def test_a_connection_that_is_open_finishes_with_the_old_process(
    town: Scene,
) -> None:
    async with echoing(town) as service:
        port = tcp.port_of(service)
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(b"a")
        assert await reader.readexactly(1) == b"a"
        old = await town.relay.replace()
        await visit(port)
        writer.write(b"b")
        assert await reader.readexactly(1) == b"b"
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await old.wait()
        await until_status(town)


async def test_visitors_of_a_port_who_wait_go_on_with_the_new_process(
    town: Scene,
) -> None:
    async with echoing(town) as service:
        port = tcp.port_of(service)
        town.home.send(signal.SIGSTOP)  # ten of them are more than there are channels
        try:
            visits = [asyncio.create_task(visit(port), name="visit") for _ in range(10)]
            async with asyncio.timeout(20):
                while (await until_status(town))["waiting"] < 5:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            old = await town.relay.replace()
        finally:
            town.home.send(signal.SIGCONT)
        await asyncio.gather(*visits)
        await old.wait()
        await until_status(town)


async def test_a_port_that_was_taken_over_is_freed_when_it_is_switched_off(
    town: Scene,
) -> None:
    async with echoing(town) as service:
        old = await town.relay.replace()
        await old.wait()
        await visit(tcp.port_of(service))
        async with town.home.api() as api:
            await api.connected()
            await api.hide(service["id"])
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, tcp.port_of(service))
