"""Deadlines and bounds in front of every application of ours, and few words of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
import contextlib
import logging
import socket

from aiohttp import web
import pytest

from hearthgate.shared.net.http_server import HttpBounds, HttpServer
from hearthgate.shared.net.subscribers import subscriber
from hearthgate.shared.process.seldom import Seldom

PATIENCE_S = 60
SOON_S = 0.2  # a deadline that passes while a test waits for the end of a connection
ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[..., Awaitable[Callable[[], Awaitable[Streams]]]]


class App:
    """Answers, fails, or waits until it is told."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    def made(self) -> web.Application:
        application = web.Application(client_max_size=1000)
        application.router.add_get("/", self.hello)
        application.router.add_get("/large", self.large)
        application.router.add_get("/wait", self.wait)
        application.router.add_get("/fail", self.fail)
        application.router.add_post("/", self.take)
        application.router.add_get("/live", self.live)
        return application

    async def hello(self, _request: web.Request) -> web.Response:
        return web.Response(text="hello")

    async def large(self, _request: web.Request) -> web.Response:
        return web.Response(body=bytes(64 * 1024 * 1024))

    async def wait(self, _request: web.Request) -> web.Response:
        await self.release.wait()
        return web.Response(text="waited")

    async def fail(self, _request: web.Request) -> web.Response:
        raise RuntimeError("a bug of ours")

    async def take(self, request: web.Request) -> web.Response:
        return web.Response(text=await request.text())

    async def live(self, request: web.Request) -> web.WebSocketResponse:
        page = web.WebSocketResponse()
        await page.prepare(request)
        async for message in page:
            await page.send_str(f"heard {message.data}")
        return page


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Give a function that serves an App with bounds, and returns how to connect."""
    async with contextlib.AsyncExitStack() as owned:

        async def start(
            app: App, family: int = socket.AF_INET, **bounds: object
        ) -> Callable[[], Awaitable[Streams]]:
            listener = socket.socket(family)
            listener.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
            place = listener.getsockname()
            server = HttpServer(
                app.made(),
                HttpBounds(**bounds),  # type: ignore[arg-type]  # of several types
                what="page",
                stop_s=1.0,
            )
            await server.start(listener)
            owned.push_async_callback(server.close)

            async def connect() -> Streams:
                reader, writer = await asyncio.open_connection(place[0], place[1])
                owned.callback(writer.close)
                return reader, writer

            return connect

        yield start


async def answer(streams: Streams, request: bytes = ASK) -> bytes:
    """Return the answer, head and body."""
    reader, writer = streams
    writer.write(request)
    async with asyncio.timeout(PATIENCE_S):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        return head + await reader.readexactly(length)


async def is_ended(streams: Streams) -> bool:
    """Return once the other side has ended the connection, without a word."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await streams[0].read() == b""
        except ConnectionResetError:
            return True


@pytest.mark.parametrize(
    "beginning", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "]
)
async def test_a_header_that_does_not_come_ends_the_connection(
    serve: Serve, beginning: bytes
) -> None:
    streams = await (await serve(App(), head_s=SOON_S))()
    streams[1].write(beginning)
    assert await is_ended(streams)


async def test_a_header_that_drips_gets_no_more_time(serve: Serve) -> None:
    streams = await (await serve(App(), head_s=SOON_S))()
    ended = asyncio.create_task(is_ended(streams))
    streams[1].write(b"GET / HTTP/1.1\r\n")
    while not ended.done():  # it would go on for ever
        with contextlib.suppress(ConnectionError):
            streams[1].write(b"X: y\r\n")
            await streams[1].drain()
        await asyncio.sleep(0.01)
    assert await ended


async def test_the_second_header_of_a_connection_has_the_same_deadline(
    serve: Serve,
) -> None:
    streams = await (await serve(App(), head_s=SOON_S))()
    assert await answer(streams)
    streams[1].write(b"GET / HT")
    assert await is_ended(streams)


async def test_a_connection_without_a_next_request_ends(serve: Serve) -> None:
    streams = await (await serve(App(), idle_s=SOON_S))()
    assert await answer(streams)
    assert await is_ended(streams)


