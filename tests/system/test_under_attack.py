"""The running relay under attack, with a healthy home beside it that must not notice.

    attack, again and again ──▶ relay ◀── visitors of lamp.home.example.com: all served

Each attack must be seen in the relay's own counters: one that missed would prove
nothing. What it costs in time is measured by tests/bench/attacks.py, never here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
import contextlib
import functools
from pathlib import Path
import socket

from aiohttp import ClientError, ClientSession
import pytest

from hearthgate.home.tunnel.identity import relay_context
from hearthgate.shared.process.process import allow_many_descriptors
from hearthgate.wire.constants import CONTROL_NAME
from hearthgate.wire.messages import (
    Forward,
    Forwarded,
    Forwards,
    Goodbye,
    GoodbyeReason,
    Publish,
    Published,
)
from hearthgate.wire.ports import Protocol
from tests.harness import attacks, bad_homes
from tests.harness.hearthgate import HomeProcess, RelayProcess
from tests.harness.ports import free_port
from tests.harness.scene import LOOPBACK, Scene
from tests.harness.usage import descriptors, resident_kib, used_s
from tests.support import hellos
from tests.support.fake_agent import FakeAgent

LAMP = "lamp.home.example.com"
VISITS = 25
PATIENCE_S = 15.0  # generous: how long a visit takes is measured elsewhere

pytestmark = pytest.mark.keeps("processes", "sockets")


@pytest.fixture(scope="module")
def town() -> Iterator[Scene]:
    allow_many_descriptors()
    there = Scene(
        relay_environment={
            "HEARTHGATE_METRICS_PORT": "0",
            "HEARTHGATE_LIMITS__HELLO_DEADLINE_S": "3",
            "HEARTHGATE_LIMITS__PLAIN_DEADLINE_S": "3",
        }
    )
    asyncio.run(there.__aenter__())
    try:
        asyncio.run(there.expose(there.web.url, "Lamp"))
        yield there
        assert "Traceback" not in there.relay.log
    finally:
        asyncio.run(there.__aexit__(None, None, None))


def refusals(town: Scene, reason: str) -> float:
    return town.relay.metric(f'refusals_total{{reason="{reason}"}}')


@contextlib.asynccontextmanager
async def under(attack: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Repeat an attack as long as the block runs. Raises what it raises."""

    async def again() -> None:
        while True:
            await attack()
            await asyncio.sleep(0)

    task = asyncio.create_task(again(), name="attack")
    try:
        yield
        if task.done():
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def visit(town: Scene) -> None:
    """Visit the healthy home: it is served, and long before a person gives up."""
    async with asyncio.timeout(PATIENCE_S):
        assert (await town.visit(LAMP, "/echo")).status == 200


async def visited(town: Scene, reason: str) -> None:
    """Visit until the attack was counted, and some times more; all must go well."""
    before = refusals(town, reason)
    visits = 0
    async with asyncio.timeout(120):
        while visits < VISITS or refusals(town, reason) <= before:
            await visit(town)
            visits += 1


ON_443: list[tuple[attacks.Attack, str]] = [
    (attacks.slow_hellos, "nothing said in time"),
    (attacks.one_address, "more connections than allowed from one address"),
    (attacks.unknown_names, "an unknown hostname"),
    (attacks.port_scan, "neither TLS nor a channel"),
    (attacks.truncated_preambles, "nothing said in time"),
    (attacks.guessed_tickets, "a channel of no session"),
]


@pytest.mark.parametrize(
    ("attack", "reason"), ON_443, ids=[one.__name__ for one, _ in ON_443]
)
async def test_visitors_notice_nothing_of(
    town: Scene, attack: attacks.Attack, reason: str
) -> None:
    async with under(functools.partial(attack, town.relay.https_port)):
        await visited(town, reason)


async def test_visitors_notice_nothing_of_fifty_thousand_dropped_connections(
    town: Scene,
) -> None:
    """And nothing of them is left behind: no descriptor, no memory, no work."""
    port, pid = town.relay.https_port, town.relay.pid
    await attacks.dropped(port, count=1000)  # what is taken once and for all
    memory, files = resident_kib(pid), descriptors(pid)
    attack = asyncio.create_task(attacks.dropped(port, count=50_000), name="attack")
    visits = 0
    while not attack.done() or visits < VISITS:
        await visit(town)
        visits += 1
    await attack
    async with asyncio.timeout(30):
        while town.relay.metric("connections") > 0:  # noqa: ASYNC110  a metric
            await asyncio.sleep(0.1)
    assert descriptors(pid) - files < 70  # the home may park up to 64 channels
    assert resident_kib(pid) - memory < 16 * 1024
    used = used_s(pid)
    await asyncio.sleep(1)
    assert used_s(pid) - used < 0.5  # it does not spin


