"""Bodies without a length: they pass as they come, are counted, and can be cut."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.h2raw import DATA, END_STREAM, H2, RST_STREAM
from tests.support.visiting import MB, Household, house, household

pytestmark = pytest.mark.usefixtures("haproxy")

HOST = "cottage.example.com"
OTHER = "barn.example.com"


async def open_stream(home: Household) -> H2:
    h2 = H2(await home.visit(HOST, "h2"))
    h2.request(
        1,
        *((":method", "POST"), (":scheme", "https"), (":authority", HOST)),
        *((":path", "/talk"), ("te", "trailers")),
        end=False,
    )
    return h2


async def say(h2: H2, word: bytes, *, end: bool = False) -> bytes:
    h2.data(1, word, end=end)
    _, _, _, piece = await asyncio.to_thread(h2.until, DATA)
    return piece


async def test_piece_is_passed_on_before_the_next_one_comes(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        h2 = await open_stream(home)
        for word in (b"one", b"two", b"three"):
            assert await say(h2, word) == word.upper()
        h2.data(1, b"", end=True)
        _, flags, _, piece = await asyncio.to_thread(h2.until, DATA)
        assert not piece
        assert flags & END_STREAM


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
async def test_upload_without_a_length_arrives_whole(
    tmp_path: Path, protocol: str
) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        async with home.listen() as port:
            curl = await asyncio.create_subprocess_exec(
                "curl", "-sk", protocol, "--resolve", f"{HOST}:{port}:127.0.0.1",
                "-T", "-", f"https://{HOST}:{port}/upload",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await asyncio.wait_for(curl.communicate(bytes(50 * MB)), 60)
        assert json.loads(out) == {"size": 50 * MB}
        traffic = await home.edge.traffic()
        assert traffic.backends[HOST].received > 50 * MB
        assert set(traffic.backends) == {HOST}


async def test_stream_ends_when_its_hostname_is_cut_or_turned_off(
    tmp_path: Path,
) -> None:
    async with house() as service, household(tmp_path) as home:
        routes = [home.route(HOST, service.port), home.route(OTHER, service.port)]
        await home.edge.apply(routes)
        for end in (home.edge.cut(HOST), home.edge.apply(routes[1:])):
            h2 = await open_stream(home)
            assert await say(h2, b"one") == b"ONE"
            await end
            kind, _, _, _ = await asyncio.to_thread(h2.until, RST_STREAM)
            assert kind == RST_STREAM
