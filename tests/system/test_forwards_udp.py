"""UDP forwards through a real relay and a real home."""

import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
import json
import socket
import struct
import subprocess
from typing import Any, cast

import pytest

from hearthgate.relay.limits import Limits
from tests.harness.hearthgate import Json
from tests.harness.ports import free_port
from tests.harness.scene import LOOPBACK, Scene

pytestmark = pytest.mark.keeps("processes")
OTHER_LOOPBACK = "127.0.0.2"  # so that a service may have the public port's number
BOUNDS = Limits()
BASE = BOUNDS.unproven_reply_max
QUESTION = struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + b"\x04lamp\x00\x00\x01\x00\x01"


class Service(asyncio.DatagramProtocol):
    """Answer each datagram; remember from where they come."""

    def __init__(self) -> None:
        self.seen: set[Any] = set()
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ANN401
        if not data:
            return  # the home looks whether something is there
        self.seen.add(addr)
        assert self.transport is not None
        for answer in self.answers(data):
            self.transport.sendto(answer, addr)

    def answers(self, data: bytes) -> list[bytes]:
        return [data]


class Dns(Service):
    """Know one name."""

    def answers(self, data: bytes) -> list[bytes]:
        head = data[:2] + struct.pack("!5H", 0x8180, 1, 1, 0, 0)
        record = struct.pack("!3HIH4B", 0xC00C, 1, 1, 60, 4, 192, 0, 2, 7)
        return [head + data[12:] + record]


class Silent(Service):
    """Say nothing."""

    def answers(self, _data: bytes) -> list[bytes]:
        return []


class Resolver(Service):
    """Answer a question with a long record."""

    def answers(self, data: bytes) -> list[bytes]:
        return [data.ljust(1_000, b"!")]


class Megaphone(Service):
    """Answer a whisper with a flood."""

    def answers(self, data: bytes) -> list[bytes]:
        return [data.ljust(1_200, b"!")] * 50


@contextlib.asynccontextmanager
async def forwarded(
    scene: Scene, service: Service | None = None, *, target: str = ""
) -> AsyncIterator[Json]:
    """Grant a free port of both protocols and forward UDP to a service."""
    port = free_port()
    if service is not None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: service, local_addr=(LOOPBACK, 0)
        )
        target = f"{LOOPBACK}:{transport.get_extra_info('sockname')[1]}"
    grant = ("relay", "grant", scene.name, "--udp", str(port), "--tcp", str(port))
    await asyncio.to_thread(scene.relay.run, *grant)
    added = await scene.add(f"udp://{target or f'{OTHER_LOOPBACK}:{port}'}", "Forward")
    try:
        async with scene.home.api() as api:
            shown = await api.expose(added["id"], public_port=port)
        assert shown["exposure"]["status"]["phase"] == "live", shown
        yield shown
    finally:
        await scene.remove(added["id"])
        await asyncio.to_thread(scene.relay.run, *grant, "--remove")
        if service is not None:
            transport.close()


@contextlib.contextmanager
def visitor(service: Json, address: str = LOOPBACK) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((address, 0))
        sock.connect((LOOPBACK, service["exposure"]["public_port"]))
        yield sock


async def ask(
    sock: socket.socket,
    data: bytes,
    *,
    size: int | None = None,
    tries: int = 40,
    wait_s: float = 0.5,
) -> bytes:
    """Send until an answer comes, as everything over UDP does.

    With a size, others are late ones to an earlier question.
    """
    loop = asyncio.get_running_loop()
    for _ in range(tries):
        await loop.sock_sendall(sock, data)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                answer = await loop.sock_recv(sock, 65_535)
                while size not in (None, len(answer)):
                    answer = await loop.sock_recv(sock, 65_535)
                return answer
    raise AssertionError("no answer")


async def refused(scene: Scene) -> dict[str, int]:
    status = await asyncio.to_thread(scene.relay.status)
    found: dict[str, int] = status["refused"]
    return found


