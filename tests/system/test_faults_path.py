"""The path between home and relay breaks in the ways that networks break.

agent ──▶ FaultyRelay ──▶ relay ◀── visitors, whose own path is whole
"""

import asyncio
from collections.abc import AsyncIterator
import contextlib

from aiohttp import ClientError, StreamReader
import pytest

from tests.harness.faulty import (
    BLACKHOLE,
    PASS,
    Fault,
    FaultyRelay,
    Kind,
    Way,
)
from tests.harness.hearthgate import Api, Process
from tests.harness.scene import Scene

POOL = 4  # parked channels at least
REPLAYING = "replaying"
# Both sides ping every 20 s and wait 10 s for the answer.
NOTICED_S = 60.0


@contextlib.asynccontextmanager
async def broken_path(**more: str) -> AsyncIterator[tuple[Scene, FaultyRelay, str]]:
    """Give a scene whose home goes through a faulty path, and a live hostname."""
    async with (
        Scene(paired=False, home_environment=more) as scene,
        FaultyRelay(scene.relay.https_port) as path,
    ):
        await scene.pair(path.address)
        service = await scene.expose(scene.web.url, "Lamp")
        yield scene, path, service["exposure"]["hostname"]


@pytest.fixture
async def broken() -> AsyncIterator[tuple[Scene, FaultyRelay, str]]:
    async with broken_path() as parts:
        yield parts


async def until_logged(process: Process, words: str, count: int = 1) -> None:
    async with asyncio.timeout(NOTICED_S):
        while process.log.count(words) < count:  # noqa: ASYNC110  a file has no event
            await asyncio.sleep(0.1)


async def read_all(content: StreamReader) -> None:
    while await content.readany():
        pass


async def new_session(api: Api) -> None:
    """Wait until the home is connected and has what it needs."""
    await api.until(
        lambda state: (
            True
            if all(
                one["state"] == "connected" and one["parked"] >= 4
                for one in state["relays"]
            )
            and all(
                one["exposure"]["status"]["phase"] == "live"
                for one in state["services"]
            )
            else None
        )
    )


