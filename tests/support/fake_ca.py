"""A scripted ACME server, for what Pebble 2.4 can't do.

It suggests renewals (ARI), understands `replaces`, refuses on demand with any problem
document, limits rates, and hangs. It issues real certificates from its own root, but
believes every proof and verifies no signature: it tests what a home sends and how it
takes an answer, not ACME itself. Pebble does that.
"""

import asyncio
import base64
from collections.abc import AsyncIterator
import contextlib
from dataclasses import dataclass, field
import datetime as dt
import json
from pathlib import Path
import ssl
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.harness.pebble import make_server_certificate

ACME_ERROR = "urn:ietf:params:acme:error:"


@dataclass
class Refusal:
    """What to answer instead."""

    kind: str = "malformed"
    detail: str = "no"
    status: int = 400
    headers: dict[str, str] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    raw: str | None = None  # send this body instead, as HTML
    packed: bool = False  # by gzip, asked for or not


class FakeCa:
    """Answer ACME requests on loopback with TLS."""

    def __init__(self, folder: Path) -> None:
        self.ca_file = folder / "fake-api-root.pem"
        self.url = ""
        self.meta: dict[str, Any] = {"caaIdentities": ["fake.test"]}
        self.suggests = True
        self.window = (4e9, 4e9 + 86400)  # far away
        self.window_headers: dict[str, str] = {}
        self.life_s = 90 * 86400.0
        self.now: float = dt.datetime.now(dt.UTC).timestamp()
        self.refuse: dict[str, list[Refusal]] = {}  # by path, each used once
        self.refuse_always: dict[str, Refusal] = {}
        self.hang: set[str] = set()
        self.requests: list[str] = []
        self.orders: list[dict[str, Any]] = []
        self.reached = asyncio.Event()  # set once a request hangs
        self.most_at_once = 0
        self._running = 0
        self._chains: dict[str, str] = {}
        self._nonce = 0
        self._issuer = ec.generate_private_key(ec.SECP256R1())
        root, chain, key = make_server_certificate(["127.0.0.1"])
        self.ca_file.write_bytes(root)
        (folder / "fake-api.pem").write_bytes(chain + key)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(folder / "fake-api.pem")

    @property
    def directory(self) -> str:
        return f"{self.url}/directory"

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        app = web.Application(middlewares=[self._script])
        app.router.add_get("/directory", self._directory)
        app.router.add_route("HEAD", "/nonce", self._empty)
        app.router.add_post("/account", self._account)
        app.router.add_post("/order", self._order)
        app.router.add_post("/order/{number}", self._order_now)
        app.router.add_post("/authz/{name}", self._authz)
        app.router.add_post("/finalize/{number}", self._finalize)
        app.router.add_post("/cert/{number}", self._certificate)
        app.router.add_get("/renewal/{id}", self._renewal)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"https://127.0.0.1:{port}"
        try:
            yield
        finally:
            await runner.cleanup()

    def count(self, path: str) -> int:
        return sum(one == path for one in self.requests)

    @web.middleware
    async def _script(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        path = "/" + request.path.split("/")[1]
        self.requests.append(path)
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        try:
            return await self._played(path, request, handler)
        finally:
            self._running -= 1

    async def _played(
        self, path: str, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        if path in self.hang:
            self.reached.set()
            await asyncio.Event().wait()
        await asyncio.sleep(0.005)  # so that requests can overlap
        waiting = self.refuse.get(path)
        refusal = waiting.pop(0) if waiting else self.refuse_always.get(path)
        if refusal is None:
            answer = await handler(request)
        else:
            if path == "/order":
                self.orders.append(await _payload(request))
            answer = _refused(refusal)
        self._nonce += 1
        answer.headers["Replay-Nonce"] = f"nonce{self._nonce:011d}"
        return answer

    async def _directory(self, _request: web.Request) -> web.Response:
        paths = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order"}
        if self.suggests:
            paths["renewalInfo"] = "renewal"
        body = {key: f"{self.url}/{path}" for key, path in paths.items()}
        return web.json_response({**body, "meta": self.meta})

    async def _empty(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _account(self, _request: web.Request) -> web.Response:
        headers = {"Location": f"{self.url}/account/1"}
        return web.json_response({"status": "valid"}, status=201, headers=headers)

    async def _order(self, request: web.Request) -> web.Response:
        wish = await _payload(request)
        self.orders.append(wish)
        number = len(self.orders)
        headers = {"Location": f"{self.url}/order/{number}"}
        body = self._body(number, "ready")
        return web.json_response(body, status=201, headers=headers)

    async def _order_now(self, request: web.Request) -> web.Response:
        return web.json_response(self._body(int(request.match_info["number"]), "valid"))

    async def _authz(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        identifier = {"type": "dns", "value": name}
        return web.json_response(
            {"status": "valid", "identifier": identifier, "challenges": []}
        )

    async def _finalize(self, request: web.Request) -> web.Response:
        number = request.match_info["number"]
        csr = (await _payload(request))["csr"]
        self._chains[number] = self._issue(_unbase64(csr))
        return web.json_response(self._body(int(number), "valid"))

    async def _certificate(self, request: web.Request) -> web.Response:
        return web.Response(
            text=self._chains[request.match_info["number"]],
            content_type="application/pem-certificate-chain",
        )

    async def _renewal(self, _request: web.Request) -> web.Response:
        start, end = (
            dt.datetime.fromtimestamp(one, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for one in self.window
        )
        body = {
            "suggestedWindow": {"start": start, "end": end},
            "explanationURL": "https://fake.test/why",
        }
        return web.json_response(body, headers=self.window_headers)

    def _body(self, number: int, status: str) -> dict[str, Any]:
        name = self.orders[number - 1]["identifiers"][0]["value"]
        body: dict[str, Any] = {
            "status": status,
            "identifiers": [{"type": "dns", "value": name}],
            "authorizations": [f"{self.url}/authz/{name}"],
            "finalize": f"{self.url}/finalize/{number}",
        }
        if status == "valid":
            body["certificate"] = f"{self.url}/cert/{number}"
        return body

    def _issue(self, csr_der: bytes) -> str:
        csr = x509.load_der_x509_csr(csr_der)
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        start = dt.datetime.fromtimestamp(self.now, dt.UTC)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fake")]))
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + dt.timedelta(seconds=self.life_s))
            .add_extension(names.value, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    self._issuer.public_key()
                ),
                critical=False,
            )
            .sign(self._issuer, hashes.SHA256())
        )
        return leaf.public_bytes(serialization.Encoding.PEM).decode()


async def _payload(request: web.Request) -> dict[str, Any]:
    body = json.loads(await request.text())
    decoded: dict[str, Any] = json.loads(_unbase64(body["payload"]) or b"{}")
    return decoded


def _unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _refused(refusal: Refusal) -> web.Response:
    if refusal.raw is not None:
        answer = web.Response(
            text=refusal.raw,
            status=refusal.status,
            content_type="text/html",
            headers=refusal.headers,
        )
        if refusal.packed:
            answer.enable_compression(web.ContentCoding.gzip)
        return answer
    body = {"type": f"{ACME_ERROR}{refusal.kind}", "detail": refusal.detail}
    return web.json_response(
        {**body, **refusal.extra},
        status=refusal.status,
        headers=refusal.headers,
        content_type="application/problem+json",
    )