async def test_port_80_goes_on_under_slow_requests(town: Scene) -> None:
    port = town.relay.http_port
    url = f"http://{LOOPBACK}:{port}/x"
    async with (
        under(functools.partial(attacks.slow_requests, port, count=600)),
        ClientSession() as client,
    ):
        before = refusals(town, "more connections than allowed from one address")
        for _ in range(VISITS):
            async with client.get(
                url, headers={"Host": LAMP}, allow_redirects=False
            ) as answer:
                assert answer.status == 308
            await visit(town)
        async with asyncio.timeout(60):
            while (  # noqa: ASYNC110  a metric
                refusals(town, "more connections than allowed from one address")
                <= before
            ):
                await asyncio.sleep(0.1)


async def test_garbage_on_port_80_is_no_bug_of_ours(town: Scene) -> None:
    async with under(functools.partial(attacks.port_scan, town.relay.http_port)):
        await visited(town, "a broken request")


# --- homes that misbehave -------------------------------------------------------------


@contextlib.asynccontextmanager
async def bad_home(town: Scene, folder: Path, name: str) -> AsyncIterator[FakeAgent]:
    code = town.relay.invite(f"{name}.example.com", name)
    agent = await FakeAgent.join(code, folder)
    try:
        yield agent
    finally:
        await agent.close()
        town.relay.run("relay", "revoke", name)


async def test_a_home_that_floods_messages_is_sent_away_and_disturbs_nobody(
    town: Scene, tmp_path: Path
) -> None:
    async with bad_home(town, tmp_path, "flood") as agent:

        async def flood() -> None:
            goodbye = await bad_homes.floods_messages(agent, "flood.example.com")
            assert goodbye in {None, Goodbye(GoodbyeReason.MISBEHAVED)}

        async with under(flood):
            await visited(town, "too many control messages")


HUNGRY_HOMES = [
    ("continues_for_ever", "a message in pieces"),
    ("pings_for_ever", "too many control frames"),
    ("publishes_thousands", "too many names for a minute"),
    ("is_always_another", "a second machine"),
    ("comes_back_at_once", "too many connections of a home"),
]


@pytest.mark.parametrize(("attack", "reason"), HUNGRY_HOMES)
async def test_visitors_notice_nothing_of_a_home_that(
    town: Scene, tmp_path: Path, attack: str, reason: str
) -> None:
    """What it does is within its number of messages, and costs more than they."""
    label = attack.replace("_", "-")
    async with bad_home(town, tmp_path, label) as agent:

        async def misbehave() -> None:
            await bad_homes.BAD_HOMES[attack](agent, f"{label}.example.com")

        async with under(misbehave):
            await visited(town, reason)


async def test_a_home_that_was_sent_away_for_its_appetite_comes_back(
    tmp_path: Path,
) -> None:
    minute = {"HEARTHGATE_LIMITS__CONTROL_NAMES_PER_MINUTE": "60"}
    with RelayProcess(environment=minute) as relay:
        code = await asyncio.to_thread(relay.invite, "a.example.com", "a")
        agent = await FakeAgent.join(code, tmp_path)
        names = [f"n{number}.a.example.com" for number in range(60)]
        await agent.connect()
        assert await agent.publish(*names) == Published(1, {})
        await agent.say(Publish(2, tuple(names)))
        assert await agent.ended() == Goodbye(GoodbyeReason.MISBEHAVED)
        await agent.close()
        await agent.connect()
        async with asyncio.timeout(PATIENCE_S):  # a name each second
            while await agent.publish("n1.a.example.com") != Published(1, {}):
                await agent.close()
                await agent.connect()
        await agent.close()


