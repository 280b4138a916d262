"""The one tunnel through the edge is a WebSocket, and what a route names beside it.

CONNECT, h2c, two Upgrade lines and ":protocol h2c" open none, whatever a service says.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
import contextlib
from dataclasses import replace
from pathlib import Path
import ssl

import pytest

from tests.harness import haproxies
from tests.harness.echoes import echo
from tests.support.h2raw import DATA, H2
from tests.support.visiting import PATIENCE_S, Household, household

pytestmark = pytest.mark.usefixtures("haproxy")

HOST = "cottage.example.com"
OTHER = "barn.example.com"
HEADSCALE = "tailscale-control-protocol"
# What a visitor would like to have the service read as a request.
INSIDE = b"GET /inside HTTP/1.1\r\nRemote-User root\r\n\r\n"


@pytest.fixture(scope="module")
def service() -> Iterator[int]:
    """Run a service that switches to whatever is asked for, and gives CONNECT a 200."""
    with echo("node") as port:
        yield port


@pytest.fixture
async def home(service: int, tmp_path: Path) -> AsyncIterator[Household]:
    """Run an edge with one route that may switch, and one that may not."""
    async with household(tmp_path) as running:
        switches = replace(running.route(HOST, service), protocols=(HEADSCALE,))
        await running.edge.apply([switches, running.route(OTHER, service)])
        yield running


async def through(home: Household, hostname: str, *lines: str) -> tuple[bytes, bytes]:
    """Return the head of the answer, and what comes back for what is sent behind it."""
    visitor = await home.visit(hostname)
    visitor.tls.settimeout(PATIENCE_S)
    # HAProxy itself refuses a WebSocket without its key.
    more = f"Host: {hostname}", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    head = "\r\n".join((*lines, *more, "", "")).encode()

    def talk() -> tuple[bytes, bytes]:
        visitor.tls.sendall(head)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += visitor.tls.recv(65536)
        first, _, rest = answer.partition(b"\r\n\r\n")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            # No request that HAProxy would take for one: it hangs up, unless a tunnel
            # brings it back.
            visitor.tls.sendall(INSIDE)
            while INSIDE not in rest and (chunk := visitor.tls.recv(65536)):
                rest += chunk
        return first, rest

    try:
        return await asyncio.to_thread(talk)
    finally:
        visitor.close()


@pytest.mark.parametrize("target", [HOST, f"{HOST}:443", f"{HOST}:22", "127.0.0.1:22"])
async def test_connect_opens_no_tunnel(home: Household, target: str) -> None:
    visitor = await home.visit(HOST)
    ask = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n"
    answer = await asyncio.to_thread(visitor.raw, ask.encode() + INSIDE)
    # HAProxy itself wants a port in it.
    assert answer.startswith(b"HTTP/1.1 405" if ":" in target else b"HTTP/1.1 400")
    assert b"Connection established" not in answer
    assert b"inside" not in answer


@pytest.mark.parametrize("protocol", ["HTTP/1.1", "HTTP/2"])
@pytest.mark.parametrize("method", ["connect", "Connect"])
async def test_connect_in_other_letters_reaches_no_service(
    home: Household, method: str, protocol: str
) -> None:
    """HAProxy does not know such a method, and some services take it for CONNECT."""
    if protocol == "HTTP/1.1":
        assert (await home.get(HOST, "/", method=method))[0] == 405
        return
    h2 = H2(await home.visit(HOST, "h2"))
    h2.request(
        1,
        *((":method", method), (":scheme", "https")),
        *((":authority", HOST), (":path", "/")),
    )
    assert await asyncio.to_thread(h2.status) == 405


@pytest.mark.parametrize("target", [HOST, f"{HOST}:443", f"{HOST}:22"])
async def test_connect_over_http_2_opens_no_tunnel(
    home: Household, target: str
) -> None:
    h2 = H2(await home.visit(HOST, "h2"))
    h2.request(1, (":method", "CONNECT"), (":authority", target), end=False)
    assert await asyncio.to_thread(h2.status) in {0, 400, 405}


async def test_websocket_is_a_tunnel(home: Household) -> None:
    for name in (HOST, OTHER):
        head, back = await through(
            *(home, name, "GET /ws HTTP/1.1", "Upgrade: WebSocket"),
            *("Connection: keep-alive, Upgrade", "Remote-User: root"),
        )
        assert head.startswith(b"HTTP/1.1 101")
        assert INSIDE in back
        assert b"root" not in seen(head)
        assert b'["upgrade","websocket"]' in seen(head)
        assert b'["connection","Upgrade"]' in seen(head)


def seen(head: bytes) -> bytes:
    line = next(one for one in head.split(b"\r\n") if one.lower()[:7] == b"x-seen:")
    return base64.b64decode(line[8:])


SWITCH = "Connection: Upgrade"
NONE = [
    ("GET / HTTP/1.1", "Upgrade: h2c", SWITCH),
    ("GET / HTTP/1.1", "Upgrade: websocket, h2c", SWITCH),
    ("GET / HTTP/1.1", "Upgrade: h2c, websocket", SWITCH),
    ("GET / HTTP/1.1", "Upgrade: websocket", "Upgrade: h2c", SWITCH),
    ("GET / HTTP/1.1", "Upgrade: h2c", "Upgrade: websocket", SWITCH),
    ("GET / HTTP/1.1", "Upgrade: websocket", "Upgrade: websocket", SWITCH),
    ("GET / HTTP/1.1", "Upgrade: websocket/13", SWITCH),
    ("GET / HTTP/1.1", "Upgrade: websocket"),
    ("GET / HTTP/1.1", "Upgrade: websocket", "Connection: close"),
    ("GET / HTTP/1.0", "Upgrade: h2c", SWITCH),
    ("POST / HTTP/1.1", "Upgrade: websocket", SWITCH, "Content-Length: 0"),
    ("GET / HTTP/1.1", "Upgrade: TLS/1.2", SWITCH),
    ("GET / HTTP/1.1", f"Upgrade: {HEADSCALE}", SWITCH),
    ("OPTIONS / HTTP/1.1", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"),
]


@pytest.mark.parametrize("lines", NONE, ids=" ".join)
async def test_anything_else_is_none(home: Household, lines: tuple[str, ...]) -> None:
    head, back = await through(home, OTHER, *lines)
    if haproxies.version() >= (3, 0) and {"websocket", "h2c"} <= words(lines):
        # This HAProxy takes h2c out by itself, so a WebSocket is all that is asked for.
        assert b'["upgrade","websocket"]' in seen(head)
        assert b"h2c" not in seen(head)
        return
    assert not head.startswith(b"HTTP/1.1 101")
    assert INSIDE not in back


def words(lines: tuple[str, ...]) -> set[str]:
    return set(" ".join(lines).replace(",", " ").split())


@pytest.mark.parametrize(
    "protocol", ["h2c", "h2", "WebSocket2", HEADSCALE, "connect-udp"]
)
async def test_no_other_protocol_over_http_2_is_one(
    home: Household, protocol: str
) -> None:
    h2 = H2(await home.visit(OTHER, "h2"))
    h2.request(
        1,
        (":method", "CONNECT"),
        (":protocol", protocol),
        *((":scheme", "https"), (":authority", OTHER), (":path", "/")),
        end=False,
    )
    assert await asyncio.to_thread(h2.status) in {0, 400, 421}


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_route_may_name_a_protocol(home: Household, method: str) -> None:
    """Headscale's clients switch like this, and nothing of theirs may be missing."""
    ask = (
        *(f"{method} /ts2021 HTTP/1.1", f"Upgrade: {HEADSCALE}", "Connection: upgrade"),
        *("X-Tailscale-Handshake: AAEC", "Content-Length: 0"),
    )
    head, back = await through(home, HOST, *ask)
    assert head.startswith(b"HTTP/1.1 101")
    assert INSIDE in back
    assert f'["upgrade","{HEADSCALE}"]'.encode() in seen(head)
    assert b'"AAEC"' in seen(head)
    head, back = await through(home, OTHER, *ask)
    assert not head.startswith(b"HTTP/1.1 101")


async def test_named_protocol_over_http_2_is_a_tunnel(home: Household) -> None:
    h2 = H2(await home.visit(HOST, "h2"))
    h2.request(
        1,
        (":method", "CONNECT"),
        (":protocol", HEADSCALE),
        *((":scheme", "https"), (":authority", HOST), (":path", "/")),
        end=False,
    )
    assert await asyncio.to_thread(h2.status) == 200
    h2.data(1, INSIDE)
    _, _, _, back = await asyncio.to_thread(h2.until, DATA)
    assert back == INSIDE


@pytest.mark.parametrize("asked", [(), ("Upgrade: websocket", "Connection: Upgrade")])
async def test_service_that_switches_to_something_else_is_not_heard(
    tmp_path: Path, asked: tuple[str, ...]
) -> None:
    async def switch(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
            b"Upgrade: h2c\r\n\r\n"
        )
        writer.write(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(switch, "127.0.0.1", 0)
    async with server, household(tmp_path) as home:
        port = server.sockets[0].getsockname()[1]
        await home.edge.apply([home.route(HOST, port)])
        head, back = await through(home, HOST, "GET / HTTP/1.1", *asked)
        assert head.startswith(b"HTTP/1.1 502")
        assert INSIDE not in back
