import asyncio
import contextlib
from pathlib import Path
import re
import socket
from typing import cast

from aiohttp import ClientError, ClientSession
import pytest

from hearthgate.relay.accept.connection_limiter import ConnectionLimiter
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.counting.traffic import (
    FIRST_BYTE_BOUNDS_S,
    OTHER_HOSTNAMES,
    Traffic,
)
from hearthgate.relay.homes.sessions import Sessions
from hearthgate.relay.owner.metrics import Collector, MetricsPort
from hearthgate.relay.visitors.pump import Pump
from hearthgate.shared.net.poller import Poller
from tests.support.relay_parts import (
    COTTAGE,
    SMALL,
    Clock,
    open_registry,
    tcp_pair,
    until,
)

LAMP = "lamp.cottage.example.com"


def test_bytes_are_counted_by_hostname() -> None:
    traffic = Traffic()
    traffic.opened(LAMP, 500, 0.02)
    traffic.ended(LAMP, 100, 9000)
    traffic.ended(LAMP, 1, 1)
    moved = traffic.by_hostname([(LAMP, 10, 20)])[LAMP]
    assert (moved.to_home, moved.to_visitor) == (611, 9021)


def test_a_visitor_who_leaves_takes_nothing_off_the_total() -> None:
    traffic = Traffic()
    traffic.opened(LAMP, 0, 0.02)
    before = traffic.by_hostname([(LAMP, 10, 20)])[LAMP]
    traffic.ended(LAMP, 10, 20)
    assert traffic.by_hostname()[LAMP] == before


def test_more_hostnames_than_allowed_are_counted_together() -> None:
    traffic = Traffic(hostnames_max=2)
    for number in range(5):
        traffic.ended(f"{number}.example.com", 1, 0)
    moved = traffic.by_hostname([("9.example.com", 1, 0)])
    assert set(moved) == {"0.example.com", "1.example.com", OTHER_HOSTNAMES}
    assert moved[OTHER_HOSTNAMES].to_home == 4


def test_each_wait_is_in_one_bucket() -> None:
    traffic = Traffic()
    for waited_s in (0.0, 0.005, 0.0051, 99.0):
        traffic.opened(LAMP, 0, waited_s)
    assert traffic.first_bytes[:2] == [2, 1]
    assert traffic.first_bytes[len(FIRST_BYTE_BOUNDS_S)] == 1


async def test_a_scrape_shows_live_visitors_and_what_was_refused(
    tmp_path: Path,
) -> None:

    clock = Clock()
    poller = Poller(asyncio.get_running_loop())
    pump = Pump(poller)
    sessions = Sessions(poller, SMALL, clock=clock)
    counters = Counters(clock=clock, log_period_s=60.0)
    counters.refuse('a "strange"\nhostname')
    traffic = Traffic()
    session = sessions.begin(COTTAGE, lambda _message: None, lambda: None)
    sessions.publish(session, [LAMP])
    visitor, ours = tcp_pair()
    channel, theirs = tcp_pair()
    poller.add(channel.fileno(), 1, lambda _events: None)
    pair = pump.join(ours, channel, b"hello", lambda _pair: None)
    sessions.routes[LAMP].live.add(pair)
    pair.channel.taken = 4321
    traffic.opened(LAMP, 5, 0.02)
    collector = Collector(
        registry=open_registry(tmp_path / "relay.yaml", clock),
        sessions=sessions,
        pump=pump,
        counters=counters,
        traffic=traffic,
        limiter=ConnectionLimiter(total_max=1, per_address_max=1),
    )
    try:
        found = dict(re.findall(r"^(\S+?) ([0-9.e+]+)$", collector.text().decode(), 8))
        assert float(found["hearthgate_homes_connected"]) == 1
        assert float(found["hearthgate_visitors"]) == 1
        label = f'hostname="{LAMP}"'
        moved = found[f'hearthgate_bytes_total{{direction="to_visitor",{label}}}']
        assert float(moved) == 4321
        assert float(found['hearthgate_first_byte_seconds_bucket{le="0.025"}']) == 1
        assert float(found['hearthgate_first_byte_seconds_bucket{le="0.01"}']) == 0
        text = collector.text().decode()
        assert r'reason="a \"strange\"\nhostname"' in text
    finally:
        pump.close()
        visitor.close()
        theirs.close()
        poller.close()


async def test_a_port_that_is_taken_is_listened_on_once_it_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever it fails by: a relay serves without its numbers too."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        metrics = MetricsPort(cast("Collector", None), "127.0.0.1", port, retry_s=0.01)
        await metrics.open()
        with monkeypatch.context() as patched:
            tries = 0

            async def fail() -> None:
                nonlocal tries
                tries += 1
                raise UnicodeError("label empty or too long")

            patched.setattr(metrics, "_listen", fail)
            await until(lambda: tries > 2)
    async with ClientSession() as client:

        async def answers() -> bool:
            with contextlib.suppress(ClientError):
                async with client.get(f"http://127.0.0.1:{port}/") as answer:
                    return answer.status == 404
            return False

        async with asyncio.timeout(30):
            while not await answers():  # noqa: ASYNC110  no event
                await asyncio.sleep(0.01)
    await metrics.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 5)
