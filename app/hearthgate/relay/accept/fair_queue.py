"""Let newcomers who cost much in one by one, each address in its turn.

    enter(sock, peer) ──▶ a line for each address ──one per turn of the loop──▶ serve

A TLS handshake or a request for aiohttp takes a hundred times as long as a visitor's
hello. Without this, a burst of them is one long pause for every visitor; and one
address with thousands of them would keep a home waiting that wants to come back.
Reads nothing and knows no deadline: whoever uses it bounds how many may stand in line.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
import socket

from hearthgate.relay.accept.connection_limiter import address_key
from hearthgate.wire.proxy import Endpoint

Serve = Callable[[socket.socket, Endpoint], None]


class FairQueue:
    """Connections that wait for their turn, which it owns. Lives in one loop."""

    def __init__(
        self, serve: Serve, *, has_room: Callable[[str], bool] = lambda _key: True
    ) -> None:
        """has_room: whether one more of an address (its key) may be served now."""
        self._serve = serve
        self._has_room = has_room
        self._lines: dict[str, deque[tuple[socket.socket, Endpoint]]] = {}
        self._next: asyncio.Handle | None = None

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    @property
    def addresses(self) -> Iterable[str]:
        """The keys of the addresses of which some wait."""
        return self._lines.keys()

    def enter(self, sock: socket.socket, peer: Endpoint) -> None:
        """Take over a connection until it is its turn."""
        self._lines.setdefault(address_key(peer[0]), deque()).append((sock, peer))
        self.go_on()

    def go_on(self) -> None:
        """Serve whoever there is room for; to be called when there is some again."""
        if self._next is None and self._lines:
            self._next = asyncio.get_running_loop().call_soon(self._one)

    def close(self) -> list[Endpoint]:
        """Close whoever still waits; return where they came from."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        waiting = [one for line in self._lines.values() for one in line]
        self._lines.clear()
        for sock, _ in waiting:
            sock.close()
        return [peer for _, peer in waiting]

    def _one(self) -> None:
        self._next = None
        address = next(filter(self._has_room, self._lines), None)
        if address is None:
            return
        line = self._lines.pop(address)
        sock, peer = line.popleft()
        if line:  # the others come first
            self._lines[address] = line
        self.go_on()
        self._serve(sock, peer)
