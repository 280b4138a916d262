"""Devices that send what costs the reader most: how much is taken, and the verdict.

Each device sends until nobody listens any more. What it got rid of is counted, since
that is the work which it could make us do.
"""

import asyncio
from collections.abc import AsyncIterator
import contextlib
from pathlib import Path
import ssl

import pytest

from hearthgate.home.discovery import Discovery, DiscoveryLimits, DiscoverySettings
from hearthgate.home.model import Scheme, Service, Target
from tests.harness.hearthgate import HomeProcess
from tests.harness.webservice import self_signed
from tests.support.pictures import SVG

MIB = 1024 * 1024
PATIENCE_S = 100.0
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
NOT_HTTP = "{} answers, but not with HTTP."
# A device on the same machine fills socket buffers before it notices that we are gone.
BUFFERS = 16 * MIB


def ignore(_: Service | str) -> None:
    pytest.fail("a probe on demand reports by its result")


@pytest.fixture
def discovery(tmp_path: Path) -> Discovery:
    # No deadline ends these probes: what is sent is too much long before.
    limits = DiscoveryLimits(
        connect_deadline_s=60.0, probe_deadline_s=120.0, icons_deadline_s=120.0
    )
    return Discovery(
        DiscoverySettings(limits=limits),
        icons=tmp_path / "icons",
        on_change=ignore,
        on_lost=ignore,
    )


class Device:
    """Answers each request with a beginning, and then one thing without end."""

    def __init__(self, begin: bytes, again: bytes) -> None:
        self._begin = begin
        self._again = again * max(1, 65536 // max(1, len(again)))
        self.sent = 0

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.read(65536)
            writer.write(self._begin)
            while self._again:
                await writer.drain()
                writer.write(self._again)
                self.sent += len(self._again)
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def listening(
    device: Device, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Target]:
    server = await asyncio.start_server(device.serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        scheme = Scheme.HTTPS if tls else Scheme.HTTP
        yield Target(scheme, "127.0.0.1", port)


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 \r\nLink: </a>\r\n\r\n"),
        (b"", b"\r\n"),
        (b"HTTP/1.1 200 ", b"O"),
        (b"HTTP/1.1 ", b"0"),
        (OK, b"X-Many: 1\r\n"),
        (OK + b"X-Long: ", b"x"),
        (OK + b"Set-Cookie: a=", b'\\"\\0; ='),
        (OK, b" folded\r\n"),
    ],
)
async def test_an_answer_that_never_begins_is_no_http(
    discovery: Discovery, begin: bytes, again: bytes
) -> None:
    device = Device(begin, again)
    async with listening(device) as target:
        probe = await discovery.probe(target)
    assert (probe.reachable, probe.problem) == (
        False,
        NOT_HTTP.format(target.authority),
    )
    assert device.sent < BUFFERS


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (OK + b"\r\n<title>Hello</title>", b"<a"),
        (OK + b"Content-Type: text/html; charset=" + b" " * 8000 + b"\r\n\r\n", b"<a"),
        (OK + b"Content-Encoding: gzip\r\n\r\n", b"\0"),
        (CHUNKED, b"1\r\n<\r\n"),
        (CHUNKED, b"1;" + b"a" * 900 + b"\r\n<\r\n"),
        (CHUNKED + b"1;", b"a"),
        (CHUNKED, b"0"),
        (CHUNKED + b"0\r\n", b"X-Many: 1\r\n"),
        (CHUNKED + b"ffffffffffffffff\r\n", b"<a"),
        (OK + b"Content-Length: 99999999999999999999\r\n\r\n", b"<a<a b='"),
    ],
)
async def test_a_body_without_end_is_given_up_and_the_service_is_there(
    discovery: Discovery, begin: bytes, again: bytes
) -> None:
    device = Device(begin, again)
    async with listening(device) as target:
        probe = await discovery.probe(target)
    assert (probe.reachable, probe.problem, probe.icon) == (True, None, None)
    assert device.sent < 2 * BUFFERS  # the page and the place of its icon


