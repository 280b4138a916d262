"""Play the relay and a visitor, so that tests meet the real HAProxy over real sockets.

    visit()  ─▶ TCP pair ─▶ PROXY v2 header ─▶ Edge.hand_over ─▶ HAProxy ─▶ House
    listen() ─▶ the same for programs that dial (curl), byte by byte

Everything is on loopback with free ports. Tests run the blocking parts in threads.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
import contextlib
import datetime as dt
import http.client
import ipaddress
from pathlib import Path
import socket
import ssl
import struct
from typing import Any

from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hearthgate.home.edge import Edge, EdgeSettings, Route
from hearthgate.home.model import Access, Scheme, Target
from tests.harness import haproxies

VISITOR = "198.51.100.7"
PATIENCE_S = 20.0
MB = 1024 * 1024


def make_certificate(path: Path, *hostnames: str) -> Path:
    """Write a self-signed certificate and its key as one PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostnames[0])])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(one) for one in hostnames]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


def proxy_header(address: str = VISITOR) -> bytes:
    """Return a PROXY protocol v2 header as the relay writes it."""
    visitor = ipaddress.ip_address(address)
    family, relay = (
        (0x11, ipaddress.ip_address("203.0.113.5"))
        if visitor.version == 4
        else (0x21, ipaddress.ip_address("2001:db8::5"))
    )
    body = visitor.packed + relay.packed + struct.pack("!HH", 50000, 443)
    magic = b"\r\n\r\n\x00\r\nQUIT\n"
    return magic + bytes((0x21, family)) + struct.pack("!H", len(body)) + body


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a TCP connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    for end in (near, far):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far


