"""The edge with the real HAProxy: what a visitor gets and what a service sees."""

import asyncio
from dataclasses import replace
import json
from pathlib import Path
import ssl
import warnings

import pytest

from hearthgate.home.model import Scheme
from tests.support.visiting import (
    MB,
    VISITOR,
    Visitor,
    house,
    household,
    make_certificate,
)

pytestmark = pytest.mark.usefixtures("haproxy")

HOST = "cottage.example.com"
OTHER = "barn.example.com"


async def test_service_sees_the_visitor_and_only_what_the_edge_says(
    tmp_path: Path,
) -> None:
    """What of a request may carry a name, and how: test_edge_names.py."""
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        lies = {"X-Forwarded-For": "10.0.0.1, 10.0.0.2", "X-Keep": "kept"}
        status, body = await home.get(HOST, headers=lies)
        assert status == 200
        seen = json.loads(body)["headers"]
        assert [v for k, v in seen if k == "x-forwarded-for"] == [VISITOR]
        got = dict(seen)
        assert got["x-forwarded-proto"] == "https"
        assert got["x-forwarded-host"] == HOST
        assert got["x-forwarded-port"] == "443"
        assert got["host"] == HOST
        assert got["x-keep"] == "kept"


async def test_behind_a_relay_on_another_port_the_service_learns_that_port(
    tmp_path: Path,
) -> None:
    """From these a service makes its own absolute links."""
    async with house() as service, household(tmp_path) as home:
        here = replace(home.route(HOST, service.port), public_port=8443)
        await home.edge.apply([here, home.route(OTHER, service.port)])
        for name, host, port in ((HOST, f"{HOST}:8443", "8443"), (OTHER, OTHER, "443")):
            lies = {"X-Forwarded-Host": "lie", "X-Forwarded-Port": "1"}
            _, body = await home.get(name, headers=lies)
            seen = json.loads(body)["headers"]
            assert [v for k, v in seen if k == "host"] == [host]
            assert [v for k, v in seen if k == "x-forwarded-host"] == [host]
            assert [v for k, v in seen if k == "x-forwarded-port"] == [port]


async def test_service_sees_an_ipv6_visitor(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        _, body = await home.get(HOST, address="2001:db8::7")
        assert dict(json.loads(body)["headers"])["x-forwarded-for"] == "2001:db8::7"


@pytest.mark.parametrize("upgrade", ["h2c", "H2C", "h2c, websocket", "tcp", "TLS/1.2"])
async def test_no_tunnel_but_a_websocket_is_offered_to_a_service(
    tmp_path: Path, upgrade: str
) -> None:
    """Requests inside of h2c would pass every rule of the edge unseen."""
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        ask = {
            "Connection": "Upgrade, HTTP2-Settings",
            "Upgrade": upgrade,
            "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA",
        }
        status, body = await home.get(HOST, headers=ask)
        assert status in {200, 400}
        if status == 200:
            names = [name for name, _ in json.loads(body)["headers"]]
            assert not {"upgrade", "http2-settings"} & set(names)


async def test_visitor_cannot_have_our_headers_dropped_on_the_way(
    tmp_path: Path,
) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        ask = {"Connection": "X-Forwarded-For, X-Forwarded-Proto, close"}
        _, body = await home.get(HOST, headers=ask)
        seen = dict(json.loads(body)["headers"])
        assert "forwarded" not in seen.get("connection", "").lower()
        assert seen["x-forwarded-for"] == VISITOR


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (HOST, 200),
        (HOST.upper(), 200),
        (f"{HOST}:443", 200),
        (f"{HOST}:8443", 200),
        (f"{HOST}.", 200),
        (f"{HOST.title()}.:443", 200),
        (OTHER, 421),
        (f"{OTHER}:443", 421),
        (f"x{HOST}", 421),
        (f"{HOST}.evil.example", 421),
        (f"{HOST}:", 200),
        (f"{HOST}:@evil.example", 421),
        (f"{HOST}:443@evil.example", 421),
        (f"evil@{HOST}", 421),
        (f"{HOST}..", 421),
        (f"{HOST}...", 421),
        (f"{HOST}...:443", 421),
        (f".{HOST}", 421),
        (f"{HOST}:44x", 421),
        (f"{HOST}:443:443", 421),
        (f"{HOST}/", 421),
        (f"{HOST}%00", 421),
        (f"[{HOST}]", 421),
        (f"{HOST}, {OTHER}", 421),
        (f"{OTHER}, {HOST}", 421),
        ("", 421),
        ("127.0.0.1", 421),
        ("[::1]", 421),
    ],
)
async def test_authority_must_be_the_name_of_the_connection(
    tmp_path: Path, host: str, status: int
) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply(
            [home.route(HOST, service.port), home.route(OTHER, service.port)]
        )
        got, body = await home.get(HOST, host=host)
        assert got in ({status} if status == 200 else {status, 400})
        assert (service.requests == 1) == (status == 200)
        if got == 421:
            assert b"belongs elsewhere" in body
        if got == 200:
            seen = [v for k, v in json.loads(body)["headers"] if k == "host"]
            assert seen == [HOST]


