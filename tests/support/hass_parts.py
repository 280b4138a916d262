"""A Core that a test plays: its HTTP settings with their trial, and its front door.

    ScriptedCore ── commands ──▶ StandInSupervisor        Door: one status for everybody

Follows what Core's source says of http/config: what is configured is tried at the next
start, and is remembered with an error once the trial has failed.
"""

import asyncio
from collections.abc import AsyncIterator
import contextlib
from datetime import UTC, datetime
from typing import Any

from hearthgate.home.model import Scheme, Target

Json = dict[str, Any]
NOTES: Json = {"created_at": "2026-11-01", "error": None, "error_message": None}
STABLE: Json = {
    **NOTES,
    "server_port": 8123,
    "cors_allowed_origins": ["https://cast.home-assistant.io"],
    "login_attempts_threshold": -1,
    "ip_ban_enabled": True,
}


class ScriptedCore:
    """The settings of one Core. `restart` is what a configuration does to it."""

    def __init__(self) -> None:
        self.stable: Json = dict(STABLE)
        self.pending: Json | None = None
        self.is_on_trial = False
        self.revert_at: float | None = None
        self.configured: list[Json] = []
        self.promoted = 0
        self.restarts = True  # False: what is configured waits for ever

    @property
    def commands(self) -> Json:
        """What the stand-in answers."""
        return {
            "http/config": lambda _: self.answer(),
            "http/config/configure": self.configure,
            "http/config/promote": self.promote,
        }

    def answer(self) -> Json:
        """Return what http/config says."""
        at = self.revert_at
        return {
            "stable": self.stable,
            "pending": self.pending,
            "revert_at": datetime.fromtimestamp(at, UTC).isoformat() if at else None,
            "active_config_type": "pending" if self.is_on_trial else "stable",
        }

    def configure(self, asked: Json) -> Json:
        """Take new settings, and use them on trial after the restart."""
        self.configured.append(asked["config"])
        self.pending = {**asked["config"], **NOTES}
        self.is_on_trial = self.restarts
        return {"restart": True}

    def promote(self, _: Json) -> None:
        """Keep what is tried."""
        self.promoted += 1
        self.stable, self.pending = self.pending or self.stable, None
        self.is_on_trial = False

    def revert(self, error: str = "not_promoted", message: str | None = None) -> None:
        """Go back by itself, and remember what failed."""
        self.pending = {
            **(self.pending or {}),
            "error": error,
            "error_message": message,
        }
        self.is_on_trial = False
        self.revert_at = None


class Door:
    """A web server that answers everybody with one status, or says what it is told."""

    def __init__(self) -> None:
        self.status = 400
        self.raw: bytes | None = None
        self.heard: list[str] = []
        self.target = Target(Scheme.HTTP, "127.0.0.1", 1)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Door"]:
        """Listen on loopback."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.target = Target(Scheme.HTTP, "127.0.0.1", port)
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError, EOFError):
            self.heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
            answer = f"HTTP/1.1 {self.status} Whatever\r\nContent-Length: 0\r\n\r\n"
            writer.write(answer.encode() if self.raw is None else self.raw)
            await writer.drain()
        writer.close()
