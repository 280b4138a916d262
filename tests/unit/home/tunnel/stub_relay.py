"""A relay's control endpoint that does what a test says, one session after the other.

    Tunnel ──mutual TLS──▶ StubRelay: refuse with a status, or welcome and then `act`

The key is pinned as with a real one. Parks no channels: nothing listens for them.
"""

from collections.abc import Awaitable, Callable
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Self

from aiohttp import WSMsgType, web

from hearthgate.home.tunnel.identity import Identity, certificate_request, make_key
from hearthgate.relay.homes.keys import Keys
from hearthgate.wire import messages

Act = Callable[[web.WebSocketResponse], Awaitable[None]]
WELCOME = messages.Welcome(
    protocol=1,
    session_id=b"s" * 16,
    generation=1,
    channel_key=b"k" * 32,
    home="cottage",
    domains=("home.example.com",),
    addresses=("203.0.113.5",),
    channels_max=1,
    software="0",
)


async def hold(socket: web.WebSocketResponse) -> None:
    """Read until the agent leaves."""
    async for frame in socket:
        if frame.type is not WSMsgType.TEXT:
            return


class StubRelay:
    """An async context manager; `identity` is a home's that it knows."""

    def __init__(self, folder: Path) -> None:
        self._keys = Keys(folder / "keys", may_make=True)
        self._context = self._keys.control_context()
        self._runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        self.identity = Identity(folder / "home")
        key = make_key()
        signed = self._keys.sign(certificate_request(key), "cottage")
        self.identity.save(key, signed.certificate)
        self.status = 101
        self.act: Act = hold
        self.sessions = 0
        self.hellos: list[messages.Hello] = []
        self.features: tuple[str, ...] = ()
        self.refuse: Callable[[], str] | None = None  # gives the code
        self.port = 0

    @property
    def fingerprint(self) -> bytes:
        return self._keys.fingerprint

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.sessions += 1
        if self.status != 101:
            return web.json_response({}, status=self.status)
        socket = web.WebSocketResponse(timeout=0.1)
        await socket.prepare(request)
        with contextlib.suppress(ConnectionError, TypeError):
            hello = messages.read_message(await socket.receive_str())
            if isinstance(hello, messages.Hello):
                self.hellos.append(hello)
            if self.refuse is not None:
                no = messages.Refused(0, self.refuse(), "No.")
                await socket.send_str(messages.write_message(no))
                return socket
            welcome = replace(WELCOME, features=self.features)
            await socket.send_str(messages.write_message(welcome))
            await self.act(socket)
        return socket
