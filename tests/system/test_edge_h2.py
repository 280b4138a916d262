"""HTTP/2 towards visitors: authorities, WebSockets over a stream, changes below it."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from hearthgate.home.access import make_access
from tests.support.h2raw import DATA, H2, REFUSED_STREAM, RST_STREAM
from tests.support.visiting import Household, house, household

pytestmark = pytest.mark.usefixtures("haproxy")

HOST = "cottage.example.com"
OTHER = "barn.example.com"
THIRD = "garden.example.com"


def get(authority: str, path: str = "/echo") -> tuple[tuple[str, str], ...]:
    return (
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", authority),
        (":path", path),
    )


async def connect(home: Household, hostname: str) -> H2:
    visitor = await home.visit(hostname, "h2")
    assert visitor.tls.selected_alpn_protocol() == "h2"
    return H2(visitor)


async def test_stream_for_another_name_is_misdirected(tmp_path: Path) -> None:
    """Browsers reuse a connection for every name of its certificate."""
    async with house() as service, household(tmp_path) as home:
        locked = make_access("anna", "a password")
        await home.edge.apply(
            [
                home.route(HOST, service.port),
                home.route(OTHER, service.port, access=locked),
            ]
        )
        h2 = await connect(home, HOST)
        expected = {HOST: 200, HOST.upper(): 200, OTHER: 421, OTHER.upper(): 421}
        for number, (authority, status) in enumerate(expected.items()):
            h2.request(2 * number + 1, *get(authority))
            assert await asyncio.to_thread(h2.status) == status
        assert service.requests == 2


async def test_the_cookie_of_a_password_is_taken_out_of_pieces_too(
    tmp_path: Path,
) -> None:
    """Browsers send each cookie as a field of its own (RFC 9113 §8.2.3)."""
    async with house() as service, household(tmp_path) as home:
        locked = make_access("anna", "a password")
        await home.edge.apply([home.route(HOST, service.port, access=locked)])
        pair = base64.b64encode(b"anna:a password").decode()
        visitor = await home.visit(HOST)
        response = await asyncio.to_thread(
            visitor.ask, headers={"Authorization": f"Basic {pair}"}
        )
        response.read()
        ours = response.headers["Set-Cookie"].partition(";")[0]
        h2 = await connect(home, HOST)
        pieces = ("cookie", "a=1"), ("cookie", ours), ("cookie", "b=2")
        h2.request(1, *get(HOST), *pieces)
        assert await asyncio.to_thread(h2.status) == 200
        _, _, _, body = await asyncio.to_thread(h2.until, DATA)
        seen = [
            value for name, value in json.loads(body)["headers"] if name == "cookie"
        ]
        assert seen == ["a=1; b=2"]


@pytest.mark.parametrize("authority_first", [True, False])
async def test_host_header_beside_the_authority_cannot_mislead(
    tmp_path: Path, *, authority_first: bool
) -> None:
    names = (HOST, OTHER) if authority_first else (OTHER, HOST)
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply(
            [home.route(HOST, service.port), home.route(OTHER, service.port)]
        )
        h2 = await connect(home, HOST)
        h2.request(1, *get(names[0]), ("host", names[1]))
        status = await asyncio.to_thread(h2.status)
        if status == 200:  # HAProxy takes the authority and drops the header
            _, _, _, body = await asyncio.to_thread(h2.until, DATA)
            assert authority_first
            assert OTHER.encode() not in body
        else:
            assert status in {0, 400, 421}
            assert service.requests == 0


async def websocket(h2: H2, stream: int) -> None:
    h2.request(
        stream,
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/ws"),
        ("sec-websocket-version", "13"),
        end=False,
    )
    assert await asyncio.to_thread(h2.status) == 200


async def say(h2: H2, stream: int, word: bytes) -> bytes:
    mask = b"\0\0\0\0"
    h2.data(stream, bytes([0x81, 0x80 | len(word)]) + mask + word)
    _, _, _, payload = await asyncio.to_thread(h2.until, DATA)
    return payload[2:]


async def test_websocket_over_http_2_lives_through_a_change(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        h2 = await connect(home, HOST)
        await websocket(h2, 1)
        assert await say(h2, 1, b"before") == b"before"
        await home.edge.apply(
            [home.route(HOST, service.port), home.route(OTHER, service.port)]
        )
        assert await say(h2, 1, b"after") == b"after"


async def test_old_connection_takes_no_new_request_for_a_hostname_that_is_off(
    tmp_path: Path,
) -> None:
    async with house() as service, household(tmp_path) as home:
        routes = [home.route(HOST, service.port), home.route(OTHER, service.port)]
        await home.edge.apply(routes)
        h2 = await connect(home, HOST)
        h2.request(1, *get(HOST, "/slow"))
        await home.edge.apply([*routes, home.route(THIRD, service.port)])
        h2.request(3, *get(HOST))
        assert await asyncio.to_thread(h2.status) == 200
        await home.edge.apply(routes[1:])
        before = service.requests
        streams = range(5, 25, 2)
        for stream in streams:
            h2.request(stream, *get(HOST))
        for _ in (1, *streams):  # the one that was live, and all that came late
            _, _, _, reason = await asyncio.to_thread(h2.until, RST_STREAM)
            assert reason == REFUSED_STREAM
        assert service.requests == before