async def test_what_a_visitor_says_comes_back(scene: Scene) -> None:
    async with forwarded(scene, Service()) as service:
        assert service["exposure"]["url"].startswith(f"udp://{LOOPBACK}:")
        with visitor(service) as one, visitor(service) as other:
            for size in (1, 1_200, 9_000):
                assert await ask(one, b"a" * size, size=size) == b"a" * size
            assert await ask(other, b"b") == b"b"


async def test_a_service_that_does_not_exist_is_not_reachable_at_home(
    scene: Scene,
) -> None:
    async with forwarded(scene) as service:  # to a port where nothing listens
        shown = await found(scene, service["id"])
        assert shown["reachable"] is False
        assert shown["problem"] == "Nothing listens there (Connection refused)."
    async with forwarded(scene, Silent()) as service:
        shown = await found(scene, service["id"])
        assert shown["reachable"] is None
        assert "no sign of a fault" in shown["problem"]


async def found(scene: Scene, service_id: str) -> Json:
    """Return a service once it was looked at."""

    def is_known(one: Json) -> bool:
        looked = one["reachable"] is not None or one["problem"] is not None
        return looked and bool(one["id"] == service_id)

    async with scene.home.api() as api:
        return await api.service(is_known)


async def test_each_visitor_has_an_address_of_its_own_for_the_service(
    scene: Scene,
) -> None:
    echo = Service()
    async with forwarded(scene, echo) as service:
        with visitor(service) as one, visitor(service) as other:
            await ask(one, b"a")
            await ask(other, b"b")
            await ask(one, b"c")
    assert len(echo.seen) == 2


async def test_a_dns_server_answers(scene: Scene) -> None:
    async with forwarded(scene, Dns()) as service:
        with visitor(service) as sock:
            answer = await ask(sock, QUESTION)
    assert answer[-4:] == bytes((192, 0, 2, 7))


async def test_somebody_else_cannot_be_flooded_with_answers(scene: Scene) -> None:
    async with forwarded(scene, Megaphone()) as service:
        # Each test that earns or spends has an address of its own.
        with visitor(service, "127.0.0.25") as sock:
            got = len(await ask(sock, b"?", tries=1, wait_s=20))
            got += await rest(sock)
        assert got <= BASE + 3
    assert (await refused(scene))["an answer to an unproven visitor"] >= 40


async def rest(sock: socket.socket) -> int:
    """Return how many bytes still come."""
    loop, got = asyncio.get_running_loop(), 0
    with contextlib.suppress(TimeoutError):
        while True:
            got += len(await asyncio.wait_for(loop.sock_recv(sock, 65_535), 0.5))
    return got


async def test_a_forger_with_many_ports_gets_little_and_who_hears_gets_all(
    scene: Scene,
) -> None:
    """Side by side, with answers of 1,000 bytes: as from DNS, or as a stream."""
    async with forwarded(scene, Resolver()) as service:
        await until_it_is_read(service)
        loop = asyncio.get_running_loop()
        began, sent, got = loop.time(), 0, 0
        with visitor(service, "127.0.0.21") as honest:
            for question in range(200):
                with contextlib.ExitStack() as stack:
                    forger = stack.enter_context(visitor(service, "127.0.0.22"))
                    for _ in range(3):  # goes on without hearing anything
                        forger.send(b"?")
                        sent += 1
                    asked = str(question).encode().ljust(50, b"q")
                    answer = await ask(honest, asked, tries=1, wait_s=20)
                    assert answer[:50] == asked
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            got += len(forger.recv(65_535))
        windows = 1 + (loop.time() - began) / BOUNDS.unproven_reply_window_s
        assert got <= BASE * windows + 3 * sent


async def test_who_asks_from_another_port_each_time_is_answered(scene: Scene) -> None:
    async with forwarded(scene, Resolver()) as service:
        await until_it_is_read(service)
        for _ in range(5):
            with visitor(service, "127.0.0.23") as sock:
                answer = await ask(sock, bytes(50), tries=1, wait_s=20)
                assert len(answer) == 1_000


async def until_it_is_read(service: Json) -> None:
    """Wait until datagrams come through, with an address of its own."""
    with visitor(service, "127.0.0.24") as sock:
        await ask(sock, bytes(400))


