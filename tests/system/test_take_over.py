"""A new relay process takes over from a running one, and no visitor notices."""

import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
import json
import signal
import socket
import ssl

from aiohttp import ClientError
import pytest

from tests.harness.hearthgate import Json, ProcessError
from tests.harness.scene import PATIENT, Scene

pytestmark = pytest.mark.keeps("processes")


@pytest.fixture(scope="module")
def town() -> Iterator[Scene]:
    there = Scene(relay_environment={**PATIENT, "HEARTHGATE_METRICS_PORT": "0"})
    asyncio.run(there.__aenter__())
    try:
        asyncio.run(there.expose(there.web.url, "Lamp"))
        yield there
    finally:
        asyncio.run(there.__aexit__(None, None, None))


LAMP = "lamp.home.example.com"


class Stream:
    """New visitors one after the other, each on a connection of its own."""

    def __init__(self, scene: Scene) -> None:
        self.good = 0
        self.bad: list[str] = []
        self._scene = scene
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(60):
                    answer = await self._scene.visit(LAMP, "/echo")
                problem = "" if answer.status == 200 else str(answer.status)
            except Exception as err:  # noqa: BLE001  each is a refused visitor
                problem = repr(err)
            async with self._changed:
                if problem:
                    self.bad.append(problem)
                self.good += not problem
                self._changed.notify_all()

    async def more(self, count: int = 10) -> None:
        wanted = self.good + count
        async with asyncio.timeout(90), self._changed:
            await self._changed.wait_for(lambda: self.good >= wanted or self.bad)


@contextlib.asynccontextmanager
async def stream(scene: Scene, lanes: int = 4) -> AsyncIterator[Stream]:
    visitors = Stream(scene)
    tasks = [asyncio.create_task(visitors.run(), name="visitors") for _ in range(lanes)]
    try:
        await visitors.more()
        yield visitors
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_stream_of_new_visitors_is_served_over_three_restarts(
    town: Scene,
) -> None:
    async with stream(town) as visitors:
        for _ in range(3):
            old = await town.relay.replace()
            await old.wait()
            await visitors.more(20)
        await visitors.more()
    assert visitors.bad == []
    assert town.relay.homes()[0]["connected"]


async def test_a_download_that_is_under_way_finishes_with_the_old_process(
    town: Scene,
) -> None:
    async with town.visitor(LAMP) as visitor:
        response = await visitor.get("/sse", params={"interval": "0.02"})
        await response.content.readany()
        old = await town.relay.replace()
        await town_is_back(town)
        for _ in range(20):
            assert await response.content.readany()
        assert (await town.visit(LAMP, "/echo")).status == 200
        response.close()
    await old.wait()


async def test_turning_off_cuts_who_is_served_by_the_old_process(town: Scene) -> None:
    async with town.visitor(LAMP) as visitor:
        response = await visitor.get("/sse", params={"interval": "0.02"})
        await response.content.readany()
        old = await town.relay.replace()
        await town_is_back(town)
        town.relay.run("relay", "grant", "cottage", "--domain", "else.example.com")
        town.relay.run(
            "relay", "grant", "cottage", "--remove", "--domain", "home.example.com"
        )
        async with asyncio.timeout(20):
            with contextlib.suppress(ClientError, ConnectionError):
                while await response.content.readany():
                    pass
        response.close()
    await old.wait()
    town.relay.run("relay", "grant", "cottage", "--domain", "home.example.com")
    await town_is_back(town)


async def test_who_has_said_half_a_hello_goes_on_with_the_new_process(
    town: Scene,
) -> None:
    hello = half_hello(LAMP)
    reader, writer = await asyncio.open_connection("127.0.0.1", town.relay.https_port)
    writer.write(hello[:40])
    await writer.drain()
    await asyncio.sleep(0)
    old = await town.relay.replace()
    await old.wait()
    writer.write(hello[40:])
    async with asyncio.timeout(30):
        answer = await reader.readexactly(5)
    assert answer[0] in {0x16, 0x15}  # home's TLS answered: a handshake or its alert
    assert answer[0] == 0x16
    writer.close()
    await town_is_back(town)


async def test_visitors_who_wait_for_their_home_go_on_with_the_new_process(
    town: Scene,
) -> None:
    town.home.send(signal.SIGSTOP)  # ten of them are more than there are channels
    try:
        visits = [
            asyncio.create_task(town.visit(LAMP, "/echo"), name="visit")
            for _ in range(10)
        ]
        async with asyncio.timeout(30):
            while town.relay.metric("visitors_waiting") < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        old = await town.relay.replace()
    finally:
        town.home.send(signal.SIGCONT)
    answers = await asyncio.gather(*visits)
    assert [one.status for one in answers] == [200] * 10
    await old.wait()


async def test_one_that_asks_and_dies_leaves_the_old_process_as_it_was(
    town: Scene,
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as knock:
        await asyncio.to_thread(knock.connect, str(town.relay.data / "takeover.sock"))
        knock.send(json.dumps({"kind": "hello", "version": 1}).encode())
        await asyncio.to_thread(knock.recv, 100)
    assert (await town.visit(LAMP, "/echo")).status == 200
    assert await until_status(town)


async def test_an_unknown_version_is_turned_away(town: Scene) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as knock:
        await asyncio.to_thread(knock.connect, str(town.relay.data / "takeover.sock"))
        knock.send(json.dumps({"kind": "hello", "version": 99}).encode())
        assert await asyncio.to_thread(knock.recv, 100) == b""
    assert (await town.visit(LAMP, "/echo")).status == 200


def test_taking_over_where_none_runs_is_a_start(town: Scene) -> None:
    town.relay.stop()
    town.relay.start("--take-over")
    assert "takes over" not in town.relay.log[-500:]


async def test_a_stop_lets_a_download_finish_that_ends_in_time(town: Scene) -> None:
    await town_is_back(town)
    async with town.visitor(LAMP) as visitor:
        response = await visitor.get("/sse", params={"interval": "0.02"})
        await response.content.readany()
        town.relay.send(signal.SIGTERM)
        for _ in range(20):  # more than what was on its way
            assert await response.content.readany()
        response.close()
    await asyncio.to_thread(town.relay.stop)
    await asyncio.to_thread(town.relay.start)
    await town_is_back(town)


async def town_is_back(town: Scene) -> Json:
    async with town.home.api() as api:
        return await api.connected()


async def until_status(town: Scene) -> Json:
    """Return the status once the process that has the commands answers."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(ProcessError):
                return await asyncio.to_thread(town.relay.status)


def half_hello(name: str) -> bytes:
    """Return a whole ClientHello for a name, to be sent in halves."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    stream_ = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        stream_.do_handshake()
    return outgoing.read()
