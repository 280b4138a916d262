"""Open many TLS visitor connections and keep them open.

Each does a full handshake and one request, then stays. `python -m
tests.bench.visitors.hold PORT HOSTNAME PATH COUNT` prints {"open", "errors"} when all
are open, waits for a line on stdin, asks each connection once more, and prints
{"alive", "errors"}: connections that were cut meanwhile are errors.

Visitors come from 100 loopback addresses, as a crowd would: a relay may limit how many
connections one address holds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
import json
import ssl
import sys
from typing import TypeVar

_AT_ONCE = 40  # handshakes under way; SniTun's listener has a backlog of 100
_DEADLINE_S = 20.0
_ADDRESSES = 100

_T = TypeVar("_T")
_Visit = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Crowd:
    """Visitors of one hostname."""

    def __init__(self, port: int, hostname: str, path: str) -> None:
        self._port, self._hostname = port, hostname
        self._request = f"GET {path} HTTP/1.1\r\nHost: {hostname}\r\n\r\n".encode()
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._visits: list[_Visit] = []
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self.errors = 0
        self.alive = 0

    async def open(self, count: int) -> int:
        """Open `count` connections; return how many are open."""
        await self._each(self._open_one, range(count))
        return len(self._visits)

    async def ask_again(self) -> None:
        """Send one more request over every open connection."""
        self.errors = 0
        await self._each(self._ask_one, self._visits)

    async def _each(
        self, step: Callable[[_T], Awaitable[None]], items: Iterable[_T]
    ) -> None:
        async def guarded(item: _T) -> None:
            async with self._gate:
                try:
                    async with asyncio.timeout(_DEADLINE_S):
                        await step(item)
                except (OSError, EOFError, ValueError, TimeoutError) as err:
                    self.errors += 1
                    if self.errors <= 3:
                        sys.stderr.write(f"{type(err).__name__}: {err}\n")

        async with asyncio.TaskGroup() as tasks:
            for item in items:
                tasks.create_task(guarded(item))

    async def _open_one(self, number: int) -> None:
        source = f"127.0.1.{1 + number % _ADDRESSES}"
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            self._port,
            ssl=self._context,
            server_hostname=self._hostname,
            local_addr=(source, 0),
        )
        try:
            await self._request_on(reader, writer)
        except BaseException:
            writer.transport.abort()
            raise
        self._visits.append((reader, writer))

    async def _ask_one(self, visit: _Visit) -> None:
        await self._request_on(*visit)
        self.alive += 1

    async def _request_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(self._request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise ValueError(head[:60])
        length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
        await reader.readexactly(int(length))

    def leave(self) -> None:
        """Cut all connections."""
        for _, writer in self._visits:
            writer.transport.abort()


def _say(**words: int) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


async def main() -> None:
    port, hostname, path, count = sys.argv[1:]
    crowd = Crowd(int(port), hostname, path)
    opened = await crowd.open(int(count))
    _say(open=opened, errors=crowd.errors)
    await asyncio.to_thread(sys.stdin.readline)
    await crowd.ask_again()
    _say(alive=crowd.alive, errors=crowd.errors)
    crowd.leave()


if __name__ == "__main__":
    asyncio.run(main())
