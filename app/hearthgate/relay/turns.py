"""Let newcomers who cost much in one by one, each address in its turn.

    enter(sock, peer) ──▶ a line for each address ──one per turn of the loop──▶ serve

A TLS handshake or a request for aiohttp takes a hundred times as long as a visitor's
hello. Without this, a burst of them is one long pause for every visitor; and one
address with thousands of them would keep a home waiting that wants to come back.
Reads nothing and knows no deadline: whoever uses it bounds how many may stand in line.
"""

import asyncio
from collections import deque
from collections.abc import Callable
import socket

from hearthgate.relay.addresses import address_key
from hearthgate.wire.proxy import Endpoint

Serve = Callable[[socket.socket, Endpoint], None]


class Turns:
    """Connections that wait for their turn, which it owns. Lives in one loop."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._lines: dict[str, deque[tuple[socket.socket, Endpoint]]] = {}
        self._next: asyncio.Handle | None = None

    def __len__(self) -> int:
        return sum(len(line) for line in self._lines.values())

    def enter(self, sock: socket.socket, peer: Endpoint) -> None:
        """Take over a connection until it is its turn."""
        self._lines.setdefault(address_key(peer[0]), deque()).append((sock, peer))
        self._call()

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

    def _call(self) -> None:
        if self._next is None and self._lines:
            self._next = asyncio.get_running_loop().call_soon(self._one)

    def _one(self) -> None:
        self._next = None
        address, line = next(iter(self._lines.items()))
        sock, peer = line.popleft()
        del self._lines[address]
        if line:  # the others come first
            self._lines[address] = line
        self._call()
        self._serve(sock, peer)
