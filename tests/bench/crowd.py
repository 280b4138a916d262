"""A thousand homes and ten thousand idle visitors on one relay: memory, and a restart.

    python -m tests.bench.crowd [--homes 1000] [--visitors 10000] [--channels 4]

    this process: fake agents, four parked channels each ──▶ relay ◀── idle visitors

The agents speak the real protocol and come back as the real ones do. The relay is the
real process; its data folder is written at once, because pairing a thousand homes one
by one would measure the disk. All of it needs 27,000 open files in each of the two
processes (`ulimit -n 32768`). Where the system allows fewer, as many visitors come as
fit, and what the others would have taken is worked out from those.
"""

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable
import contextlib
import json
from pathlib import Path
import random
import socket
import ssl
import sys
import tempfile
import time

from aiohttp import ClientError, ClientSession, TCPConnector, WSMsgType
import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
import uvloop

from hearthgate.relay.homes.registry import Home, Registered
from hearthgate.relay.relay import open_keys, open_registry
from hearthgate.relay.settings import RelaySettings
from hearthgate.shared.process.backoff import Backoff
from hearthgate.shared.process.process import allow_many_descriptors
from hearthgate.shared.process.tasks import Tasks
from hearthgate.wire.channel import write_preamble
from hearthgate.wire.constants import CONTROL_NAME
from tests.harness.attacks import dial
from tests.harness.hearthgate import RelayProcess
from tests.harness.usage import resident_kib
from tests.support import hellos

LOOPBACK = "127.0.0.1"
# One address may have 512 connections (visitors_per_address_max).
_ADDRESSES = [f"127.1.0.{number}" for number in range(1, 21)]
_COME_BACK_WITHIN_S = 0.2
_CONNECTS_AT_ONCE = 50
_DEADLINE_S = 120.0
_ARRIVALS_MAX = 1000  # leaves more open files to visitors than the default
_PLAIN_MAX = 100
_OWN = 800  # the relay's or this process' own, and visitors who come and go
_MB = 1_000_000


def name(number: int) -> str:
    """Return the hostname of a home."""
    return f"lamp.home{number}.example.com"


def furnish(data: Path, homes: int, pems: Path) -> list[Path]:
    """Write a relay's data folder with so many homes; return their keys."""
    settings = RelaySettings(data=data)
    registry = open_registry(settings, time.time)
    keys = open_keys(data, registry)
    made, paths = [], []
    for number in range(homes):
        key = ec.generate_private_key(ec.SECP256R1())
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .sign(key, hashes.SHA256())
        )
        pem = request.public_bytes(serialization.Encoding.PEM).decode()
        signed = keys.sign(pem, f"home{number}")
        domain = f"home{number}.example.com"
        made.append(Home(signed.id, f"home{number}", (domain,), 1))
        path = pems / f"{number}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + signed.certificate.encode()
        )
        paths.append(path)
    registry._store.write(Registered(tuple(made)))
    return paths


