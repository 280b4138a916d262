"""The pages a visitor reads when a service cannot be shown.

One template, no resources from anywhere else, light and dark. HAProxy keeps them in
memory and sends them as they are, so nothing of a request ever appears in them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from types import MappingProxyType
from typing import Final

_CLOCK: Final = '<path d="M24 24v7h5"/>'
_CROSS: Final = '<path d="m20 27 8 8m0-8-8 8"/>'
_LOCK: Final = '<path d="M19 28h10v7H19zm2 0v-2a3 3 0 0 1 6 0v2"/>'


@dataclass(frozen=True, slots=True)
class Page:
    """What one status says to a visitor."""

    title: str
    text: str
    icon: str


PAGES: Final[Mapping[int, Page]] = MappingProxyType(
    {
        400: Page(
            "This request cannot be understood",
            "What your browser or app sent is not a proper request for this address. "
            "Reloading the page usually helps.",
            _CROSS,
        ),
        401: Page(
            "Please sign in",
            "This page asks for a name and a password. Reload it to try again.",
            _LOCK,
        ),
        405: Page(
            "This is not done here",
            "This address is no proxy. It leads to one service only.",
            _CROSS,
        ),
        408: Page(
            "Your request took too long",
            "It did not arrive in time. Please check your connection and try again.",
            _CLOCK,
        ),
        413: Page(
            "This is too large",
            "What was sent is larger than can be taken here.",
            _CROSS,
        ),
        414: Page(
            "This address is too long",
            "The link is longer than can be taken here.",
            _CROSS,
        ),
        421: Page(
            "This address belongs elsewhere",
            "Your browser asked over a connection meant for another address. "
            "Reloading the page usually helps.",
            _CROSS,
        ),
        429: Page(
            "Too many tries",
            "There were several wrong passwords from your network. "
            "Please wait a few minutes and try again.",
            _CLOCK,
        ),
        431: Page(
            "Your browser sent too much",
            "It sent more cookies or other headers than can be taken here. "
            "Deleting the cookies of this address usually helps.",
            _CROSS,
        ),
        502: Page(
            "This service gave no proper answer",
            "It can be reached at home, but what it said made no sense. "
            "If it is yours, check that http or https is chosen rightly.",
            _CROSS,
        ),
        503: Page(
            "This service does not answer right now",
            "The home is connected, but the service behind this address is off or "
            "busy. Please try again in a moment.",
            _CROSS,
        ),
        504: Page(
            "This service takes too long",
            "It was asked and has not answered in time. Please try again in a moment.",
            _CLOCK,
        ),
    }
)

# Another 503: the agent did not say whether a password is right.
UNCHECKED_FILE: Final = "unchecked.html"
_UNCHECKED: Final = Page(
    "Signing in does not work right now",
    "Your name and password could not be checked. Whoever is signed in already is not "
    "affected. Please try again in a moment.",
    _LOCK,
)


def html(status: int) -> str:
    """Return the page for a status. Raises KeyError for a status without one."""
    return _fill(status, PAGES[status])


def unchecked_html() -> str:
    """Return the page for a password that could not be checked."""
    return _fill(503, _UNCHECKED)


def _fill(status: int, page: Page) -> str:
    template = files(__name__).joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        status=status, title=page.title, text=page.text, icon=page.icon
    )
