"""What the owner of a running relay sees of it: Prometheus' numbers and the log.

visitors, strangers ──▶ relay ──▶ /metrics and log ──▶ the owner
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
import json
from pathlib import Path
import re
import socket
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
import pytest

from tests.harness import attacks
from tests.harness.hearthgate import RelayProcess
from tests.support import hellos
from tests.support.fake_agent import FakeAgent, read

NAME = "a.cottage.example.com"
VISITOR = "127.0.0.67"
SETTINGS = {
    "HEARTHGATE_METRICS_PORT": "0",
    "HEARTHGATE_LOG__FORMAT": "json",
    "HEARTHGATE_LIMITS__HELLO_DEADLINE_S": "0.5",
    "HEARTHGATE_LIMITS__ARRIVALS_PER_ADDRESS_MAX": "100",
    "HEARTHGATE_LIMITS__LOG_PERIOD_S": "0.05",  # so that no address is left out
}
STRANGERS = (
    attacks.unknown_names,
    attacks.port_scan,
    attacks.truncated_preambles,
    attacks.guessed_tickets,
    attacks.one_address,
    attacks.begun_handshakes,
)


@contextlib.contextmanager
def running(**more: str) -> Iterator[RelayProcess]:
    with RelayProcess(environment={**SETTINGS, **more}) as relay:
        yield relay


@contextlib.asynccontextmanager
async def home(relay: RelayProcess, folder: Path) -> AsyncIterator[FakeAgent]:
    code = await asyncio.to_thread(relay.invite, "cottage.example.com", "cottage")
    async with await FakeAgent.join(code, folder) as agent:
        await agent.publish(NAME)
        yield agent


@contextlib.asynccontextmanager
async def visitor(relay: RelayProcess, agent: FakeAgent) -> AsyncIterator[None]:
    """Be served: a byte from home, and three from the visitor."""
    loop = asyncio.get_running_loop()
    channel = await agent.park()
    sock = await attacks.dial(relay.https_port, hellos.hello(NAME), VISITOR)
    with contextlib.closing(sock), contextlib.closing(channel.sock):
        await channel.opened()
        await loop.sock_sendall(channel.sock, b"x")
        assert await read(sock, 1) == b"x"
        await loop.sock_sendall(sock, b"abc")
        assert await channel.read(3) == b"abc"
        yield


async def refuse_strangers(relay: RelayProcess) -> None:
    for attack in STRANGERS:
        await attack(relay.https_port)
    await attacks.port_scan(relay.http_port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((attacks.ATTACKER, 0))
        sock.sendto(b"\0" * 40, ("127.0.0.1", relay.https_port))
    async with asyncio.timeout(20):
        while not relay.metric('refusals_total{reason="nothing said in time"}'):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def metrics_port(relay: RelayProcess) -> int:
    return int(re.findall(r"Metrics are at http://127\.0\.0\.1:(\d+)/", relay.log)[0])


def metrics(relay: RelayProcess) -> dict[tuple[str, ...], float]:
    """Return all numbers, by name and labels, read as Prometheus would."""
    url = f"http://127.0.0.1:{metrics_port(relay)}/metrics"
    with urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_metrics_show_homes_channels_visitors_bytes_refusals_and_latencies(
    tmp_path: Path,
) -> None:
    with running() as relay:
        async with home(relay, tmp_path) as agent:
            await agent.park()
            async with visitor(relay, agent):
                await attacks.unknown_names(relay.https_port, count=7)
                seen = await asyncio.to_thread(metrics, relay)
    assert seen["hearthgate_homes_paired",] == 1
    assert seen["hearthgate_homes_connected",] == 1
    assert seen["hearthgate_hostnames",] == 1
    assert seen["hearthgate_channels_parked",] == 1
    assert seen["hearthgate_visitors",] == 1
    assert seen["hearthgate_visitors_served_total",] == 1
    assert seen["hearthgate_bytes_total", "to_visitor", NAME] == 1
    assert seen["hearthgate_bytes_total", "to_home", NAME] == 3 + len(
        hellos.hello(NAME)
    )
    assert seen["hearthgate_refusals_total", "an unknown hostname"] == 7
    assert seen["hearthgate_first_byte_seconds_count",] == 1
    assert seen["hearthgate_first_byte_seconds_bucket", "+Inf"] == 1
    assert 0 < seen["hearthgate_first_byte_seconds_sum",] < 20
    assert seen["process_open_fds",] > 0


async def test_the_metrics_listen_on_loopback_only() -> None:
    with running(HEARTHGATE_BIND="0.0.0.0") as relay:
        hexadecimal = f":{metrics_port(relay):04X}"
        bound = [
            line.split()[1]
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if line.split()[1].endswith(hexadecimal) and line.split()[3] == "0A"
        ]
    assert bound == [f"0100007F{hexadecimal}"]


async def test_every_line_of_the_log_is_an_object_if_the_owner_wants_that(
    tmp_path: Path,
) -> None:
    with running() as relay:
        async with home(relay, tmp_path) as agent, visitor(relay, agent):
            await refuse_strangers(relay)
        relay.stop()
        lines = [json.loads(line) for line in relay.log.splitlines()]
    assert {"time", "level", "logger", "message"} <= lines[0].keys()
    assert all(line.keys() == lines[0].keys() for line in lines)
    said = [line["message"] for line in lines]
    assert any("Refused: an unknown hostname" in one for one in said)
    assert said[-1] == "Relay has stopped"


@pytest.mark.parametrize("told", [True, False], ids=["on", "off"])
async def test_addresses_of_strangers_and_visitors_are_logged_only_if_wanted(
    tmp_path: Path, *, told: bool
) -> None:
    wish = {"HEARTHGATE_LOG__ADDRESSES": str(told).lower()}
    if told:
        wish["HEARTHGATE_LOG__VISITORS"] = "addresses"
    with running(**wish) as relay:
        async with home(relay, tmp_path) as agent:
            async with visitor(relay, agent):
                await refuse_strangers(relay)
            async with asyncio.timeout(20):
                while relay.metric("visitors"):  # noqa: ASYNC110  a metric
                    await asyncio.sleep(0.05)
        relay.stop()
        assert relay.log.count("Refused:") > 5
        assert (attacks.ATTACKER in relay.log) is told
        assert (VISITOR in relay.log) is told


async def test_a_visitor_has_no_line_unless_the_owner_wants_that(
    tmp_path: Path,
) -> None:
    with running() as relay:
        async with home(relay, tmp_path) as agent:
            before = len(relay.log)
            for _ in range(5):
                async with visitor(relay, agent):
                    pass
            async with asyncio.timeout(20):
                while relay.metric("visitors"):  # noqa: ASYNC110  a metric
                    await asyncio.sleep(0.05)
            assert relay.log[before:] == ""