TARGETS = {
    f"https://{HOST}/echo?x=1": "/echo?x=1",
    f"https://{HOST.upper()}/echo?x=1": "/echo?x=1",
    f"HTTPS://{HOST}:443/echo?x=1": "/echo?x=1",
    f"https://{HOST}": "/",
    f"https://{HOST}:443": "/",
    "/echo?x=https://barn.example.com/": "/echo?x=https://barn.example.com/",
    "//barn.example.com/echo": "//barn.example.com/echo",
    f"http://{HOST}/echo": None,
    f"ftp://{HOST}/echo": None,
    f"ws://{HOST}/echo": None,
    f"https://evil@{HOST}/echo": None,
    f"https://{HOST}@evil.example/echo": None,
    f"https://{HOST}:x@evil.example/echo": None,
    "https://evil.example/echo": None,
    "https:///echo": None,
    "https:/echo": None,
    f"//{OTHER}:@/../echo": f"//{OTHER}:@/../echo",
    "echo": None,
    "*": None,
    "http:": None,
}


@pytest.mark.parametrize("target", TARGETS)
async def test_target_reaches_a_service_as_a_path_or_not_at_all(
    tmp_path: Path, target: str
) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        visitor = await home.visit(HOST)
        ask = f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
        answer = await asyncio.to_thread(visitor.raw, ask.encode())
        expected = TARGETS[target]
        if expected is None:
            assert answer.startswith(b"HTTP/1.1 4")
            assert service.requests == 0
        else:
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["path"] == expected


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /echo HTTP/1.0\r\n\r\n",
        (
            b"GET https://barn.example.com/echo HTTP/1.1\r\n"
            b"Host: cottage.example.com\r\n\r\n"
        ),
        (
            b"GET /echo HTTP/1.1\r\nHost: cottage.example.com\r\n"
            b"Host: barn.example.com\r\n\r\n"
        ),
        b"GET /echo HTTP/1.1\r\nHost : cottage.example.com\r\n\r\n",
    ],
    ids=["no host", "absolute form", "two hosts", "blank before colon"],
)
async def test_ambiguous_authority_never_reaches_a_service(
    tmp_path: Path, request_: bytes
) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply(
            [home.route(HOST, service.port), home.route(OTHER, service.port)]
        )
        visitor = await home.visit(HOST)
        request_ = request_.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        answer = await asyncio.to_thread(visitor.raw, request_)
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
        assert service.requests == 0


