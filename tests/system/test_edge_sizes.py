"""How much may be in the head of a request and of an answer: 64 kB and 500 lines."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
import re

import pytest

from tests.support.visiting import Household, household

pytestmark = pytest.mark.usefixtures("haproxy")

HOST = "cottage.example.com"
KB = 1000
REQUESTS = {
    "a cookie of 20 kB": ("/", [("Cookie", "a=" + "x" * 20 * KB)], 200),
    "a cookie of 60 kB": ("/", [("Cookie", "a=" + "x" * 60 * KB)], 200),
    "a URL of 20 kB": ("/?" + "q" * 20 * KB, [], 200),
    "a URL of 60 kB": ("/?" + "q" * 60 * KB, [], 200),
    "120 headers": ("/", [(f"X-H{i}", "v") for i in range(120)], 200),
    "490 headers": ("/", [(f"X-H{i}", "v") for i in range(490)], 200),
    "a URL of 70 kB": ("/?" + "q" * 70 * KB, [], 414),
    "a cookie of 70 kB": ("/", [("Cookie", "a=" + "x" * 70 * KB)], 431),
    "many long headers": ("/", [(f"X-H{i}", "v" * 700) for i in range(100)], 431),
    "501 headers": ("/", [(f"X-H{i}", "v") for i in range(501)], 431),
}
ANSWERS = {
    "/20kB": "X-Long: " + "x" * 20 * KB + "\r\n",
    "/60kB": "X-Long: " + "x" * 60 * KB + "\r\n",
    "/cookies": "".join(f"Set-Cookie: c{i}={'v' * KB}\r\n" for i in range(20)),
    "/120": "".join(f"X-H{i}: v\r\n" for i in range(120)),
    "/490": "".join(f"X-H{i}: v\r\n" for i in range(490)),
}


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Household]:
    """Run an edge and a service that takes and says everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        if found := re.search(rb"content-length: (\d+)", head):
            await reader.readexactly(int(found[1]))
        body = str(len(head)).encode()
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
            f"{ANSWERS.get(path, '')}\r\n".encode()
            + body
        )
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1000 * KB)
    async with server, household(tmp_path) as running:
        port = server.sockets[0].getsockname()[1]
        await running.edge.apply([running.route(HOST, port)])
        yield running


async def curl(
    home: Household, protocol: str, path: str, *more: str, stdin: str = ""
) -> tuple[int, bytes]:
    async with home.listen() as port:
        program = await asyncio.create_subprocess_exec(
            *("curl", "-sk", protocol, "--resolve", f"{HOST}:{port}:127.0.0.1"),
            *("-w", "\n%{http_code}", "--config", "-", *more),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        text = f'url = "https://{HOST}:{port}{path}"\n{stdin}'
        out, _ = await asyncio.wait_for(program.communicate(text.encode()), 60)
    body, _, status = out.rpartition(b"\n")
    return int(status), body


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
@pytest.mark.parametrize("what", REQUESTS)
async def test_request_may_be_large_up_to_the_bound_and_gets_our_page_beyond(
    home: Household, what: str, protocol: str
) -> None:
    path, headers, expected = REQUESTS[what]
    if protocol == "--http2" and len(path) + len(str(headers)) > 64 * 1024:
        pytest.skip("curl itself sends no more than 64 KiB")
    lines = "".join(f'header = "{name}: {value}"\n' for name, value in headers)
    status, body = await curl(home, protocol, path, stdin=lines)
    assert status == expected
    if expected == 200:
        assert int(body) > sum(len(value) for _, value in headers)
    else:
        assert b"<!doctype html>" in body
        assert {414: b"too long", 431: b"too much"}[expected] in body


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
@pytest.mark.parametrize("path", ANSWERS)
async def test_answer_may_have_a_large_head(
    home: Household, path: str, protocol: str
) -> None:
    status, body = await curl(home, protocol, path, "--include")
    assert status == 200
    head, _, _ = body.rpartition(b"\r\n\r\n")
    lines = ANSWERS[path].count("\r\n")
    assert head.lower().count(b"\nx-") + head.lower().count(b"\nset-c") == lines
    assert len(head) > len(ANSWERS[path]) - 10


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
async def test_body_is_no_part_of_the_head(home: Household, protocol: str) -> None:
    file = home.folder / "body"
    file.write_bytes(bytes(200 * KB))
    status, _ = await curl(home, protocol, "/", "--data-binary", f"@{file}")
    assert status == 200
