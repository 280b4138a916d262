"""Probes of pages that behave in odd ways, over real sockets on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
import contextlib
import gzip
from pathlib import Path

import pytest

from hearthgate.home.discovery import Discovery, DiscoveryLimits, DiscoverySettings
from hearthgate.home.model import Scheme, Service, Target
from tests.harness.webservice import WebService
from tests.support.pictures import png

LIMITS = DiscoveryLimits(
    connect_deadline_s=1.0, probe_deadline_s=1.5, body_max_bytes=64 * 1024
)
Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


def ignore(_: Service | str) -> None:
    pytest.fail("a probe on demand reports by its result")


@pytest.fixture
def discovery(tmp_path: Path) -> Discovery:
    return Discovery(
        DiscoverySettings(limits=LIMITS),
        icons=tmp_path / "icons",
        on_change=ignore,
        on_lost=ignore,
    )


@contextlib.asynccontextmanager
async def device(
    answer: Answer, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[Target, list[str]]]:
    """Serve by hand: `answer` gets the path and writes whatever it likes."""
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ", 2)[1].decode()
            asked.append(path)
            await answer(path, writer)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, host, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Target(Scheme.HTTP, host, port), asked


def reply(
    writer: asyncio.StreamWriter, body: bytes, *headers: str, status: int = 200
) -> None:
    lines = [f"HTTP/1.1 {status} x", f"Content-Length: {len(body)}", *headers]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


def page_of(body: bytes, *headers: str, status: int = 200) -> Answer:
    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/":
            reply(writer, body, *headers, status=status)
        else:
            reply(writer, b"", status=404)

    return answer


async def test_a_redirect_in_a_circle_ends_and_is_told(discovery: Discovery) -> None:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        reply(writer, b"", "Location: /again", status=302)

    async with device(answer) as (target, asked):
        probe = await discovery.probe(target)
    assert probe.reachable
    assert probe.problem == "It answers, but redirects in a circle."
    assert asked.count("/again") <= 2 * LIMITS.redirects + 1


async def test_a_redirect_on_the_same_host_is_followed(discovery: Discovery) -> None:
    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/":
            reply(writer, b"", "Location: /ui/", status=302)
        else:
            reply(writer, b"<title>Inner</title>")

    async with device(answer) as (target, _):
        assert (await discovery.probe(target)).title == "Inner"


async def test_no_redirect_and_no_icon_leads_to_another_host(
    discovery: Discovery,
) -> None:
    async with device(page_of(b"<title>Other</title>"), "127.0.0.2") as (other, asked):
        away = f"Location: {other.url}"
        body = f"<title>Here</title><link rel=icon href='{other.url}x.png'>".encode()
        async with device(page_of(body, away, status=302)) as (target, _):
            assert (await discovery.probe(target)).reachable
        async with device(page_of(body)) as (target, _):
            assert (await discovery.probe(target)).title == "Here"
    assert asked == []


async def test_a_redirect_to_a_printer_port_is_not_followed(
    discovery: Discovery,
) -> None:
    printed: list[str] = []

    async def paper(path: str, _: asyncio.StreamWriter) -> None:
        printed.append(path)

    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(device(paper))
        body = page_of(b"", "Location: http://127.0.0.1:9100/", status=302)
        target, _ = await stack.enter_async_context(device(body))
        probe = await discovery.probe(target)
    assert (probe.reachable, probe.problem) == (True, None)
    refused = await discovery.probe(Target(Scheme.HTTP, "127.0.0.1", 9100))
    assert refused.problem == "Port 9100 is not for web pages."


async def test_an_endless_body_is_cut_and_its_title_kept(discovery: Discovery) -> None:
    sent = 0

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        if path != "/":
            return
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n<title>Endless</title>")
        while sent < 50_000_000:
            writer.write(bytes(65536))
            sent += 65536
            await writer.drain()

    async with device(answer) as (target, _):
        probe = await discovery.probe(target)
    assert (probe.title, probe.problem) == ("Endless", None)
    assert sent < 20_000_000  # what fits into socket buffers, not all


async def test_a_compressed_bomb_is_cut(discovery: Discovery) -> None:
    bomb = gzip.compress(b"<title>Bomb</title>" + bytes(50_000_000))
    headers = "Content-Encoding: gzip"
    async with device(page_of(bomb, headers)) as (target, _):
        probe = await discovery.probe(target)
    assert probe.title == "Bomb"


async def test_a_slow_body_gives_what_came_in_time(discovery: Discovery) -> None:
    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        if path == "/":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n<title>Drip</title>")
            await writer.drain()
            await asyncio.sleep(5)

    async with device(answer) as (target, _):
        probe = await discovery.probe(target)
        assert (probe.reachable, probe.title) == (True, "Drip")
        assert probe.problem == "It answers, but its page took longer than 1.5 seconds."


async def test_no_answer_in_time_is_a_problem(discovery: Discovery) -> None:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
        await asyncio.sleep(5)

    async with device(answer) as (target, _):
        probe = await discovery.probe(target)
        at = target.authority
        assert probe.problem == f"{at} took longer than 1.5 seconds to answer."
        assert not probe.reachable


async def test_what_is_not_http_is_told(discovery: Discovery) -> None:
    async def answer(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")

    async with device(answer) as (target, _):
        probe = await discovery.probe(target)
    assert probe.problem == f"{target.authority} answers, but not with HTTP."


async def test_nothing_there_is_told(discovery: Discovery) -> None:
    async with device(page_of(b"")) as (target, _):
        pass
    probe = await discovery.probe(target)
    assert probe.problem == f"Nothing answers at {target.authority}."


async def test_the_wrong_scheme_of_a_manual_service_is_told(
    discovery: Discovery,
) -> None:
    with WebService(tls=True) as web:
        probe = await discovery.probe(Target(Scheme.HTTP, "127.0.0.1", web.port))
        assert not probe.reachable
        assert probe.problem is not None
        assert probe.problem.endswith(f"change the address to {web.url}")
        right = await discovery.probe(Target(Scheme.HTTPS, "127.0.0.1", web.port))
        assert (right.reachable, right.title) == (True, "Living room")
    with WebService() as web:
        probe = await discovery.probe(Target(Scheme.HTTPS, "127.0.0.1", web.port))
        assert probe.problem is not None
        assert probe.problem.endswith(f"change the address to {web.url}")


async def test_an_error_page_has_no_title_but_a_login_has(
    discovery: Discovery,
) -> None:
    for body, title in ((b"401 Unauthorized", None), (b"Log in", "Log in")):
        html = b"<title>" + body + b"</title>"
        async with device(page_of(html, status=401)) as (target, _):
            probe = await discovery.probe(target)
        assert (probe.reachable, probe.title) == (True, title)


async def test_the_first_real_picture_becomes_the_icon(
    discovery: Discovery, tmp_path: Path
) -> None:
    pictures = {
        "/": b"<link rel=icon sizes=any href=/bad.svg><link rel=icon href=/good.png>",
        "/bad.svg": b"<svg onload='x()'></svg>",
        "/good.png": png(32, 32),
    }

    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        reply(writer, pictures[path])

    async with device(answer) as (target, _):
        probe = await discovery.probe(target)
    assert probe.icon is not None
    assert (tmp_path / "icons" / probe.icon).read_bytes() == png(32, 32)


async def test_favicon_ico_stands_in_and_too_large_ones_do_not(
    discovery: Discovery,
) -> None:
    async def answer(path: str, writer: asyncio.StreamWriter) -> None:
        big = png(32, 32) + bytes(LIMITS.icon_max_bytes)
        pictures = {"/big.png": big, "/favicon.ico": png(16, 16)}
        reply(writer, pictures.get(path, b"<link rel=icon href=/big.png>"))

    async with device(answer) as (target, asked):
        probe = await discovery.probe(target)
    assert asked[:3] == ["/", "/big.png", "/favicon.ico"]
    assert probe.icon is not None
    assert probe.icon.endswith(".png")