async def test_unknown_or_absent_name_ends_the_handshake(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        wildcard = make_certificate(tmp_path / "wild.pem", "*.example.com")
        route = home.route(HOST, service.port, certificate=wildcard)
        await home.edge.apply([route])
        assert (await home.get(HOST))[0] == 200
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await home.visit(OTHER)  # the certificate has it, the home does not


async def test_tls_below_1_2_is_refused(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        visitor = await home.visit(HOST)
        assert visitor.tls.version() == "TLSv1.3"
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")  # else OpenSSL itself would not even ask
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        late = Visitor(home, HOST, VISITOR)
        with late.plain, pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
            await asyncio.to_thread(old.wrap_socket, late.plain, server_hostname=HOST)


async def test_https_service_with_its_own_certificate_is_reached(
    tmp_path: Path,
) -> None:
    pem = make_certificate(tmp_path / "own.pem", "nas.local")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    async with house(context) as service, household(tmp_path) as home:
        route = home.route(HOST, service.port, scheme=Scheme.HTTPS)
        await home.edge.apply([route])
        assert (await home.get(HOST))[0] == 200


async def test_service_is_reached_by_name(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port, host="localhost")])
        assert (await home.get(HOST))[0] == 200


async def test_name_that_does_not_exist_only_fails_its_own_route(
    tmp_path: Path,
) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply(
            [
                home.route(HOST, service.port),
                home.route(OTHER, 80, host="nowhere.invalid"),
            ]
        )
        assert (await home.get(HOST))[0] == 200
        status, body = await home.get(OTHER)
        assert status == 503
        assert b"does not answer right now" in body


async def test_service_that_is_off_gives_our_page(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path, connect_s=1.0) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        await service.close()
        visitor = await home.visit(HOST)
        response = await asyncio.to_thread(visitor.ask)
        assert response.status == 503
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["cache-control"] == "no-store"
        assert b"does not answer right now" in response.read()


async def test_service_that_talks_nonsense_gives_our_page(tmp_path: Path) -> None:
    async def nonsense(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 smtp.home ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    async with server, household(tmp_path) as home:
        port = server.sockets[0].getsockname()[1]
        await home.edge.apply([home.route(HOST, port)])
        status, body = await home.get(HOST)
        assert status == 502
        assert b"no proper answer" in body


async def test_service_that_never_answers_gives_our_page(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path, service_s=0.5) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        status, body = await home.get(HOST, "/slow")
        assert status == 504
        assert b"takes too long" in body


async def test_connections_to_a_service_are_used_again(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path, threads=1) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        visitor = await home.visit(HOST)
        for _ in range(20):
            response = await asyncio.to_thread(visitor.ask)
            response.read()
        assert service.requests == 20
        assert len(service.connections) == 1


async def test_slow_request_header_is_bounded(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path, request_s=0.5) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        visitor = await home.visit(HOST)
        answer = await asyncio.to_thread(visitor.raw, b"GET /echo HTTP/1.1\r\nHost:")
        assert answer.startswith(b"HTTP/1.1 408")


async def test_event_stream_is_flushed_at_once_and_outlives_the_visitor_time_out(
    tmp_path: Path,
) -> None:
    async with house() as service, household(tmp_path, visitor_s=2) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        visitor = await home.visit(HOST)
        response = await asyncio.to_thread(visitor.ask, "/events")
        first = await asyncio.to_thread(response.read1)
        assert first == b"data: first\n\n"  # while the service still waits
        await asyncio.sleep(5)  # more than twice what a stalled visitor is allowed
        service.go.set()
        assert await asyncio.to_thread(response.read) == b"data: second\n\n"


async def test_300_megabytes_go_up_and_down(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        visitor = await home.visit(HOST)

        def download() -> int:
            response = visitor.ask("/download?mb=300")
            size = 0
            while chunk := response.read(256 * 1024):
                size += len(chunk)
            return size

        def upload() -> bytes:
            return visitor.ask("/upload", method="PUT", body=bytes(300 * MB)).read()

        assert await asyncio.to_thread(download) == 300 * MB
        assert json.loads(await asyncio.to_thread(upload)) == {"size": 300 * MB}


async def test_curl_speaks_http_2(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        async with home.listen() as port:
            curl = await asyncio.create_subprocess_exec(
                "curl", "-sk", "--http2", "--resolve", f"{HOST}:{port}:127.0.0.1",
                "-w", "\n%{http_version}", f"https://{HOST}:{port}/echo?x=1",
                stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await asyncio.wait_for(curl.communicate(), 20)
        body, version = out.rsplit(b"\n", 1)
        assert version == b"2"
        assert json.loads(body)["path"] == "/echo?x=1"
