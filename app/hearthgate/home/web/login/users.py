"""Who is asking: the one question that every request answers first.

    request ──Authenticator.user──▶ User | None (nobody: 401)

Standing alone it is a session (`login`), on the agent's own UNIX socket whoever may
open it (NoLogin). Another way in is another Authenticator.
"""

from dataclasses import dataclass
from typing import Protocol

from aiohttp import web


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may do everything here. There are no lesser users."""

    name: str


class Authenticator(Protocol):
    """Tell who is asking."""

    @property
    def login(self) -> str:
        """Which login the page has to show: "password" or "none"."""

    async def user(self, request: web.Request) -> User | None:
        """Return who asks, None if it is nobody we know. Called for every request."""


class NoLogin:
    """Accept everybody. Only for a socket that only its owner can open."""

    login = "none"

    def __init__(self, name: str) -> None:
        """Call everybody by this name."""
        self._user = User(name)

    async def user(self, request: web.Request) -> User | None:  # noqa: ARG002
        """Return the one user."""
        return self._user
