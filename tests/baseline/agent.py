"""An agent of version 1, driven by a test; what version 1 did not know ends it."""

import asyncio
import base64
import contextlib
from pathlib import Path
import socket
import ssl
import struct
from typing import Self

from aiohttp import ClientSession, ClientWebSocketResponse, TCPConnector
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.baseline import wire
from tests.baseline.wire import Json

DEADLINE_S = 30.0


class Agent:
    """One home. An async context manager once it is paired."""

    def __init__(self, code: str, folder: Path) -> None:
        self.host, self.port, self.pin, self.secret = wire.read_code(code)
        self.folder = folder
        self.home: Json = {}
        self.welcome: Json = {}
        self.needs = 0
        self._serial = 0
        self._stack = contextlib.AsyncExitStack()
        self._socket: ClientWebSocketResponse | None = None

    async def pair(self) -> Json:
        """Use the pairing code; keep the key and what the relay has signed."""
        key = ec.generate_private_key(ec.SECP256R1())
        request = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .sign(key, hashes.SHA256())
        )
        body = {
            "secret": base64.b64encode(self.secret).decode(),
            "request": request.public_bytes(serialization.Encoding.PEM).decode(),
        }
        async with (
            await self._client() as client,
            client.post(
                self._url("https", "/v1/pair"),
                json=body,
                server_hostname=wire.CONTROL_NAME,
            ) as answer,
        ):
            self.home = await answer.json()
            if answer.status != 201:
                raise wire.BrokenError(str(self.home))
        pem = (
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + self.home["certificate"].encode()
        )
        (self.folder / "home.pem").write_bytes(pem)
        return self.home

    def _url(self, scheme: str, path: str) -> str:
        return f"{scheme}://{self.host}:{self.port}{path}"

    async def _client(self) -> ClientSession:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if (self.folder / "home.pem").exists():
            context.load_cert_chain(self.folder / "home.pem")
        # The relay's key is pinned by its SubjectPublicKeyInfo (protocol §2.2).
        certificate = await asyncio.to_thread(self._certificate)
        spki = certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        digest = hashes.Hash(hashes.SHA256())
        digest.update(spki)
        if digest.finalize() != self.pin:
            raise wire.BrokenError("another key")
        return ClientSession(connector=TCPConnector(ssl=context))

    def _certificate(self) -> x509.Certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with (
            socket.create_connection((self.host, self.port), DEADLINE_S) as raw,
            context.wrap_socket(raw, server_hostname=wire.CONTROL_NAME) as tls,
        ):
            der = tls.getpeercert(binary_form=True)
            if der is None:
                raise wire.BrokenError("no certificate")
            return x509.load_der_x509_certificate(der)

    async def __aenter__(self) -> Self:
        client = await self._stack.enter_async_context(await self._client())
        self._socket = await self._stack.enter_async_context(
            client.ws_connect(
                self._url("wss", "/v1/control"), server_hostname=wire.CONTROL_NAME
            )
        )
        await self.say({"type": "hello", "protocols": [1], "software": "0.1.0"})
        self.welcome = await self.hear()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()

    async def say(self, message: Json) -> None:
        """Send a message."""
        if self._socket is None:
            raise wire.BrokenError("not connected")
        await self._socket.send_json(message)

    async def hear(self) -> Json:
        """Return the next message but needs, which are counted."""
        async with asyncio.timeout(DEADLINE_S):
            while self._socket is not None:
                message = wire.read(await self._socket.receive_str())
                if message["type"] != "need":
                    return message
                self.needs += message["count"]
        raise wire.BrokenError("not connected")

    async def ask(self, kind: str, **fields: object) -> Json:
        """Send a request and return the next message."""
        await self.say({"type": kind, "id": 7, **fields})
        return await self.hear()

    async def park(self) -> socket.socket:
        """Park a channel."""
        self._serial += 1
        sock = socket.socket()
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, (self.host, self.port))
        await loop.sock_sendall(
            sock, wire.preamble(self._session, self._serial, self._key)
        )
        return sock

    async def opened(self, channel: socket.socket, serial: int) -> tuple[bytes, bytes]:
        """Wait for the opening, check it, and return PROXY header and first flight."""
        head = await read(channel, 28)
        n, m = struct.unpack_from("!HH", head, 6)
        rest = await read(channel, n + m)
        expected = wire.opening(self._session, serial, self._key, rest[:n], rest[n:])
        if head + rest != expected:
            raise wire.BrokenError(f"forged: {head!r}")
        return rest[:n], rest[n:]

    @property
    def _session(self) -> bytes:
        return base64.b64decode(self.welcome["session_id"])

    @property
    def _key(self) -> bytes:
        return base64.b64decode(self.welcome["channel_key"])


async def read(sock: socket.socket, size: int) -> bytes:
    """Return exactly so many bytes, or what came before the end."""
    data = b""
    async with asyncio.timeout(DEADLINE_S):
        while len(data) < size:
            piece = await asyncio.get_running_loop().sock_recv(sock, size - len(data))
            if not piece:
                break
            data += piece
    return data
