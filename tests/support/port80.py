"""Port 80 of a relay, as far as the authority can see it: shows answers over HTTP."""

import asyncio
from collections.abc import AsyncIterator
import contextlib


class Port80:
    """Serve answers on loopback; what was asked and shown is written down.

    Fulfils the Answers protocol, as a relay does for one home.
    """

    def __init__(self) -> None:
        self.shown: dict[tuple[str, str], str] = {}
        self.published: list[tuple[str, str]] = []
        self.withdrawn: list[tuple[str, str]] = []
        self.asked: list[str] = []
        self.answer_instead: str | None = None  # what to answer to everybody
        self.hold: asyncio.Event | None = None  # answers only once it is set
        self.asked_once = asyncio.Event()

    async def publish_answer(
        self, hostname: str, token: str, key_authorization: str
    ) -> None:
        self.published.append((hostname, token))
        self.shown[hostname, token] = key_authorization

    async def withdraw_answer(self, hostname: str, token: str) -> None:
        self.withdrawn.append((hostname, token))
        self.shown.pop((hostname, token), None)

    @contextlib.asynccontextmanager
    async def serve(self, port: int) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", port)
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split(" ", 2)[1]
            host = next(
                line.split(":", 1)[1].strip().split(":")[0]
                for line in head.split("\r\n")
                if line.lower().startswith("host:")
            )
            self.asked.append(f"{host}{path}")
            self.asked_once.set()
            if self.hold is not None:
                await self.hold.wait()
            body = self.answer_instead or self.shown.get((host, path.rsplit("/", 1)[1]))
            status = "404 Not Found" if body is None else "200 OK"
            text = body or "nothing here"
            writer.write(
                f"HTTP/1.1 {status}\r\nConnection: close\r\n"
                f"Content-Length: {len(text)}\r\n\r\n{text}".encode()
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
