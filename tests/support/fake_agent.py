"""An agent made by hand: it says what a test wants, at the right or the wrong time.

    pair ─▶ connect ─▶ hello ─▶ welcome ─▶ publish … park ─▶ opening ─▶ flight

Pairs and dials as the real one does; from there on every frame and every byte is the
test's. Needs a running relay.
"""

import asyncio
from collections.abc import AsyncIterator
import contextlib
from pathlib import Path
import socket
import ssl
from typing import Self

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from hearthgate.home.tunnel.dialing import control_url, relay_client
from hearthgate.home.tunnel.identity import Identity
from hearthgate.home.tunnel.pairing import Joined, pair
from hearthgate.wire import messages
from hearthgate.wire.channel import OPENING_BYTES, opening_size, write_preamble
from hearthgate.wire.constants import CONTROL_PATH
from hearthgate.wire.messages import Message, Welcome, read_message, write_message

DEADLINE_S = 15.0
_LOOK_S = 0.01
_GOODBYE_S = 2.0


class Channel:
    """The agent's end of a channel."""

    def __init__(self, sock: socket.socket, serial: int) -> None:
        self.sock = sock
        self.serial = serial

    async def read(self, size: int) -> bytes:
        """Return exactly so many bytes, or fewer if the stream ends."""
        return await read(self.sock, size)

    async def opened(self) -> bytes:
        """Return the opening with PROXY header and first flight."""
        head = await self.read(OPENING_BYTES)
        size = opening_size(head)
        if size is None:
            raise AssertionError(f"no opening: {head!r}")
        return head + await self.read(size - OPENING_BYTES)

    async def is_closed(self) -> bool:
        """Wait for the relay to close it; False if it speaks instead."""
        return not await read(self.sock, 1)


async def read(sock: socket.socket, size: int) -> bytes:
    """Return exactly so many bytes, or fewer if the stream ends or is reset."""
    loop = asyncio.get_running_loop()
    data = b""
    async with asyncio.timeout(DEADLINE_S):
        with contextlib.suppress(ConnectionError):
            while len(data) < size:
                piece = await loop.sock_recv(sock, size - len(data))
                if not piece:
                    break
                data += piece
    return data


async def dial(port: int, data: bytes = b"") -> socket.socket:
    """Connect to a port on loopback and say something."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await loop.sock_connect(sock, ("127.0.0.1", port))
            await loop.sock_sendall(sock, data)
    except BaseException:
        sock.close()
        raise
    return sock


class FakeAgent:
    """One home at one relay. `async with` connects; everything is closed at its end."""

    def __init__(self, joined: Joined, folder: Path) -> None:
        self.joined = joined
        self.folder = folder
        self.identity = Identity(folder / joined.id)
        self._client: ClientSession | None = None
        self._socket: ClientWebSocketResponse | None = None
        self._welcome: Welcome | None = None
        self._wire: socket.socket | None = None
        self._channels: list[Channel] = []
        self._serial = 0

    @classmethod
    async def join(cls, code: str, folder: Path) -> Self:
        """Use a pairing code."""
        return cls(await pair(code, folder), folder)

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    @property
    def welcome(self) -> Welcome:
        """What the relay has said of this session."""
        if self._welcome is None:
            raise AssertionError("no session yet")
        return self._welcome

    @property
    def socket(self) -> ClientWebSocketResponse:
        """The control connection."""
        if self._socket is None:
            raise AssertionError("not connected")
        return self._socket

    async def dial(self, context: ssl.SSLContext | None = None) -> None:
        """Open the control connection and say nothing yet."""
        joined = self.joined
        self._client = relay_client(joined.host, bytes.fromhex(joined.fingerprint))
        self._socket = await self._client.ws_connect(
            control_url(joined.port, CONTROL_PATH, "wss"),
            ssl=context or self.identity.context(),
            max_msg_size=0,
        )
        self._wire = self._socket.get_extra_info("socket")

    async def connect(self) -> Welcome:
        """Begin a session."""
        await self.dial()
        await self.say(messages.Hello((1,), "a test"))
        welcome = await self.hear()
        assert isinstance(welcome, Welcome), welcome
        self._welcome = welcome
        return welcome

    async def say(self, message: Message | str | bytes) -> None:
        """Send a message, or whatever text or bytes."""
        if isinstance(message, bytes):
            await self.socket.send_bytes(message)
        else:
            text = message if isinstance(message, str) else write_message(message)
            await self.socket.send_str(text)

    async def hear(self) -> Message | None:
        """Return the next message but needs; None at the end of the connection."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                frame = await self.socket.receive()
                if frame.type is not WSMsgType.TEXT:
                    return None
                message = read_message(frame.data)
                if not isinstance(message, messages.Need):
                    return message

    async def need(self) -> messages.Need:
        """Wait until visitors wait."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                message = read_message(await self.socket.receive_str())
                if isinstance(message, messages.Need):
                    return message

    async def publish(self, *hostnames: str) -> Message | None:
        """Declare the whole set."""
        await self.say(messages.Publish(1, hostnames))
        return await self.hear()

    async def ended(self) -> Message | None:
        """Wait for the end; return the last message before it."""
        last = None
        while (message := await self.hear()) is not None:
            last = message
        return last

    async def park(
        self,
        *,
        serial: int | None = None,
        key: bytes | None = None,
        session: bytes | None = None,
    ) -> Channel:
        """Dial a channel and send its preamble, right or wrong."""
        if serial is None:
            self._serial += 1
            serial = self._serial
        preamble = write_preamble(
            session or self.welcome.session_id, serial, key or self.welcome.channel_key
        )
        return await self.channel(preamble, serial)

    async def channel(self, said: bytes, serial: int = 0) -> Channel:
        """Dial and say something."""
        made = Channel(await dial(self.joined.port, said), serial)
        self._channels.append(made)
        return made

    async def close(self) -> None:
        """Close everything."""
        for channel in self._channels:
            channel.sock.close()
        if self._socket is not None:
            await self._socket.close()
        if self._client is not None:
            await self._client.close()
        if self._wire is not None:
            # aiohttp has asked for the end, which takes TLS a round trip. A relay that
            # hangs does not take part; then the loop's end closes our side.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    while self._wire.fileno() != -1:  # noqa: ASYNC110  no event
                        await asyncio.sleep(_LOOK_S)


@contextlib.asynccontextmanager
async def joined(code: str, folder: Path) -> AsyncIterator[FakeAgent]:
    """Pair, connect, and close at the end."""
    async with await FakeAgent.join(code, folder) as agent:
        yield agent
