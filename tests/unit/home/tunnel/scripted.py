"""A relay on loopback that does what a test says: accept channels and open them."""

import asyncio
from collections.abc import Callable
import socket

from hearthgate.wire.channel import (
    PREAMBLE_BYTES,
    ChannelKind,
    Preamble,
    preamble_is_authentic,
    read_preamble,
    write_opening,
)
from hearthgate.wire.proxy import proxy_header

SESSION, KEY = b"s" * 16, b"k" * 32
PROXY = proxy_header(("198.51.100.7", 50_000), ("203.0.113.5", 443))
RESET = b"\1\0\0\0\0\0\0\0"  # struct linger: on, at once


class Parked:
    """The relay's end of a channel that was parked."""

    def __init__(self, sock: socket.socket, preamble: Preamble) -> None:
        self.sock = sock
        self.serial = preamble.serial

    def opening(
        self,
        *,
        session: bytes = SESSION,
        serial: int | None = None,
        key: bytes = KEY,
        proxy: bytes = PROXY,
        flight: bytes = b"",
        kind: ChannelKind = ChannelKind.CLEAR,
    ) -> bytes:
        """Return the right opening, or one that is wrong somewhere."""
        return write_opening(
            session, serial or self.serial, key, proxy, flight, kind=kind
        )

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.sock, data)

    async def is_closed(self) -> bool:
        """Wait for the agent to close this channel; False if it speaks instead."""
        try:
            async with asyncio.timeout(20):
                loop = asyncio.get_running_loop()
                return not await loop.sock_recv(self.sock, 1)
        except ConnectionError:
            return True

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.sock.close()


class ScriptedRelay:
    """Listens; what it has accepted and checked waits in `next`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._listener.setblocking(False)
        self.parked: list[Parked] = []
        self._on_parked: Callable[[Parked], None] | None = None

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()
        return host, port

    async def next(self) -> Parked:
        """Accept a channel and check its ticket."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            sock, _ = await loop.sock_accept(self._listener)
            data = b""
            while len(data) < PREAMBLE_BYTES:
                piece = await loop.sock_recv(sock, PREAMBLE_BYTES - len(data))
                if not piece:
                    raise AssertionError("a channel without a preamble")
                data += piece
        preamble = read_preamble(data)
        assert preamble is not None
        assert preamble.session_id == SESSION
        assert preamble_is_authentic(preamble, KEY)
        parked = Parked(sock, preamble)
        self.parked.append(parked)
        return parked

    async def take(self, count: int) -> list[Parked]:
        return [await self.next() for _ in range(count)]

    def nobody_waits(self) -> bool:
        """Tell whether no more channels were dialled."""
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return True
        sock.close()
        return False

    def stop_listening(self) -> None:
        self._listener.close()

    def close(self) -> None:
        self._listener.close()
        for one in self.parked:
            one.close()
