"""The login of a home that stands alone: one password, and sessions in a cookie.

    POST api/login    ──▶ Attempts (slow down) ──▶ PasswordFile ──▶ Sessions ──▶ cookie
    POST api/password ──▶ the same with the old one, then all sessions but a new one end
    any request       ──▶ cookie ──▶ Sessions.covers ──▶ User

The cookie is HttpOnly and SameSite=Strict, and Secure when the page came over https.
Has no users with names and no recovery: who can write the data folder sets a password.
"""

import asyncio
from collections.abc import Callable
import logging
import math
from pathlib import Path
import time

from aiohttp import web

from hearthgate.home.web.errors import (
    PasswordInSettingsError,
    TooManyLoginsError,
    WrongPasswordError,
)
from hearthgate.home.web.login.attempts import Attempts
from hearthgate.home.web.login.passwords import PasswordFile
from hearthgate.home.web.login.sessions import SESSION_SECONDS, Sessions
from hearthgate.home.web.login.users import User
from hearthgate.shared.settings.kinds import Secret

_LOGGER = logging.getLogger(__name__)

COOKIE = "hearthgate_session"
# A browser takes a cookie with this prefix only over https, for this one host (RFC
# 6265bis §4.1.3.2): nobody who can only serve http can plant one.
SECURE_COOKIE = "__Host-" + COOKIE
_TOKEN_MAX = 128
# Each check holds 32 MiB; what waits beyond these is turned away, whatever its address.
_CHECKS_AT_A_TIME = 2
_CHECKS_WAITING = 8
_BUSY_SECONDS = 5


class Login:
    """Know who is logged in. Lives in one loop."""

    login = "password"

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use a private folder that exists; call prepare() before serving."""
        self._password = PasswordFile(folder / "password")
        self._sessions = Sessions(folder / "sessions.yaml", clock=clock)
        self._attempts = Attempts(clock=monotonic)
        self._checks = asyncio.Semaphore(_CHECKS_AT_A_TIME)
        self._waiting = 0
        self._changing = asyncio.Lock()
        self._is_from_settings = False
        self._user = User("owner")

    async def prepare(self, given: Secret | None) -> Secret | None:
        """Read password and sessions. Return the password if one had to be made up.

        The caller shows it once; only its hash is kept. `given` is a password from the
        settings and wins; if it is a new one, all sessions end. Raises
        WeakPasswordError and StateError.
        """
        self._is_from_settings = given is not None
        made = await asyncio.to_thread(self._password.prepare, given)
        await self._sessions.read(self._password.stamp)
        return made

    @property
    def can_change_password(self) -> bool:
        """Tell whether a password that is set here would last."""
        return not self._is_from_settings

    async def change_password(
        self, request: web.Request, current: Secret, password: Secret
    ) -> web.Response:
        """End all sessions and return 204 with the cookie of a new one.

        Raises PasswordInSettingsError, WeakPasswordError, StateNotWritableError, and
        for the current password what log_in() raises. Then nothing has changed.
        """
        if not self.can_change_password:
            raise PasswordInSettingsError
        async with self._changing:  # the second one needs what the first one has set
            await self._check(request, current)
            async with self._checks:  # setting costs as much as checking
                await asyncio.to_thread(self._password.set, password)
            await self._sessions.end_all(self._password.stamp)
            _LOGGER.info("%s: changed the password of the page", request.remote)
            return _with_cookie(request, await self._sessions.start())

    async def user(self, request: web.Request) -> User | None:
        """Return the owner if the cookie is that of a session."""
        token = _token(request)
        if token is None or not await self._sessions.covers(token):
            return None
        return self._user

    async def log_in(self, request: web.Request, password: Secret) -> web.Response:
        """Return 204 with the cookie. Raises WrongPasswordError, TooManyLoginsError."""
        await self._check(request, password)
        return _with_cookie(request, await self._sessions.start())

    async def _check(self, request: web.Request, password: Secret) -> None:
        address = request.remote or ""
        stamp = self._password.stamp
        wait = self._attempts.begin(address)
        if wait > 0:
            raise TooManyLoginsError(seconds=math.ceil(wait))
        # A login that was checked while the password changed must not leave a session
        # that the old one has opened.
        if not await self._matches(password) or stamp != self._password.stamp:
            _LOGGER.warning("%s: wrong password for the page", address)
            raise WrongPasswordError
        self._attempts.succeeded(address)

    async def log_out(self, request: web.Request) -> web.Response:
        """End the session of this request and return 204 without a cookie."""
        token = _token(request)
        if token is not None:
            await self._sessions.end(token)
        response = web.Response(status=204)
        for name in (COOKIE, SECURE_COOKIE):
            if name in request.cookies:
                response.del_cookie(name, secure=name == SECURE_COOKIE or None)
        return response

    async def _matches(self, password: Secret) -> bool:
        if self._waiting >= _CHECKS_WAITING:
            raise TooManyLoginsError(seconds=_BUSY_SECONDS)
        self._waiting += 1
        try:
            async with self._checks:
                return await asyncio.to_thread(self._password.matches, password)
        finally:
            self._waiting -= 1


def _token(request: web.Request) -> str | None:
    token = request.cookies.get(SECURE_COOKIE) or request.cookies.get(COOKIE)
    return token if token and len(token) <= _TOKEN_MAX else None


def _with_cookie(request: web.Request, token: str) -> web.Response:
    # The header may be invented, but only by who then spoils his own cookie with it.
    forwarded = request.headers.get("X-Forwarded-Proto", "")
    secure = request.secure or forwarded.strip().lower() == "https"
    response = web.Response(status=204)
    response.set_cookie(
        SECURE_COOKIE if secure else COOKIE,
        token,
        max_age=SESSION_SECONDS,
        path="/",
        httponly=True,
        samesite="Strict",
        secure=secure,
    )
    return response