class Agent:
    """One fake home. Serves a visitor by one byte and then by silence."""

    def __init__(self, number: int, pem: Path, port: int, channels: int) -> None:
        self.connected = asyncio.Event()
        self.sessions = 0
        self._name = name(number)
        self._port = port
        self._channels = channels
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.load_cert_chain(pem)
        self._rng = random.Random(number)
        self._backoff = Backoff(
            first_s=0.5,
            most_s=30.0,
            holds_after_s=60.0,
            clock=time.monotonic,
            rng=self._rng,
        )
        self._parked: set[socket.socket] = set()
        self._served: list[socket.socket] = []
        self._serial = 0
        self._tasks = Tasks()

    async def run(self, client: ClientSession) -> None:
        """Stay connected."""
        while True:
            stopping = False
            with contextlib.suppress(ClientError, OSError, TypeError, TimeoutError):
                stopping = await self._session(client)
            self.connected.clear()
            self._drop()
            delay_s = self._backoff.delay()
            if stopping:
                delay_s = self._rng.random() * _COME_BACK_WITHIN_S
            await asyncio.sleep(delay_s)

    async def _session(self, client: ClientSession) -> bool:
        """Hold one session; True if the relay says that it stops."""
        async with client.ws_connect(
            f"wss://{LOOPBACK}:{self._port}/v1/control",
            ssl=self._context,
            server_hostname=CONTROL_NAME,
            autoping=True,
        ) as control:
            hello = {"type": "hello", "protocols": [1], "software": "crowd"}
            await control.send_json(hello)
            welcome = await control.receive_json()
            session = base64.b64decode(welcome["session_id"])
            key = base64.b64decode(welcome["channel_key"])
            publish = {"type": "publish", "id": 1, "hostnames": [self._name]}
            await control.send_json(publish)
            self._serial = 0
            for _ in range(self._channels):
                await self._park(session, key)
            self._backoff.succeeded()
            async for frame in control:
                if frame.type is not WSMsgType.TEXT:
                    break
                message = json.loads(frame.data)
                match message["type"]:
                    case "published":
                        self.sessions += 1
                        self.connected.set()
                    case "need":
                        for _ in range(message["count"]):
                            await self._park(session, key)
                    case "goodbye":
                        return bool(message["reason"] == "stopping")
        return False

    async def _park(self, session: bytes, key: bytes) -> None:
        self._serial += 1
        sock = await dial(
            self._port, write_preamble(session, self._serial, key), LOOPBACK
        )
        self._parked.add(sock)
        loop = asyncio.get_running_loop()
        loop.add_reader(sock, self._opened, sock, session, key)

    def _opened(self, sock: socket.socket, session: bytes, key: bytes) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(sock)
        self._parked.discard(sock)
        try:
            if not sock.recv(65536):
                sock.close()
                return
            sock.send(b"x")
        except OSError:
            sock.close()
            return
        self._served.append(sock)
        self._tasks.start(self._again(session, key), "park another")

    async def _again(self, session: bytes, key: bytes) -> None:
        with contextlib.suppress(OSError):
            await self._park(session, key)

    def _drop(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in self._parked:
            loop.remove_reader(sock)
            sock.close()
        self._parked.clear()


class Idle:
    """Visitors who got their first byte and stay, and new ones who come and go."""

    def __init__(self, port: int, homes: int) -> None:
        self._port = port
        self._homes = homes
        self._held: list[socket.socket] = []
        self.waits_s: list[float] = []
        self.refused: list[str] = []

    async def visit(self, number: int) -> socket.socket:
        """Come, and wait for the first byte."""
        began = time.perf_counter()
        source = f"127.0.{1 + number % 50}.1"
        hello = hellos.hello(name(number % self._homes))
        sock = await dial(self._port, hello, source)
        got = await asyncio.get_running_loop().sock_recv(sock, 16)
        if got != b"x":
            sock.close()
            raise ConnectionError(f"refused: {got!r}")
        self.waits_s.append(time.perf_counter() - began)
        return sock

    async def fill(self, count: int) -> None:
        """Bring so many, some at a time."""
        gate = asyncio.Semaphore(_CONNECTS_AT_ONCE)

        async def one(number: int) -> None:
            async with gate:
                self._held.append(await self.visit(number))

        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(one(number))

    async def stream(self) -> None:
        """Come and go one after the other, for ever."""
        number = 0
        while True:
            number += 1
            try:
                (await self.visit(number)).close()
            except OSError as err:
                self.refused.append(str(err))
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Leave."""
        for sock in self._held:
            sock.close()


def memory(pid: int, what: str = "VmRSS") -> int:
    """Return the resident memory of a process, in bytes."""
    return resident_kib(pid, what) * 1024


def fitting(homes: int, visitors: int, channels: int) -> int:
    """Return how many of the visitors fit into the files that may be open."""
    allowed = allow_many_descriptors()
    left = allowed - homes * (channels + 1) - _ARRIVALS_MAX - _PLAIN_MAX - _OWN
    fit = max(0, min(visitors, left // 2))
    if fit < visitors:
        say("open files that the system allows a process", f"{allowed:,}")
        say("visitors that fit beside the homes", f"{fit:,} of {visitors:,}")
    return fit


async def back(agents: list[Agent], sessions: int) -> float:
    """Wait until every agent has its next session; return how long that took, in s."""
    began = time.perf_counter()
    async with asyncio.timeout(_DEADLINE_S):
        while not all(  # noqa: ASYNC110  a program that measures
            one.sessions >= sessions and one.connected.is_set() for one in agents
        ):
            await asyncio.sleep(0.02)
    return time.perf_counter() - began


def say(what: str, value: str) -> None:
    """Print one result."""
    print(f"{what:<52} {value}", flush=True)


def _client(address: str) -> ClientSession:
    connector = TCPConnector(limit=0, force_close=True, local_addr=(address, 0))
    return ClientSession(connector=connector)


async def measure(
    relay: RelayProcess, pems: list[Path], visitors: int, channels: int
) -> None:
    """Run the whole simulation."""
    agents = [
        Agent(number, pem, relay.https_port, channels)
        for number, pem in enumerate(pems)
    ]
    idle = Idle(relay.https_port, len(agents))
    fit = fitting(len(agents), visitors, channels)
    empty = memory(relay.pid)
    say("memory, nobody there", f"{empty / _MB:.0f} MB")
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(_client(one)) for one in _ADDRESSES]
        tasks = [
            asyncio.create_task(one.run(clients[number % len(clients)]))
            for number, one in enumerate(agents)
        ]
        try:
            say(f"{len(agents)} homes connected", f"{await back(agents, 1):.1f} s")
            at_home = memory(relay.pid)
            say(f"memory, {len(agents):,} homes", f"{at_home / _MB:.0f} MB")
            say("  each", f"{(at_home - empty) / len(agents) / 1000:.1f} kB")
            await idle.fill(fit)
            with_all = memory(relay.pid)
            each = (with_all - at_home) / max(1, fit)
            say(f"memory, {fit:,} visitors too", f"{with_all / _MB:.0f} MB")
            say("  each", f"{each / 1000:.1f} kB")
            if fit < visitors:
                told = (at_home + each * visitors) / _MB
                say(f"  worked out for {visitors:,}", f"{told:.0f} MB")
            await restarts(relay, agents, idle, tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            idle.close()


async def restarts(
    relay: RelayProcess,
    agents: list[Agent],
    idle: Idle,
    tasks: list["asyncio.Task[None]"],
) -> None:
    """Take the relay over, then kill it and start it; visitors come all the while."""
    tasks.append(asyncio.create_task(idle.stream()))
    for what, act in (("take-over", _take_over), ("kill and start", _kill)):
        idle.waits_s.clear()
        idle.refused.clear()
        await asyncio.sleep(2)
        wanted = [one.sessions + 1 for one in agents]
        said = len(relay.log)
        began = time.perf_counter()
        gone = await act(relay)
        await back(agents, min(wanted))
        say(f"{what}: all homes back", f"{time.perf_counter() - began:.1f} s")
        await gone
        waits = sorted(idle.waits_s)
        say(
            f"{what}: new visitors served, refused, longest",
            f"{len(waits)}, {len(idle.refused)}, {waits[-1] * 1000:.0f} ms",
        )
        for why, count in Counter(idle.refused).most_common(3):
            say("  refused", f"{count} times {why}")
        for line in relay.log[said:].splitlines():
            if "Refused: " in line:
                say("  the relay's log", line.partition("Refused: ")[2])
        say(f"{what}: memory", f"{memory(relay.pid) / _MB:.0f} MB")
        most = memory(relay.pid, "VmHWM") / _MB
        say(f"{what}: the most it ever took", f"{most:.0f} MB")


async def _take_over(relay: RelayProcess) -> Awaitable[None]:
    """Return what waits for the end of the old process."""
    old = await relay.replace()
    return old.wait()


async def _kill(relay: RelayProcess) -> Awaitable[None]:
    relay.kill()
    await relay.start_again()
    return asyncio.sleep(0)


@click.command()
@click.option("--homes", default=1000, show_default=True)
@click.option("--visitors", default=10_000, show_default=True)
@click.option("--channels", default=4, show_default=True, help="parked, of each home")
def main(homes: int, visitors: int, channels: int) -> None:
    """Run the simulation and print what it saw."""
    environment = {
        # The default is five minutes. A second would cut who has no first byte yet,
        # because all the agents of this one process are busy coming back.
        "HEARTHGATE_LINGER": "15",
        "HEARTHGATE_LIMITS__ARRIVALS_MAX": str(_ARRIVALS_MAX),
        "HEARTHGATE_LIMITS__PLAIN_CONNECTIONS_MAX": str(_PLAIN_MAX),
    }
    with tempfile.TemporaryDirectory() as folder:
        relay = RelayProcess(environment=environment)
        pems = furnish(relay.data, homes, Path(folder))
        with (
            relay,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(measure(relay, pems, visitors, channels))


if __name__ == "__main__":
    sys.exit(main())