async def test_parked_channels_that_went_silent_cost_a_visitor_one_replay(
    broken: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, path, hostname = broken
    # A channel that is dialled later would be healthy.
    async with asyncio.timeout(60):
        while (  # noqa: ASYNC110  no event
            (await asyncio.to_thread(scene.relay.homes))[0]["parked"] < POOL
        ):
            await asyncio.sleep(0.1)
    await path.fault_of(path.of(Kind.CHANNEL), BLACKHOLE)
    assert (await scene.visit(hostname, "/echo")).status == 200
    assert scene.relay.log.count(REPLAYING) == 1
    # The others went with it, so nobody else has to find out.
    assert (await scene.visit(hostname, "/echo")).status == 200
    assert scene.relay.log.count(REPLAYING) == 1


async def test_twenty_visitors_at_once_share_the_discovery_that_channels_are_dead(
    broken: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, path, hostname = broken
    await path.fault_of(path.of(Kind.CHANNEL), BLACKHOLE)
    answers = await asyncio.gather(*(scene.visit(hostname, "/echo") for _ in range(20)))
    assert {one.status for one in answers} == {200}


async def test_parked_channels_that_were_reset_cost_a_visitor_nothing(
    broken: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, path, hostname = broken
    for _ in range(3):
        assert path.cut(Kind.CHANNEL)
        assert (await scene.visit(hostname, "/echo")).status == 200


async def test_a_visitor_waits_while_a_cut_control_connection_is_replaced(
    broken: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, path, hostname = broken
    for _ in range(3):
        assert path.cut()
        assert (await scene.visit(hostname, "/echo")).status == 200


async def test_a_cut_control_connection_ends_no_visitor_who_is_inside(
    broken: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, path, hostname = broken
    async with (
        scene.visitor(hostname) as visitor,
        visitor.ws_connect("/ws") as ws,
        scene.home.api() as api,
    ):
        assert path.cut(Kind.CONTROL) == 1
        await until_logged(scene.home, "Connected to the relay", 2)
        await new_session(api)
        await ws.send_str("still here")
        assert (await ws.receive_str()) == "still here"


async def test_a_home_that_can_only_reach_the_control_endpoint_comes_back_whole(
    broken: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, path, hostname = broken
    path.refuse(Kind.CHANNEL)
    path.cut(Kind.CHANNEL)
    await until_logged(scene.home, "No channel to")
    async with scene.home.api() as api:
        assert (await api.state())["relays"][0]["state"] == "connected"
    path.refuse()
    assert (await scene.visit(hostname, "/echo")).status == 200


async def test_a_relay_that_refuses_is_tried_again_until_it_does_not(
    broken: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, path, hostname = broken
    path.refuse(*Kind)
    path.cut()
    async with scene.home.api() as api:
        waiting = await api.until(
            lambda state: next(
                (one for one in state["relays"] if one["state"] == "waiting"), None
            )
        )
        assert waiting["problem"]["retry_at"] is not None
        phase = (await api.state())["services"][0]["exposure"]["status"]["phase"]
        assert phase == "waiting"
        tries = path.accepted
        path.refuse()
        await api.connected()
        assert path.accepted - tries < 20
        await new_session(api)
    assert (await scene.visit(hostname, "/echo")).status == 200


async def test_reconnect_now_does_not_wait_for_the_next_try(
    broken: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, path, _ = broken
    async with scene.home.api() as api:
        relay = await api.connected()
        await api.call("POST", f"relays/{relay['id']}/reconnect")
        await until_logged(scene.relay, "session 2")
        await new_session(api)
    assert len(path.of(Kind.CONTROL)) == 1


async def test_a_slow_and_narrow_path_still_carries_visitors(
    broken: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, path, hostname = broken
    await path.fault(Fault(delay_s=0.3, bytes_per_s=200_000))
    async with scene.home.api() as api:
        path.cut()
        await api.until(
            lambda state: True if state["relays"][0]["state"] != "connected" else None
        )
        await new_session(api)
    answer = await scene.visit(hostname, "/download?bytes=300000")
    assert len(answer.body) == 300_000


@pytest.mark.parametrize("times", [1, 3])
async def test_off_cuts_at_home_although_the_relay_cannot_be_told(
    broken: tuple[Scene, FaultyRelay, str], times: int
) -> None:
    """Wishing it again must not make it forget what the first wish had begun."""
    scene, path, hostname = broken
    async with (
        scene.visitor(hostname) as visitor,
        visitor.get("/sse", params={"interval": "0.05"}) as stream,
        scene.home.api() as api,
    ):
        assert await stream.content.readany()
        service = (await api.state())["services"][0]
        await path.fault(BLACKHOLE, kind=Kind.CONTROL)
        for _ in range(times):
            off = {"enabled": False}
            await api.call("PUT", f"services/{service['id']}/exposure", off)
        async with asyncio.timeout(10):  # promised: a second; a request's own: 15
            with pytest.raises(ClientError):
                await read_all(stream.content)
        assert path.of(Kind.CONTROL)  # not cut because the relay had heard of it
        await path.fault(PASS)
        await api.settled(service["id"], ("off",))
        await api.connected()
        with pytest.raises(ClientError):
            await scene.visit(hostname)


@pytest.mark.slow
async def test_a_blackholed_control_connection_is_noticed_by_both_sides() -> None:
    """Three homes at once, because each waits for half a minute."""

    async def case(ways: tuple[Way, ...]) -> str:
        async with broken_path() as (scene, path, hostname):
            old = path.of(Kind.CONTROL)
            for link in old:
                link.faults = dict.fromkeys(ways, BLACKHOLE)
            await path.fault_of([], PASS)
            await until_logged(scene.relay, "session 2")
            await until_logged(scene.relay, "Session 1 ended")
            async with scene.home.api() as api:
                await new_session(api)
            assert (await scene.visit(hostname, "/echo")).status == 200
            return scene.home.log

    logs = await asyncio.gather(
        case((Way.TO_HOME,)), case((Way.TO_RELAY,)), case(tuple(Way))
    )
    for log in logs:
        assert "makes no sense" not in log
        assert "Traceback" not in log


@pytest.mark.slow
async def test_a_home_behind_a_path_that_swallows_everything_comes_back(
    broken: tuple[Scene, FaultyRelay, str],
) -> None:
    """As when a router forgets all mappings and answers nothing."""
    scene, path, hostname = broken
    await path.fault_of(list(path.links), BLACKHOLE)
    async with asyncio.timeout(NOTICED_S):
        while True:
            with contextlib.suppress(ClientError):
                assert (await scene.visit(hostname, "/echo")).status == 200
                break
        # Channels that were dialled since may have come first.
        await until_logged(scene.relay, "session 2")
    assert (await scene.visit(hostname, "/echo")).status == 200