async def test_an_answer_that_nobody_takes_ends_the_connection(serve: Serve) -> None:
    connect = await serve(App(), idle_s=SOON_S, per_address_max=1)
    _, writer = await connect()
    writer.write(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        while True:  # there is room again once the first one is gone
            other = await connect()
            with contextlib.suppress(OSError, EOFError):
                assert await answer(other)
                return


async def test_work_and_a_websocket_outlive_the_deadlines(serve: Serve) -> None:
    app = App()
    connect = await serve(app, head_s=SOON_S, idle_s=SOON_S)
    works, live, silent = [await connect() for _ in range(3)]
    works[1].write(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    live[1].write(
        b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket"
        b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        b"MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    async with asyncio.timeout(PATIENCE_S):
        assert b" 101 " in await live[0].readuntil(b"\r\n\r\n")
    assert await is_ended(silent)  # by now the time of the others were up as well
    app.release.set()
    assert b" 200 " in await answer(works, b"")
    live[1].write(bytes([0x81, 0x82, 0, 0, 0, 0]) + b"hi")
    async with asyncio.timeout(PATIENCE_S):
        assert await live[0].readexactly(10) == b"\x81\x08heard hi"


async def test_one_address_has_its_bound_and_gives_room_back(serve: Serve) -> None:
    connect = await serve(App(), per_address_max=2)
    first, second = await connect(), await connect()
    assert await answer(first)
    assert await answer(second)
    assert await is_ended(await connect())
    first[1].close()
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(OSError, EOFError):
                assert await answer(await connect())
                break
    assert await answer(second)


async def test_all_strangers_together_have_a_bound(serve: Serve) -> None:
    connect = await serve(App(), connections_max=1)
    first = await connect()
    assert await answer(first)
    assert await is_ended(await connect())


async def test_who_is_trusted_has_room_of_its_own(serve: Serve) -> None:
    connect = await serve(
        App(), per_address_max=0, connections_max=2, trusted=frozenset({"127.0.0.1"})
    )
    first, second = await connect(), await connect()
    assert await answer(first)
    assert await answer(second)
    assert await is_ended(await connect())


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:aaaa::1", "2001:db8:0:1::/64"),
        ("2001:db8:0:1:bbbb::2", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_household_counts_as_one(address: str, counted: str) -> None:
    assert subscriber(address) == counted


BROKEN = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no path": b"GET\r\n\r\n",
    "a wrong version": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
    "a blank in a name": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "an escape": b"GET / HTTP/1.1\r\nHost: x\r\nX: \x1b[2J\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\n"
    b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a long line": b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
    "an expectation": b"GET / HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n",
    "another method": b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a bug": b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n",
    "nothing there": b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("request_", BROKEN.values(), ids=BROKEN)
async def test_no_answer_names_a_version(serve: Serve, request_: bytes) -> None:
    said = await answer(await (await serve(App()))(), request_)
    assert said.startswith(b"HTTP/1.")
    assert b" 200 " not in said.partition(b"\r\n")[0]
    assert b"server:" not in said.lower()
    assert b"aiohttp" not in said.lower()
    assert b"python" not in said.lower()
    assert b"\x1b" not in said


async def test_broken_requests_cost_one_line_of_the_log_and_no_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    connect = await serve(App())
    for broken in BROKEN.values():
        if broken == BROKEN["a bug"]:
            continue
        await answer(await connect(), broken)
    (line,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert line.getMessage() == "127.0.0.1: a broken request to the page"
    assert all(one.exc_info is None for one in caplog.records)


async def test_a_bug_of_ours_is_told_with_its_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    head = await answer(await (await serve(App()))(), BROKEN["a bug"])
    assert b" 500 " in head
    (line,) = [one for one in caplog.records if one.exc_info]
    assert line.getMessage() == "A request to the page failed"


def test_what_can_be_repeated_at_will_is_told_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    seldom = Seldom(logging.getLogger("hearthgate.test"), clock=lambda: now)
    for _ in range(3):
        seldom.warn("a", "%s knocks", "somebody")
    seldom.warn("b", "%s rings", "somebody")
    now = 61.0
    seldom.warn("a", "%s knocks", "somebody else")
    assert caplog.messages == [
        "somebody knocks",
        "somebody rings",
        "somebody else knocks (2 more since the last line)",
    ]