@pytest.mark.parametrize(
    "location",
    [
        b"../" * 10_000,
        b"http://" + "ä".encode() * 4000 + b"/",
        b"http://[" + b":" * 4000,
        b"//\xff\xfe/",
        b"http://" + b"a." * 1000 + b"/",
        b"http://127.0.0.1:" + b"9" * 5000,
        b"javascript:alert(1)",
        "http://١٢٧.0.0.1:1/".encode(),
    ],
)
async def test_a_redirect_that_leads_nowhere_is_the_answer_itself(
    discovery: Discovery, location: bytes
) -> None:
    head = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location
    async with listening(Device(head + b"\r\n\r\n", b"")) as target:
        probe = await discovery.probe(target)
    assert (probe.reachable, probe.problem) == (True, None)


async def test_an_icon_in_the_page_itself_is_bounded_too(discovery: Discovery) -> None:
    svg = SVG.replace(b"<path", b"<style>" + b"url(" + b" " * 90_000 + b"</style><path")
    links = b"<link rel=icon href='data:image/svg+xml," + svg + b"'>"
    body = links + b"<title>Attic</title>"
    head = OK + b"Content-Length: %d\r\n\r\n" % len(body)
    async with listening(Device(head + body, b"")) as target:
        probe = await discovery.probe(target)
    assert (probe.title, probe.icon) == ("Attic", None)


async def test_an_agent_answers_its_api_while_devices_send_what_costs_most() -> None:
    """Each of these pages, icons or answers stopped version 0.1.0 for minutes."""
    page = OK + b"Content-Length: 262144\r\n\r\n"
    svg = SVG.replace(b"<path", b"<style>" + b"url(" + b" " * 90_000 + b"</style><path")
    icon = b"<link rel=icon href='data:image/svg+xml," + svg + b"'>"
    devices = [
        Device(page + b"<a" * 131_072, b""),
        Device(OK + b"Content-Length: %d\r\n\r\n" % len(icon) + icon, b""),
        Device(OK + b"Content-Type: text/html; charset=" + b" " * 8000, b"\r\n"),
        Device(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ]
    async with contextlib.AsyncExitStack() as stack:
        targets = [await stack.enter_async_context(listening(one)) for one in devices]
        home = stack.enter_context(HomeProcess())
        api = await stack.enter_async_context(home.api())
        for number, target in enumerate(targets):
            body = {"name": f"Device {number}", "url": target.url}
            await api.call("POST", "services", body)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = (await api.state())["services"]
                services = sorted(found, key=lambda one: str(one["name"]))
                if all(one["reachable"] is not None for one in services):
                    break
                await asyncio.sleep(0.1)
        assert [one["reachable"] for one in services] == [True, True, True, False]
        assert services[-1]["problem"] == NOT_HTTP.format(targets[-1].authority)


async def test_a_device_does_not_choose_how_large_the_numbers_are_to_compute_with(
    discovery: Discovery,
) -> None:
    """DHE lets it: 10,000 bits cost a small machine seconds in the loop."""
    device = Device(OK + b"Content-Length: 0\r\n\r\n", b"")
    context = self_signed()
    async with listening(device, context) as target:
        assert (await discovery.probe(target)).reachable
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("kDHE")
    async with listening(device, context) as target:
        probe = await discovery.probe(target)
    assert probe.problem == f"{target.authority} answers, but not with HTTPS."


async def test_cookies_of_a_page_are_sent_back_but_not_without_bound(
    discovery: Discovery,
) -> None:
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(next((x for x in head.splitlines() if "cookie:" in x.lower()), ""))
        lines = [f"Set-Cookie: c{n}=v; Path=/; HttpOnly" for n in range(50)]
        lines += ["Set-Cookie: none", f"Set-Cookie: fat={'x' * 2000}"]
        status = "200 OK" if asked[-1] else "302 Found\r\nLocation: /"
        end = ("Content-Length: 0", "", "")
        answer = "\r\n".join([f"HTTP/1.1 {status}", *lines, *end])
        writer.write(answer.encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        probe = await discovery.probe(Target(Scheme.HTTP, "127.0.0.1", port))
    assert (probe.reachable, probe.problem) == (True, None)
    assert asked[1] == "Cookie: " + "; ".join(f"c{n}=v" for n in range(16))
