"""The judge: what a visitor said arrives nowhere as if we had said it.

    names that proxies own, everywhere in a request, over HTTP/1.1 and HTTP/2
        ─▶ edge ─▶ echo services in Python, PHP, Ruby and Node ─▶ they saw no LIE

A trailer is refused before HAProxy 3.2, and dropped from then on.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
import json
from pathlib import Path

import pytest

from hearthgate.home.edge import headers
from tests.harness import haproxies
from tests.harness.echoes import LANGUAGES, echo
from tests.support.h2raw import DATA, END_STREAM, H2
from tests.support.visiting import VISITOR, Household, household

pytestmark = pytest.mark.usefixtures("haproxy")

HOST = "cottage.example.com"
CONTINUE = 100
LIE = "6.6.6.6-lie"

# Written down here once more, so that nothing is lost with a line of the code.
NAMES = [
    "Forwarded",
    "Forwarded-For",
    "X-Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-Ssl",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Prefix",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Tls-Client-Cert",
    "X-Forward-For",
    "X-Original-Forwarded-For",
    "X-Real-IP",
    "X-Real-Port",
    "X-Client-IP",
    "Client-IP",
    "True-Client-IP",
    "X-Cluster-Client-IP",
    "X-Remote-IP",
    "X-Remote-Addr",
    "X-Originating-IP",
    "X-ProxyUser-IP",
    "WL-Proxy-Client-IP",
    "Proxy-Client-IP",
    "X-Azure-ClientIP",
    "X-Azure-SocketIP",
    "X-Appengine-User-IP",
    "CF-Connecting-IP",
    "CF-Connecting-IPv6",
    "CF-IPCountry",
    "Fastly-Client-IP",
    "Fly-Client-IP",
    "DO-Connecting-IP",
    "X-Nf-Client-Connection-IP",
    "X-Envoy-External-Address",
    "CloudFront-Viewer-Address",
    "Ali-CDN-Real-IP",
    "CDN-Src-IP",
    "X-IPAddress",
    "X-UserIP",
    "X-ForwardFor",
    "X-Forwarder-For",
    "Auth-Mail",
    "Auth-Uid",
    "X-Auth-Mail",
    "X-Auth-Group",
    "X-Auth-Role",
    "X-Cosmos-Role",
    "X-LDAP-Group",
    "X-JWT-Payload",
    "X-RH-Identity",
    "X-SP-UserId",
    "Kubeflow-Userid",
    "SSLClientCert",
    "Affiliation",
    "Remote-User",
    "Remote-Groups",
    "Remote-Name",
    "Remote-Email",
    "X-Remote-User",
    "X-Remote-User-Id",
    "X-Remote-Group",
    "X-WebAuth-User",
    "X-WebAuth-Name",
    "X-User",
    "X-Username",
    "X-Email",
    "X-Groups",
    "X-Auth-User",
    "X-Auth-Username",
    "X-Auth-Userid",
    "X-Auth-Email",
    "X-Auth-Groups",
    "X-Auth-Roles",
    "X-Auth-Request-User",
    "X-Auth-Request-Email",
    "X-Auth-Request-Access-Token",
    "X-Authenticated-User",
    "X-Authenticated-Userid",
    "X-authentik-username",
    "X-Authentik-Groups",
    "X-Pomerium-Claim-Email",
    "X-Pomerium-Jwt-Assertion",
    "X-Vouch-User",
    "X-Vouch-Idp-Claims-Name",
    "X-Token-User-Email",
    "X-Consumer-Username",
    "X-Userinfo",
    "X-SSO-User",
    "Auth-User",
    "User",
    "Email",
    "Tailscale-User-Login",
    "Tailscale-User-Name",
    "Tailscale-User-Profile-Pic",
    "CF-Access-Authenticated-User-Email",
    "CF-Access-Jwt-Assertion",
    "X-Goog-Authenticated-User-Email",
    "X-Goog-Authenticated-User-Id",
    "X-Goog-IAP-JWT-Assertion",
    "X-Amzn-Oidc-Data",
    "X-Amzn-Oidc-Identity",
    "X-Amzn-Oidc-Accesstoken",
    "X-Amzn-Mtls-Clientcert",
    "X-MS-Client-Principal",
    "X-MS-Client-Principal-Name",
    "X-MS-Token-Aad-Id-Token",
    "X-ARR-ClientCert",
    "X-ARR-SSL",
    "IV-User",
    "SM-User",
    "OAM-Remote-User",
    "OIDC-Claim-Email",
    "Client-Cert",
    "Client-Cert-Chain",
    "X-Client-Cert",
    "X-Client-Verify",
    "X-SSL-Client-CN",
    "SSL-Client-Verify",
    "SSL-Client-S-DN",
    "X-TLS-Client-Cert",
    "X-Client-DN",
    "X-Original-URL",
    "X-Original-Host",
    "X-Rewrite-URL",
    "X-Host",
    "X-HTTP-Host-Override",
    "X-Scheme",
    "X-URL-Scheme",
    "X-Script-Name",
    "Front-End-Https",
    "Proxy",
    "Proxy-Authorization",
    "Proxy-Connection",
    "X-Ingress-Path",
    "X-Hass-User-Id",
    "X-Supervisor-Token",
    "X-Hassio-Key",
    "X-Sendfile-Type",
    "X-Accel-Mapping",
    "HTTP2-Settings",
    "Keep-Alive",
    "Trailer",
    "Cookie2",
]
# HTTP/2 has no such headers; HAProxy ends a stream that does (RFC 9113 §8.2.2).
OF_H1 = ("proxy-connection", "keep-alive")
SEPARATORS = "-_.~!#$%&'*+^`|"


@dataclass(frozen=True)
class Request:
    """What a visitor sends beside a target and a host."""

    headers: tuple[tuple[str, str], ...] = ()
    trailers: tuple[tuple[str, str], ...] = ()
    method: str = "GET"
    body: bytes | None = None
    length: bool = False  # announce the body's
    apart: bool = False  # send the trailers when the rest has arrived


@pytest.fixture(scope="module", params=LANGUAGES)
def service(request: pytest.FixtureRequest) -> Iterator[int]:
    """Run an echo service."""
    with echo(request.param) as port:
        yield port


@pytest.fixture
async def home(service: int, tmp_path: Path) -> AsyncIterator[Household]:
    """Run an edge in front of it."""
    async with household(tmp_path) as running:
        await running.edge.apply([running.route(HOST, service)])
        yield running


async def ask_1(home: Household, request: Request) -> tuple[int, bytes]:
    lines = [f"{request.method} /echo HTTP/1.1", f"Host: {HOST}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in request.headers]
    body = b""
    if request.trailers or (request.body is not None and not request.length):
        lines.append("Transfer-Encoding: chunked")
        if request.body:
            body = b"%x\r\n%b\r\n" % (len(request.body), request.body)
        body += b"0\r\n"
    elif request.body is not None:
        body = request.body
    if request.body is not None and request.length:
        lines.append(f"Content-Length: {len(request.body)}")
    end = "".join(f"{name}: {value}\r\n" for name, value in request.trailers) + "\r\n"
    raw = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    if not body.endswith(b"0\r\n"):
        end = ""
    visitor = await home.visit(HOST)
    try:
        if request.apart:
            visitor.tls.sendall(raw)
            await asyncio.sleep(0.1)  # another packet for HAProxy, on most machines
            raw = b""
        answer = await asyncio.to_thread(visitor.raw, raw + end.encode())
    finally:
        visitor.close()
    head, _, text = answer.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1] == b"100":
        head, _, text = text.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        text = dechunked(text)
    return int(head.split(b" ", 2)[1]), text


def dechunked(text: bytes) -> bytes:
    whole = b""
    while text:
        size, _, text = text.partition(b"\r\n")
        if not int(size, 16):
            break
        whole += text[: int(size, 16)]
        text = text[int(size, 16) + 2 :]
    return whole


async def ask_2(home: Household, request: Request) -> tuple[int, bytes]:
    visitor = await home.visit(HOST, "h2")
    h2 = H2(visitor)
    request = replace(
        request,
        headers=tuple(one for one in request.headers if one[0].lower() not in OF_H1),
        trailers=tuple(one for one in request.trailers if one[0].lower() not in OF_H1),
    )
    fields = [
        *((":method", request.method), (":scheme", "https")),
        *((":authority", HOST), (":path", "/echo")),
        *((name.lower(), value) for name, value in request.headers),
    ]
    if request.body is not None and request.length:
        fields.append(("content-length", str(len(request.body))))
    whole = request.body is None and not request.trailers
    h2.request(1, *fields, end=whole)
    if request.body is not None:
        h2.data(1, request.body, end=not request.trailers)
    if request.apart:
        await asyncio.sleep(0.1)  # as above
    if request.trailers:
        h2.request(1, *((name.lower(), value) for name, value in request.trailers))
    try:
        while (status := await asyncio.to_thread(h2.status)) == CONTINUE:
            pass
        text = b""
        while status:
            _, flags, _, piece = await asyncio.to_thread(h2.until, DATA)
            text += piece
            if flags & END_STREAM:
                break
    finally:
        visitor.close()
    return status, text


ASK = {"HTTP/1.1": ask_1, "HTTP/2": ask_2}


def seen(status: int, text: bytes) -> dict[str, str]:
    """Return what the service saw; nothing of it is a lie."""
    assert status == 200, text[:200]
    assert LIE.encode() not in text
    found = {name.upper(): value for name, value in json.loads(text)["seen"]}
    return {**{n.removeprefix("HTTP_").replace("_", "-"): v for n, v in found.items()}}


def spelled(names: list[str], separator: str) -> list[str]:
    return [name.replace("-", separator) for name in names]


@pytest.mark.parametrize("protocol", ASK)
async def test_no_name_arrives_in_the_head_of_a_request(
    home: Household, protocol: str
) -> None:
    """Two lines of each name, as some drop only the first or the last."""
    spellings = [spelled(NAMES, separator) for separator in SEPARATORS]
    spellings += [[name.upper() for name in NAMES], [name.lower() for name in NAMES]]
    for names in spellings:
        lies = tuple((name, LIE) for name in names) * 2
        keep = (("X-Keep", "kept"),)
        got = seen(*await ASK[protocol](home, Request(lies + keep)))
        assert got["X-KEEP"] == "kept"
        assert got["X-FORWARDED-FOR"] == VISITOR
        assert got["X-FORWARDED-HOST"] == HOST
        assert got["HOST"] == HOST


@pytest.mark.parametrize("protocol", ASK)
async def test_no_name_of_the_code_arrives_in_the_head_of_a_request(
    home: Household, protocol: str
) -> None:
    names = [name.replace("*", "x") for name in headers.FAMILIES]
    names += [f"x-{word}" for word in headers.WORDS]
    names += [f"x-{word}-x" for word in headers.WORDS]
    lies = tuple((name, LIE) for name in names)
    seen(*await ASK[protocol](home, Request(lies)))


ENDS = {
    "behind a body": Request(method="POST", body=b"abc"),
    "behind nothing": Request(method="POST", body=b""),
    "without a body": Request(method="POST"),
    "of a GET": Request(body=b"abc"),
    "of a GET without a body": Request(),
    "of a DELETE": Request(method="DELETE"),
    "of a PROPFIND": Request(method="PROPFIND", body=b"abc"),
    "announced": Request((("Trailer", ", ".join(NAMES[:4])), ("TE", "trailers"))),
    "apart": Request(method="POST", body=b"abc", apart=True),
    "apart, behind nothing": Request(method="POST", apart=True),
    "with a length": Request(method="POST", body=b"abc", length=True),
    "with a length, apart": Request(
        method="POST", body=b"abc", length=True, apart=True
    ),
    "expected": Request((("Expect", "100-continue"),), method="PUT", body=b"abc"),
    "of a WebSocket": Request((("Upgrade", "websocket"), ("Connection", "Upgrade"))),
}


@pytest.mark.parametrize("protocol", ASK)
@pytest.mark.parametrize("end", ENDS)
async def test_no_name_arrives_in_a_trailer(
    home: Household, protocol: str, end: str
) -> None:
    if protocol == "HTTP/2" and end == "of a WebSocket":
        pytest.skip("HTTP/2 knows no Upgrade")
    lies = [tuple((name, LIE) for name in spelled(NAMES, one)) for one in "-_."]
    for trailers in (*lies, lies[0][:1], (("x", ""),)):
        request = replace(ENDS[end], trailers=trailers)
        status, text = await ASK[protocol](home, request)
        assert LIE.encode() not in text
        if haproxies.version() < (3, 2) and not request.length:
            assert status == 400
            if end != "of a WebSocket":  # HAProxy itself knows of no such
                assert b"cannot be understood" in text


@pytest.mark.parametrize("protocol", ASK)
async def test_request_without_a_length_passes_if_it_has_no_trailers(
    home: Household, protocol: str
) -> None:
    for body in (b"", b"abc", bytes(100_000)):
        request = Request((("X-Keep", "1"),), method="POST", body=body)
        got = seen(*await ASK[protocol](home, request))
        assert got["X-KEEP"] == "1"


# What Chatwoot, Bitwarden, Discourse, kubectl, S3's clients and each browser send.
CLIENTS_SAY = (
    *("Sec-Fetch-User", "uid", "access-token", "Auth-Email", "Api-Username"),
    *("Impersonate-User", "x-amz-meta-uid", "x-amz-meta-user", "X-SYNO-TOKEN"),
    *("X-Emby-Token", "Destination", "Depth", "Git-Protocol", "Tus-Resumable"),
)


@pytest.mark.parametrize("protocol", ASK)
async def test_what_clients_say_for_themselves_arrives(
    home: Household, protocol: str
) -> None:
    said = tuple((name, f"of {name}") for name in CLIENTS_SAY)
    got = seen(*await ASK[protocol](home, Request(said)))
    for name, value in said:
        assert got[name.upper()] == value


async def test_no_name_can_be_had_dropped_on_the_way(home: Household) -> None:
    names = ", ".join(NAMES)
    got = seen(*await ask_1(home, Request((("Connection", names),))))
    assert got["X-FORWARDED-FOR"] == VISITOR
    assert got["X-FORWARDED-PROTO"] == "https"
