"""What waits to be sent over a WebSocket, bounded by number and by bytes.

    put ──▶ [……] ──▶ get, as fast as the other side reads

Whoever reads nothing would have it all kept for it: a thousand of the largest datagrams
are 64 MiB. Sends nothing itself.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T", str, bytes)


class Outbox(Generic[T]):
    """Texts or bytes in the order in which they are sent. Lives in one loop."""

    def __init__(self, *, most: int, max_bytes: int) -> None:
        self._most = most
        self._left = max_bytes
        self._waiting: deque[T] = deque()
        self._filled = asyncio.Event()

    def put(self, message: T) -> bool:
        """Add one; False if there is no room for it."""
        if len(self._waiting) >= self._most or len(message) > self._left:
            return False
        self._left -= len(message)
        self._waiting.append(message)
        self._filled.set()
        return True

    async def get(self) -> T:
        """Wait for the next one and take it out."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        message = self._waiting.popleft()
        self._left += len(message)
        return message
