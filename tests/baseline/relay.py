"""A relay of version 1 for one home; what version 1 did not know ends a session.

    control name in the hello ─▶ pairing, control
    another hello ─▶ a parked channel     HGC1 ─▶ parked     port 80 ─▶ ACME answers

Not a relay to be used: it looks for names with a substring search.
"""

import asyncio
import base64
from collections.abc import Callable, Coroutine
import contextlib
import datetime as dt
from pathlib import Path
import secrets
import select
import socket
import ssl
import time
from typing import Self

from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.baseline import wire
from tests.baseline.wire import Json

LOOPBACK = "127.0.0.1"
DOMAIN = "home.example.com"
_DAY = dt.timedelta(days=1)


def _certificate(
    name: str, key: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(name == "relay", None), critical=True)
        .sign(signer, hashes.SHA256())
    )


class Relay:
    """Listens on two free ports. An async context manager."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[Json] = []  # all that the home has said
        self.broken: list[str] = []  # what it said that version 1 does not know
        self.hostnames: set[str] = set()
        self.answers: dict[str, str] = {}
        self.parked: list[tuple[socket.socket, int]] = []
        self._secret = secrets.token_bytes(16)
        self._session, self._key = b"", b""
        self._generation = 0
        self._signer = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate("relay", self._signer.public_key(), self._signer)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        path = folder / "relay.pem"
        path.write_bytes(
            self._signer.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + pem
        )
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.load_cert_chain(path)
        self._context.load_verify_locations(cadata=pem.decode())
        self._context.verify_mode = ssl.CERT_OPTIONAL
        self._listener = socket.create_server((LOOPBACK, 0))
        self._plain = socket.create_server((LOOPBACK, 0))
        self.port = self._listener.getsockname()[1]
        self.http_port = self._plain.getsockname()[1]
        self._handlers = web.Server(self._answer)
        self._runner = web.ServerRunner(web.Server(self._challenge))
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._listener.setblocking(False)
        self._start(self._accept())
        await self._runner.setup()
        await web.SockSite(self._runner, self._plain).start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._handlers.shutdown(1)
        await self._runner.cleanup()
        self._listener.close()
        for channel, _ in self.parked:
            channel.close()

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def code(self) -> str:
        """A pairing code."""
        spki = self._signer.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        digest = hashes.Hash(hashes.SHA256())
        digest.update(spki)
        expires = int(time.time()) + 3600
        return wire.write_code(
            LOOPBACK, self.port, digest.finalize(), self._secret, expires
        )

    async def until(self, look: Callable[[], object]) -> None:
        """Wait for something that the home does."""
        async with asyncio.timeout(60):
            while not look():  # noqa: ASYNC110  it is seen, not told
                await asyncio.sleep(0.02)

    # --- the port ---------------------------------------------------------------------

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._listener)
            self._start(self._look(sock))

    async def _look(self, sock: socket.socket) -> None:
        """Peek until it is clear who that is."""
        data = b""
        while len(data) < 48:
            await asyncio.sleep(0.002)
            if select.select([sock], [], [], 0)[0]:
                data = sock.recv(16384, socket.MSG_PEEK)
                if not data:
                    sock.close()
                    return
        if data.startswith(b"HGC1"):
            serial = int.from_bytes(data[24:32], "big")
            if sock.recv(48) == wire.preamble(self._session, serial, self._key):
                self.parked.append((sock, serial))
            else:
                sock.close()
        elif wire.CONTROL_NAME.encode() in data:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._handlers, sock, ssl=self._context
            )
        else:
            await self._carry(sock)

    async def _carry(self, visitor: socket.socket) -> None:
        """Give a visitor the freshest channel, and copy both ways."""
        await self.until(lambda: self.parked)
        channel, serial = self.parked.pop()
        header = wire.proxy(visitor.getpeername(), (LOOPBACK, self.port))
        loop = asyncio.get_running_loop()
        try:
            flight = await loop.sock_recv(visitor, 16384)
            await loop.sock_sendall(
                channel,
                wire.opening(self._session, serial, self._key, header, flight),
            )
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_copy(visitor, channel))
                tasks.create_task(_copy(channel, visitor))
        finally:
            visitor.close()
            channel.close()

    # --- the control endpoint ---------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/v1/pair":
            return await self._pair(request)
        transport = request.transport
        tls = transport.get_extra_info("ssl_object") if transport else None
        if request.path != "/v1/control" or not (tls and tls.getpeercert(True)):
            return web.Response(status=403)
        socket_ = web.WebSocketResponse()
        await socket_.prepare(request)
        with contextlib.suppress(wire.BrokenError):
            await self._hold(socket_)
        await socket_.close()
        return socket_

    async def _pair(self, request: web.BaseRequest) -> web.Response:
        body = await request.json()
        if base64.b64decode(body["secret"]) != self._secret:
            return web.Response(status=403)
        key = x509.load_pem_x509_csr(body["request"].encode()).public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return web.Response(status=400)
        made = _certificate("cottage", key, self._signer)
        return web.json_response(
            {
                "home": "cottage",
                "certificate": made.public_bytes(serialization.Encoding.PEM).decode(),
                "domains": [DOMAIN],
                "software": "0.1.0",
            },
            status=201,
        )

    async def _hold(self, socket_: web.WebSocketResponse) -> None:
        hello = self._read(await socket_.receive_str())
        if hello["type"] != "hello" or 1 not in hello["protocols"]:
            self.broken.append(str(hello))
            return
        self._session, self._key = secrets.token_bytes(16), secrets.token_bytes(32)
        self._generation += 1
        await socket_.send_json(
            {
                "type": "welcome",
                "protocol": 1,
                "session_id": base64.b64encode(self._session).decode(),
                "generation": self._generation,
                "channel_key": base64.b64encode(self._key).decode(),
                "home": "cottage",
                "domains": [DOMAIN],
                "addresses": [LOOPBACK],
                "channels_max": 8,
                "software": "0.1.0",
            }
        )
        async for frame in socket_:
            if frame.type is not WSMsgType.TEXT:
                self.broken.append(str(frame.type))
                return
            await socket_.send_json(self._reply(self._read(frame.data)))

    def _read(self, text: str) -> Json:
        try:
            message = wire.read(text)
        except wire.BrokenError as err:
            self.broken.append(str(err))
            raise
        self.heard.append(message)
        return message

    def _reply(self, message: Json) -> Json:
        match message["type"]:
            case "publish":
                self.hostnames = set(message["hostnames"])
                return {"type": "published", "id": message["id"], "refused": {}}
            case "answer":
                self.answers[message["token"]] = message["key_authorization"]
            case "drop_answer":
                self.answers.pop(message["token"], None)
            case other:
                self.broken.append(f"{other} from an agent")
                raise wire.BrokenError(other)
        return {"type": "done", "id": message["id"]}

    async def _challenge(self, request: web.BaseRequest) -> web.Response:
        answer = self.answers.get(request.path.rpartition("/")[2])
        if answer is None:
            return web.Response(status=404)
        return web.Response(body=answer.encode())


async def _copy(source: socket.socket, sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await loop.sock_recv(source, 65536):
            await loop.sock_sendall(sink, data)
        sink.shutdown(socket.SHUT_WR)
