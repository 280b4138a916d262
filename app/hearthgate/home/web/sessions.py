"""Remember who is logged in, on disk as well, so that an update logs nobody out.

    cookie (256 random bits) ──SHA-256──▶ sessions.yaml: {hash, expires}

Only hashes are kept: who reads the file can't log in with it. A plain hash is enough,
because nobody can guess 256 random bits. A session ends 30 days after its last use, at
logout, or when the password changes.
"""

import asyncio
from collections.abc import Callable
import hashlib
import logging
from pathlib import Path
import re
import secrets
from typing import Any

import voluptuous as vol

from hearthgate.store import StateError, StateFromFutureError, YamlStore

_LOGGER = logging.getLogger(__name__)

SESSION_SECONDS = 30 * 24 * 3600
# A household with ten people and a few devices each; the one unused longest goes first.
SESSIONS_MAX = 64
# How much later a use may be than what the file says: one write a day for a session,
# not one for every request.
_SLIDE_SECONDS = 24 * 3600
_DIGEST = re.compile(r"[0-9a-f]{64}")


def _digest_text(value: object) -> str:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise vol.Invalid("expected a SHA-256 hash")
    return value


_SCHEMA = vol.Schema(
    {
        vol.Required("password"): vol.Any("", _digest_text),
        vol.Required("sessions"): vol.All(
            {_digest_text: vol.All(vol.Any(int, float), vol.Coerce(float))},
            vol.Length(max=SESSIONS_MAX),
        ),
    }
)


class Sessions:
    """The sessions that are valid now. Lives in one loop."""

    def __init__(self, path: Path, *, clock: Callable[[], float]) -> None:
        """Know no session yet; call read() first. The clock gives Unix time."""
        self._store: YamlStore[dict[str, Any]] = YamlStore(
            path,
            version=1,
            schema=_SCHEMA,
            load=dict,
            dump=dict,
            empty=lambda: {"password": "", "sessions": {}},
            migrations={},
            title="logins of the page, as hashes",
            clock=clock,
        )
        self._clock = clock
        self._stamp = ""
        self._expires: dict[str, float] = {}
        self._lock = asyncio.Lock()

    async def read(self, stamp: str) -> None:
        """Take over what an earlier run left, if the password is still the same."""
        found = await asyncio.to_thread(self._read)
        self._stamp = stamp
        if secrets.compare_digest(str(found["password"]), stamp):
            self._expires = dict(found["sessions"])

    def _read(self) -> dict[str, Any]:
        try:
            return self._store.read()
        except StateFromFutureError as err:  # one has to log in again, no more
            return self._store.step_back(err)

    async def start(self) -> str:
        """Begin a session and return what the cookie must carry."""
        token = secrets.token_urlsafe(32)
        self._drop_expired()
        while len(self._expires) >= SESSIONS_MAX:
            del self._expires[min(self._expires, key=self._expires.__getitem__)]
        self._expires[_digest(token)] = self._clock() + SESSION_SECONDS
        await self._save()
        return token

    async def covers(self, token: str) -> bool:
        """Tell whether a cookie is valid, and count that as a use of its session."""
        key = _digest(token)
        expires = self._expires.get(key)
        now = self._clock()
        if expires is None:
            return False
        if expires <= now:
            del self._expires[key]
            return False
        # A clock that was set back must not leave a session for years.
        if not 0 <= now + SESSION_SECONDS - expires < _SLIDE_SECONDS:
            self._expires[key] = now + SESSION_SECONDS
            await self._save()
        return True

    async def end(self, token: str) -> None:
        """End one session."""
        if self._expires.pop(_digest(token), None) is not None:
            await self._save()

    async def end_all(self, stamp: str) -> None:
        """End every session, because the password is now another one."""
        self._expires.clear()
        self._stamp = stamp
        await self._save()

    def _drop_expired(self) -> None:
        now = self._clock()
        for key in [key for key, end in self._expires.items() if end <= now]:
            del self._expires[key]

    async def _save(self) -> None:
        """Write what is valid now. Without a disk, logins last until the next start."""
        async with self._lock:
            value = {"password": self._stamp, "sessions": dict(self._expires)}
            try:
                await asyncio.to_thread(self._store.write, value)
            except StateError as err:
                _LOGGER.warning("Logins will not survive a restart: %s", err)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
