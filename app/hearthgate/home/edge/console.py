"""Talk to one HAProxy over its runtime API.

    Console.open(folder) ─▶ ask("show info") ─▶ text        one question at a time

The connection stays open between questions: once HAProxy is told to stop it accepts no
new ones, but answers on those it has. An open console keeps a stopping HAProxy alive,
so it must be closed when there is nothing left to ask.
"""

import asyncio
from collections.abc import Mapping
import contextlib
import os
from pathlib import Path
import re
from typing import Final, Self

from hearthgate.home.edge.config import CONSOLE, CUT
from hearthgate.home.edge.errors import EdgeFailedError
from hearthgate.home.edge.requests import hostname_of
from hearthgate.home.edge.traffic import Reading, read_stat

_PROMPT: Final = b"\n> "
_ANSWER_MAX: Final = 4 * 1024 * 1024  # "show sess" is about 1 KiB for each visitor
_ANSWER_S: Final = 5.0
_STAT: Final = "show stat -1 3 -1"  # frontends and backends, but no servers
_SESSION: Final = re.compile(r"^(0x[0-9a-f]+): .*? be=(\S+) ", re.MULTILINE)


class Console:
    """A runtime API connection. Not for two tasks at a time. Close it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._turn = asyncio.Lock()

    @classmethod
    async def open(cls, folder: Path) -> Self:
        """Connect to the HAProxy of a generation's folder. Raises EdgeFailedError.

        Goes through /proc/self/fd, because the path may not fit into a socket address.
        """
        descriptor = -1
        try:
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(folder, flags)
            async with asyncio.timeout(_ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(
                    f"/proc/self/fd/{descriptor}/{CONSOLE}", limit=_ANSWER_MAX
                )
        except (OSError, TimeoutError) as err:
            raise EdgeFailedError(reason=f"its console is closed: {err}") from err
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        console = cls(reader, writer)
        try:
            await console.ask("prompt")
        except BaseException:
            await console.close()
            raise
        return console

    async def ask(self, command: str) -> str:
        """Return the answer to one line. Raises EdgeFailedError if there is none."""
        try:
            async with self._turn, asyncio.timeout(_ANSWER_S):
                self._writer.write(command.encode() + b"\n")
                await self._writer.drain()
                answer = await self._reader.readuntil(_PROMPT)
        except (
            OSError,
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ) as err:
            raise EdgeFailedError(reason=f"no answer to {command[:40]!r}") from err
        return answer[: -len(_PROMPT)].decode("utf-8", "replace").strip()

    async def close(self) -> None:
        """Close the connection. Never raises."""
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(_ANSWER_S):
                await self._writer.wait_closed()

    async def info(self) -> Mapping[str, str]:
        """Return the lines of "show info" by name."""
        lines = (await self.ask("show info")).splitlines()
        pairs = (line.partition(": ") for line in lines)
        return {name: value.strip() for name, _, value in pairs}

    async def visitors(self) -> int:
        """Return how many visitor connections there are."""
        count = (await self.info()).get("CurrConns", "0")
        return int(count) if count.isdecimal() else 0

    async def stat(self) -> Reading:
        """Return what it has counted."""
        return read_stat(await self.ask(_STAT))

    async def forbid(self, hostname: str) -> None:
        """Let no further request for a hostname through."""
        await self.ask(f"add acl {CUT} {hostname}")

    async def shut(self, hostname: str) -> int:
        """End every request, transfer and WebSocket of a hostname; return how many.

        Goes by session: the commands that take a server are refused once it stops.
        """
        sessions = [
            session
            for session, backend in _SESSION.findall(await self.ask("show sess"))
            if hostname_of(backend) == hostname
        ]
        for session in sessions:
            await self.ask(f"shutdown session {session}")
        return len(sessions)