async def test_forged_datagrams_are_dropped_and_counted(scene: Scene) -> None:
    async with forwarded(scene, Service()) as service:
        with visitor(service) as sock:
            await ask(sock, b"a")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
                for noise in (b"", b"H", b"H" * 40, bytes(100), b"H" + bytes(1_400)):
                    attacker.sendto(noise, (LOOPBACK, scene.relay.https_port))
            assert await ask(sock, b"b") == b"b"
    assert (await refused(scene))["a datagram of no session"] >= 5


async def test_switching_off_ends_the_flow(scene: Scene) -> None:
    async with forwarded(scene, Service()) as service:
        with visitor(service) as sock:
            await ask(sock, b"a")
            async with scene.home.api() as api:
                await api.hide(service["id"])
            with pytest.raises(ConnectionRefusedError):
                await ask(sock, b"b")


async def test_many_flows_from_one_address_are_bounded(scene: Scene) -> None:
    async with forwarded(scene, Service()) as service:
        with visitor(service) as first, contextlib.ExitStack() as stack:
            await ask(first, b"a")
            for _ in range(100):
                stack.enter_context(visitor(service)).send(b"x")
            assert await ask(first, b"b") == b"b"
    assert (await refused(scene))["an idle flow that made room for another"] >= 37


async def test_wireguard_sized_packets_pass_at_speed(scene: Scene) -> None:
    """A low rate here; docs/decisions.md has the measured ones."""
    async with forwarded(scene) as service:
        port = str(service["exposure"]["public_port"])
        tcp = await scene.add(f"tcp://{OTHER_LOOPBACK}:{port}", "Control")
        async with scene.home.api() as api:
            await api.expose(tcp["id"], public_port=int(port))
        server = await asyncio.create_subprocess_exec(
            *("iperf3", "-s", "-1", "-B", OTHER_LOOPBACK, "-p", port),
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            await asyncio.sleep(0.5)  # it says nothing when it is ready
            client = await asyncio.create_subprocess_exec(
                *("iperf3", "-c", LOOPBACK, "-p", port, "-u", "-b", "50M"),
                *("-l", "1200", "-t", "2", "-J"),
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await asyncio.wait_for(client.communicate(), 30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                server.kill()
            await server.wait()
            await scene.remove(tcp["id"])
    total = json.loads(out)["end"]["sum"]
    assert total["packets"] > 5_000
    assert total["lost_percent"] < 5


def _nft(*words: str) -> None:
    subprocess.run(["nft", *words], check=True, capture_output=True)


@contextlib.contextmanager
def blocked(port: int) -> Iterator[None]:
    """Let no UDP to a port pass, as some networks do."""
    table = ("inet", "hearthgate_test")
    try:
        _nft("add", "table", *table)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs nft and the right to use it")
    try:
        hook = "{ type filter hook output priority 0 ; }"
        _nft("add", "chain", *table, "out", hook)
        _nft("add", "rule", *table, "out", "udp", "dport", str(port), "drop")
        yield
    finally:
        _nft("delete", "table", *table)


async def test_the_owner_sees_what_a_port_has_moved(scene: Scene) -> None:
    async with forwarded(scene, Service()) as service:
        port = f"udp/{service['exposure']['public_port']}"
        with visitor(service) as sock:
            for _ in range(3):
                await ask(sock, b"a" * 100)
        shown = await asyncio.to_thread(
            scene.relay.run, "relay", "show", scene.name, "--json"
        )
        moved = {one["hostname"]: one for one in json.loads(shown)["traffic"]}[port]
        assert moved["visitors"] == 1
        assert moved["to_home"] >= 300
        assert moved["to_visitor"] >= 300


async def test_without_udp_between_home_and_relay_datagrams_go_by_tcp() -> None:
    async with Scene() as scene:
        with blocked(scene.relay.https_port):
            async with forwarded(scene, Service()) as service:
                with visitor(service) as sock:
                    # What was asked before there was a way has waited: all is answered.
                    for size in (1, 1_200, 9_000):
                        assert await ask(sock, b"a" * size, size=size) == b"a" * size
        assert "does not come through" in scene.home.log