def trusting(*alpn: str) -> ssl.SSLContext:
    """Return a TLS context that believes every certificate."""
    # The default context reads all of the system's authorities, 20 ms each time.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class Visitor:
    """One TLS connection to the edge, as a browser would have it. Blocking."""

    def __init__(self, edge_side: "Household", hostname: str, address: str) -> None:
        self.hostname = hostname
        self.plain, far = tcp_pair()
        self.plain.settimeout(PATIENCE_S)
        self.plain.sendall(proxy_header(address))
        edge_side.hand_over(far)
        self.tls: ssl.SSLSocket

    def greet(self, *alpn: str) -> "Visitor":
        """Do the TLS handshake."""
        context = trusting(*alpn)
        self.tls = context.wrap_socket(self.plain, server_hostname=self.hostname)
        return self

    def ask(
        self,
        path: str = "/echo",
        *,
        method: str = "GET",
        host: str | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> http.client.HTTPResponse:
        """Send one HTTP/1.1 request and return the answer, its body unread."""
        connection = http.client.HTTPConnection(self.hostname)
        connection.sock = self.tls
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", host if host is not None else self.hostname)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        return connection.getresponse()

    def raw(self, request: bytes) -> bytes:
        """Send bytes and return everything until the end of the connection."""
        self.tls.sendall(request)
        answer = b""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while chunk := self.tls.recv(65536):
                answer += chunk
        return answer

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(AttributeError, OSError):
            self.tls.close()
        self.plain.close()


class House:
    """A service at home that says what it received."""

    def __init__(self) -> None:
        self.requests = 0
        self.connections: set[object] = set()
        self.go = asyncio.Event()
        self.app = web.Application(client_max_size=0)
        self.app.add_routes(
            [
                web.get("/download", self._download),
                web.put("/upload", self._upload),
                web.get("/events", self._events),
                web.get("/ws", self._websocket),
                web.get("/slow", self._slow),
                web.post("/talk", self._talk),
                web.route("*", "/{tail:.*}", self._echo),
            ]
        )
        self._runner = web.AppRunner(self.app, access_log=None, shutdown_timeout=0.1)

    async def open(self, context: ssl.SSLContext | None = None) -> int:
        """Listen on a free port of both loopback families' IPv4; return the port."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        self.port = int(self._runner.addresses[0][1])
        return self.port

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        self.go.set()
        await self._runner.cleanup()

    async def _echo(self, request: web.Request) -> web.Response:
        self.requests += 1
        self.connections.add(request.transport)
        return web.json_response(
            {
                "path": request.raw_path,
                "headers": [[k.lower(), v] for k, v in request.headers.items()],
            }
        )

    async def _download(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        chunk = bytes(256 * 1024)
        for _ in range(int(request.query["mb"]) * 4):
            await response.write(chunk)
            if "wait" in request.query:
                await self.go.wait()
        return response

    async def _upload(self, request: web.Request) -> web.Response:
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
        return web.json_response({"size": size})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: first\n\n")
        await self.go.wait()
        await response.write(b"data: second\n\n")
        return response

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket_ = web.WebSocketResponse()
        await socket_.prepare(request)
        async for message in socket_:
            if message.type is WSMsgType.TEXT:
                await socket_.send_str(message.data)
        return socket_

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        """Answer each piece of a body before the next one comes, as gRPC does."""
        response = web.StreamResponse()
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece.upper())
        return response

    async def _slow(self, request: web.Request) -> web.Response:
        del request
        await self.go.wait()
        return web.Response(text="late")


class Household:
    """A running edge with the means to visit it."""

    def __init__(self, folder: Path, settings: EdgeSettings) -> None:
        self.folder = folder
        self.edge = Edge(folder / "edge", settings)
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.create_task(self.edge.run(), name="edge")
        self._visitors: list[Visitor] = []

    def hand_over(self, far: socket.socket) -> None:
        """Hand over from whichever thread the test is in."""
        self.loop.call_soon_threadsafe(self.edge.hand_over, far)

    def route(
        self,
        hostname: str,
        port: int,
        *,
        scheme: Scheme = Scheme.HTTP,
        host: str = "127.0.0.1",
        access: Access | None = None,
        certificate: Path | None = None,
    ) -> Route:
        """Return a route; its certificate is made at the first time."""
        path = certificate or self.folder / f"{hostname}.pem"
        if not path.exists():
            make_certificate(path, hostname)
        return Route(hostname, Target(scheme, host, port), path, access, hostname)

    async def visit(self, hostname: str, *alpn: str, address: str = VISITOR) -> Visitor:
        """Connect and do the TLS handshake."""
        visitor = Visitor(self, hostname, address)
        self._visitors.append(visitor)
        return await asyncio.to_thread(visitor.greet, *alpn)

    async def get(
        self,
        hostname: str,
        path: str = "/echo",
        **more: Any,  # noqa: ANN401 - what Visitor.ask takes
    ) -> tuple[int, bytes]:
        """Visit once, over a connection of its own."""
        address = more.pop("address", VISITOR)
        visitor = await self.visit(hostname, address=address)
        try:
            return await asyncio.to_thread(_read, visitor, path, more)
        finally:
            visitor.close()

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncIterator[int]:
        """Listen for programs that dial; yield the port."""

        async def relay(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            near, far = tcp_pair()
            near.setblocking(False)
            there_reader, there_writer = await asyncio.open_connection(sock=near)
            there_writer.write(proxy_header())
            self.edge.hand_over(far)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pump(reader, there_writer))
                tasks.create_task(_pump(there_reader, writer))

        server = await asyncio.start_server(relay, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()

    async def close(self) -> None:
        """Hang up and end the edge."""
        for visitor in self._visitors:
            visitor.close()
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@contextlib.asynccontextmanager
async def household(
    folder: Path,
    **settings: Any,  # noqa: ANN401 - what EdgeSettings takes
) -> AsyncIterator[Household]:
    """Run an edge for a test."""
    home = Household(
        folder,
        EdgeSettings(**{"threads": 2, "program": haproxies.program(), **settings}),
    )
    try:
        async with asyncio.timeout(150):
            yield home
    finally:
        await home.close()


@contextlib.asynccontextmanager
async def house(context: ssl.SSLContext | None = None) -> AsyncIterator[House]:
    """Run a service for a test."""
    service = House()
    await service.open(context)
    try:
        yield service
    finally:
        await service.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds. For what no event tells, such as a process' end."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)


def _read(visitor: Visitor, path: str, more: dict[str, Any]) -> tuple[int, bytes]:
    response = visitor.ask(path, **more)
    return response.status, response.read()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(256 * 1024):
            writer.write(chunk)
            await writer.drain()
    with contextlib.suppress(ConnectionError, OSError):
        writer.close()