async def test_a_home_opens_and_closes_ports_only_so_often(tmp_path: Path) -> None:
    minute = {"HEARTHGATE_LIMITS__PORTS_OPENED_PER_MINUTE": "3"}
    ports = [free_port() for _ in range(4)]
    with RelayProcess(environment=minute) as relay:
        code = await asyncio.to_thread(relay.invite, "a.example.com", "a")
        paired = await FakeAgent.join(code, tmp_path)
        for port in ports:
            relay.run("relay", "grant", "a", "--tcp", str(port))
        async with paired as agent:
            forwards = tuple(Forward(Protocol.TCP, port) for port in ports)
            for wanted in (forwards[:3], (), forwards[:1]):
                await agent.say(Forwards(1, wanted))
                told = await agent.hear()
            assert isinstance(told, Forwarded)
            assert list(told.refused) == [str(forwards[0])]
            assert "too often" in told.refused[str(forwards[0])]


# --- strangers at the control endpoint ------------------------------------------------


@pytest.mark.parametrize("source", [attacks.ATTACKER, LOOPBACK])
async def test_homes_come_in_beside_thousands_who_say_nothing(
    town: Scene, tmp_path: Path, source: str
) -> None:
    """From an address of their own, and from the one that these have too."""
    async with bad_home(town, tmp_path, "late") as agent:
        reason = "more connections than allowed from one address"
        before = refusals(town, reason)
        async with attacks.silent_newcomers(town.relay.https_port, sources=[source]):
            assert refusals(town, reason) > before
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(ClientError):
                        await agent.connect()
                        break
                    await agent.close()
            await visit(town)


async def test_strangers_who_finish_tls_and_stop_keep_no_home_out(
    town: Scene, tmp_path: Path
) -> None:
    """Without a certificate, with half a request."""
    async with bad_home(town, tmp_path, "patient") as agent:
        context = relay_context()

        async def stranger(held: contextlib.AsyncExitStack) -> None:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(
                    LOOPBACK,
                    town.relay.https_port,
                    ssl=context,
                    server_hostname=CONTROL_NAME,
                    local_addr=(attacks.ATTACKER, 0),
                )
                held.callback(writer.transport.abort)
                writer.write(b"POST /v1/pair HTTP/1.1\r\nContent-Le")

        async with contextlib.AsyncExitStack() as held:
            async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
                for _ in range(300):
                    tasks.create_task(stranger(held), name="stranger")
            await agent.connect()
            await visit(town)


async def test_all_homes_behind_one_address_come_in_at_once(tmp_path: Path) -> None:
    """More than an address may have of those who have not proved themselves."""
    few = {
        "HEARTHGATE_LIMITS__CONTROL_NEWCOMERS_PER_ADDRESS_MAX": "4",
        "HEARTHGATE_LIMITS__CONTROL_WAITING_PER_ADDRESS_MAX": "40",
    }
    with RelayProcess(environment=few) as relay:
        agents = []
        for number in range(20):
            name = f"home-{number}"
            code = await asyncio.to_thread(relay.invite, f"{name}.example.com", name)
            folder = tmp_path / name
            folder.mkdir()
            agents.append(await FakeAgent.join(code, folder))
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            for agent in agents:
                tasks.create_task(agent.connect(), name="connect")
        assert [one["connected"] for one in relay.homes()] == [True] * 20
        for agent in agents:
            await agent.close()


async def test_a_paired_home_has_a_share_of_connections_too(
    town: Scene, tmp_path: Path
) -> None:
    """Its oldest go, so it disturbs itself alone."""
    async with (
        bad_home(town, tmp_path, "octopus") as agent,
        contextlib.AsyncExitStack() as held,
    ):
        first, *_ = [
            await held.enter_async_context(bad_homes.raw_websocket(agent))
            for _ in range(12)
        ]
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):
                assert await first[0].read() == b""
        await visit(town)


async def test_a_home_that_parks_thousands_of_channels_keeps_what_it_may_have(
    town: Scene, tmp_path: Path
) -> None:
    async with bad_home(town, tmp_path, "parker") as agent:
        await agent.connect()

        async def park() -> None:
            for _ in range(2000):
                await agent.park()

        attack = asyncio.create_task(park(), name="park")
        await visited(town, "more parked channels than allowed")
        await attack
        parked = {one["name"]: one["parked"] for one in town.relay.homes()}
        assert parked["parker"] == agent.welcome.channels_max


async def test_a_home_that_never_answers_costs_only_its_own_visitors(
    town: Scene, tmp_path: Path
) -> None:
    async with bad_home(town, tmp_path, "silent") as agent:

        async def wait() -> None:
            await bad_homes.never_answers(agent, "silent.example.com")

        async with under(wait):
            await visited(town, "more waiting visitors than allowed")


