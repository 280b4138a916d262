"""Answer one HAProxy's questions about passwords, over a socket in its folder.

    HAProxy (passwords.lua) ──HOSTNAME ADDRESS HEX──▶ Desk ─▶ PasswordChecks
                            ◀──────── right ────────┘

A connection is one question. Each generation has a desk of its own, as long as its
process lives, for its own hostnames; what is counted is counted by PasswordChecks, over
all generations. Decides nothing itself.
"""

import asyncio
from collections.abc import Iterable
import contextlib
import logging
import os
from pathlib import Path
import socket
from typing import Final

from hearthgate.home.access import PasswordChecks, Verdict
from hearthgate.home.edge.access import SOCKET
from hearthgate.home.edge.errors import EdgeFailedError
from hearthgate.home.edge.routes import Route
from hearthgate.shared.process.tasks import Tasks

_LOGGER = logging.getLogger(__name__)

# A hostname, an address, and a password of at most PASSWORD_MAX_BYTES in hex.
_QUESTION_MAX: Final = 4096
_QUESTION_S: Final = 5.0
_BACKLOG: Final = 256


class Desk:
    """The socket of one generation. `open` it, and `close` it when HAProxy is gone."""

    def __init__(self, routes: Iterable[Route], checks: PasswordChecks) -> None:
        self._policies = {
            route.hostname.encode(): route.access
            for route in routes
            if route.access is not None
        }
        self._checks = checks
        self._folder = -1
        self._server: asyncio.Server | None = None
        self._tasks = Tasks()

    async def open(self, folder: Path) -> None:
        """Listen in the folder, if there is a policy to ask about.

        Raises EdgeFailedError. Goes through /proc/self/fd, because the path may not fit
        into a socket address.
        """
        if not self._policies:
            return
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            listener.bind(f"/proc/self/fd/{self._folder}/{SOCKET}")
            self._server = await asyncio.start_unix_server(
                self._connected, sock=listener, limit=_QUESTION_MAX, backlog=_BACKLOG
            )
        except OSError as err:
            listener.close()
            await self.close()
            raise EdgeFailedError(reason=f"cannot answer it: {err}") from err

    async def close(self) -> None:
        """Answer no more. May be called twice."""
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._tasks.close()
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._tasks.start(self._serve(reader, writer), "password question")

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with asyncio.timeout(_QUESTION_S):
                question = await reader.readuntil(b"\n")
            verdict = await self._answer(question)
            writer.write(f"{verdict}\n".encode())
            async with asyncio.timeout(_QUESTION_S):
                await writer.drain()
        except (
            OSError,
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ValueError,
        ) as err:
            _LOGGER.debug("edge: a question about a password failed: %s", err)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, question: bytes) -> Verdict:
        """Raise ValueError for what is no question of ours."""
        hostname, address, password = question[:-1].split(b" ")
        access = self._policies.get(hostname)
        if access is None:
            raise ValueError("unknown hostname")
        # Bytes that are no UTF-8 are in no password, but are a guess all the same.
        text = bytes.fromhex(password.decode("ascii")).decode(errors="surrogateescape")
        return await self._checks.check(text, access, address.decode("ascii"))
