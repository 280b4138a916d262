"""Remember who is logged in, on disk as well, so that an update logs nobody out.

    cookie (256 random bits) ──SHA-256──▶ sessions.yaml: {hash, expires}

Only hashes are kept: who reads the file can't log in with it. A plain hash is enough,
because nobody can guess 256 random bits. A session ends 30 days after its last use, at
logout, or when the password changes. It ends by two clocks, whichever is first, so that
setting the time back keeps none alive and brings none back.
"""

import asyncio
from collections.abc import Callable
import hashlib
import logging
from pathlib import Path
import re
import secrets
import time
from typing import Any

import voluptuous as vol

from hearthgate.shared.storage.yaml_store import (
    StateError,
    StateFromFutureError,
    YamlStore,
)

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

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
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
        self._monotonic = monotonic
        self._stamp = ""
        self._expires: dict[str, float] = {}
        self._deadlines: dict[str, float] = {}  # the same by a clock that nobody sets
        self._lock = asyncio.Lock()

    async def read(self, stamp: str) -> None:
        """Take over what an earlier run left, if the password is still the same."""
        found = await asyncio.to_thread(self._read)
        self._stamp = stamp
        if secrets.compare_digest(str(found["password"]), stamp):
            stored = found["sessions"]
            # The one used last tells how late it has been, whatever the clock says now.
            seen = max(stored.values(), default=0.0) - SESSION_SECONDS
            for key, expires in stored.items():
                if expires > max(seen, self._clock()):
                    self._keep(key, expires)

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
            self._forget(min(self._expires, key=self._expires.__getitem__))
        self._keep(_digest(token), self._clock() + SESSION_SECONDS)
        await self._save()
        return token

    async def covers(self, token: str) -> bool:
        """Tell whether a cookie is valid, and count that as a use of its session."""
        key = _digest(token)
        expires = self._expires.get(key)
        now = self._clock()
        if expires is None:
            return False
        if self._is_over(key):
            self._forget(key)
            await self._save()
            return False
        # A clock that was set back must not leave a session for years.
        if not 0 <= now + SESSION_SECONDS - expires < _SLIDE_SECONDS:
            self._keep(key, now + SESSION_SECONDS)
            await self._save()
        return True

    async def end(self, token: str) -> None:
        """End one session."""
        if _digest(token) in self._expires:
            self._forget(_digest(token))
            await self._save()

    async def end_all(self, stamp: str) -> None:
        """End every session, because the password is now another one."""
        self._expires.clear()
        self._deadlines.clear()
        self._stamp = stamp
        await self._save()

    def _keep(self, key: str, expires: float) -> None:
        left = min(expires - self._clock(), SESSION_SECONDS)
        self._expires[key] = expires
        self._deadlines[key] = self._monotonic() + left

    def _forget(self, key: str) -> None:
        del self._expires[key]
        del self._deadlines[key]

    def _is_over(self, key: str) -> bool:
        by_wall = self._expires[key] <= self._clock()
        return by_wall or self._deadlines[key] <= self._monotonic()

    def _drop_expired(self) -> None:
        for key in [one for one in self._expires if self._is_over(one)]:
            self._forget(key)

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