async def test_a_home_that_moves_about_disturbs_nobody(
    town: Scene, tmp_path: Path
) -> None:
    async with bad_home(town, tmp_path, "nomad") as agent:
        generation = (await agent.connect()).generation
        await agent.close()

        async def move() -> None:
            await bad_homes.moves_about(agent, "nomad.example.com")

        async with under(move), asyncio.timeout(120):
            visits = 0
            while visits < VISITS or agent.welcome.generation < generation + 40:
                await visit(town)
                visits += 1


@pytest.mark.parametrize("years", [-30, 30])
async def test_a_home_with_a_broken_clock_disturbs_nobody(
    town: Scene, tmp_path: Path, years: int
) -> None:
    """Shift what Python calls now, by a sitecustomize module; OpenSSL's stays."""
    (tmp_path / "sitecustomize.py").write_text(
        "import time\n"
        "_now = time.time\n"
        f"time.time = lambda: _now() + {years} * 365.25 * 86400\n"
    )
    name = "early" if years < 0 else "late"
    home = HomeProcess(
        {
            **town.acme_environment(),
            "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2] / 'app'}",
        }
    )
    with home:
        code = town.relay.invite(f"{name}.example.com", name)
        async with home.api() as api:
            # It may find the code too old; what counts is who stands beside it.
            with contextlib.suppress(Exception):
                await api.call("POST", "relays", {"code": code})
                await api.connected()
                body = {"name": "Shelf", "url": town.web.url}
                service = await api.call("POST", "services", body)
                shelf = f"shelf.{name}.example.com"
                await town.pebble.set_a_async(shelf, [LOOPBACK])
                await api.expose(service["id"], hostname=shelf)
            for _ in range(VISITS):
                await visit(town)
    town.relay.run("relay", "revoke", name)


# --- the machine ----------------------------------------------------------------------


def test_an_address_that_the_machine_lacks_does_not_keep_the_relay_from_starting() -> (
    None
):
    """Without IPv6 `::` fails like this address, which no machine has."""
    bind = {"HEARTHGATE_BIND": f"{LOOPBACK},2001:db8::1"}
    with RelayProcess(environment=bind) as relay:
        assert "Not listening on 2001:db8::1" in relay.log
        with socket.create_connection((LOOPBACK, relay.https_port)):
            pass


async def test_a_machine_without_ipv6_serves_visitors_as_before(tmp_path: Path) -> None:
    """Refuse every IPv6 socket like a kernel that was started with ipv6.disable=1."""
    (tmp_path / "sitecustomize.py").write_text(
        "import errno, socket\n"
        "_socket = socket.socket\n"
        "class Without(_socket):\n"
        "    def __init__(self, family=-1, *args, **more):\n"
        "        if family == socket.AF_INET6:\n"
        "            raise OSError(errno.EAFNOSUPPORT, 'no IPv6 here')\n"
        "        super().__init__(family, *args, **more)\n"
        "socket.socket = Without\n"
    )
    without = {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2] / 'app'}"}
    async with Scene(
        relay_environment={**without, "HEARTHGATE_BIND": f"{LOOPBACK},::"},
        home_environment=without,
    ) as there:
        await there.expose(there.web.url, "Lamp")
        for _ in range(VISITS):
            await visit(there)
        assert "Not listening on ::: no IPv6 here" in there.relay.log


async def test_a_home_that_comes_back_from_another_address_goes_on(
    town: Scene, tmp_path: Path
) -> None:
    name = "a.mover.example.com"
    async with bad_home(town, tmp_path, "mover") as agent:
        await agent.connect()
        await agent.publish(name)
        moved = FakeAgent(agent.joined, tmp_path)
        await moved.connect()
        assert moved.welcome.generation == agent.welcome.generation + 1
        assert await agent.ended() == Goodbye(GoodbyeReason.REPLACED)
        # The old address' channels are worth nothing any more, the new one's serve.
        old = await agent.park()
        assert await old.is_closed()
        await moved.publish(name)
        channel = await moved.park()
        with contextlib.closing(
            await attacks.dial(town.relay.https_port, hellos.hello(name))
        ):
            await channel.opened()
        await moved.close()
        await visit(town)
