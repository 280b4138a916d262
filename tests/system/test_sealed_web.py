"""A home that seals everything: who is between home and relay learns no name.

agent ──▶ FaultyRelay, which keeps all it hears ──▶ relay ◀── visitors
"""

import asyncio
from collections.abc import AsyncIterator
import contextlib
import hashlib

from aiohttp import ClientError
import pytest

from tests.harness.faulty import BLACKHOLE, FaultyRelay, Kind
from tests.harness.hearthgate import Api, Json
from tests.harness.scene import Scene

SEAL = {"HEARTHGATE_TUNNEL__SEAL": "true"}
BIG = 20_000_000


@contextlib.asynccontextmanager
async def listened_to(
    home: dict[str, str],
) -> AsyncIterator[tuple[Scene, FaultyRelay, str]]:
    """Give a scene on whose path somebody listens, from before the first exposure."""
    async with (
        Scene(paired=False, home_environment=home) as scene,
        FaultyRelay(scene.relay.https_port) as path,
    ):
        path.overheard = bytearray()
        await scene.pair(path.address)
        service = await scene.expose(scene.web.url, "Lamp")
        yield scene, path, service["exposure"]["hostname"]


@pytest.fixture
async def sealed() -> AsyncIterator[tuple[Scene, FaultyRelay, str]]:
    async with listened_to(SEAL) as parts:
        yield parts


@pytest.mark.parametrize("home", [{}, SEAL], ids=["as usual", "sealed"])
async def test_a_name_is_heard_on_the_way_unless_everything_is_sealed(
    home: dict[str, str],
) -> None:
    async with listened_to(home) as (scene, path, hostname):
        for _ in range(3):
            assert (await scene.visit(hostname, "/echo")).status == 200
        assert path.overheard
        assert (hostname.encode() in path.overheard) == (not home)
        async with scene.home.api() as api:
            (relay,) = (await api.state())["relays"]
        assert relay["sealed"] == bool(home)


async def test_sealed_visitors_get_what_others_get(
    sealed: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, _, hostname = sealed
    told = (await scene.visit(hostname, "/echo", source="127.9.8.7")).json()
    assert told["headers"]["X-Forwarded-For"] == "127.9.8.7"
    body = hashlib.sha256(b"seed").digest() * (BIG // 32)
    sent = await scene.visit(hostname, "/upload", method="PUT", data=body)
    assert sent.json()["sha256"] == hashlib.sha256(body).hexdigest()
    got = await scene.visit(hostname, f"/download?bytes={BIG}")
    assert len(got.body) == BIG
    at_once = [scene.visit(hostname, "/echo") for _ in range(60)]
    assert {one.status for one in await asyncio.gather(*at_once)} == {200}
    versions = await scene.curl(
        hostname, "/echo", "--http2", "-o", "/dev/null", "-w", "%{http_version}"
    )
    assert versions == b"2"


async def test_visitors_after_each_other_share_a_channel(
    sealed: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, path, hostname = sealed
    await scene.visit(hostname, "/echo")
    before = set(path.of(Kind.CHANNEL))
    for _ in range(20):
        assert (await scene.visit(hostname, "/echo")).status == 200
    assert before <= set(path.of(Kind.CHANNEL))  # none was used up


async def test_a_channel_that_went_silent_costs_a_sealed_visitor_a_replay(
    sealed: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, path, hostname = sealed
    await scene.visit(hostname, "/echo")
    await path.fault_of(path.of(Kind.CHANNEL), BLACKHOLE)
    assert (await scene.visit(hostname, "/echo")).status == 200
    assert "replaying" in scene.relay.log


async def test_off_cuts_sealed_visitors_too(
    sealed: tuple[Scene, FaultyRelay, str],
) -> None:
    scene, _, hostname = sealed
    async with (
        scene.visitor(hostname) as client,
        client.get("/sse?interval=0.1") as response,
        scene.home.api() as api,
    ):
        assert await response.content.readany()
        await api.hide(await _service(api))
        async with asyncio.timeout(20):
            with contextlib.suppress(ClientError):
                while await response.content.readany():
                    pass
    with pytest.raises(ClientError):
        await scene.visit(hostname, "/echo")


async def _service(api: Api) -> str:
    state: Json = await api.state()
    (found,) = [one["id"] for one in state["services"] if one["exposure"]]
    return str(found)
