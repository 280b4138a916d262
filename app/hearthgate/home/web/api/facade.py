"""What the web asks of the home. The web knows nothing else of it.

    api ──wishes──▶ HomeApi ──JSON──▶ api          live ◀──events── HomeApi.subscribe

Answers are JSON values in the shape of openapi.yaml. Errors are HearthgateErrors.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Literal, Protocol

from hearthgate.home.model import Target
from hearthgate.home.web.live.feed import Subscription
from hearthgate.shared.settings.kinds import Secret

Json = dict[str, object]


class Keep(Enum):
    """The wish to leave something as it is, where None already means "none"."""

    KEEP = "keep"


KEEP: Final = Keep.KEEP


@dataclass(frozen=True, slots=True)
class AccessWish:
    """The name and password that visitors shall give."""

    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class ExposureWish:
    """What the user wants to be public; None leaves the choice as it is, or to us."""

    enabled: bool
    hostname: str | None = None  # lower case A-labels, no trailing dot
    relay_id: str | None = None
    access: AccessWish | Literal[Keep.KEEP] | None = KEEP  # None: nobody is asked
    public_port: int | None = None  # of a forward
    proxy_protocol: bool | None = None  # tell it visitors' addresses; not over UDP
    protocols: tuple[str, ...] | None = None  # of a site: to which it may switch
    hass_may_switch: bool | None = None  # let Home Assistant turn it on and off


class HomeApi(Protocol):
    """The home, as the page and the command line may use it."""

    def snapshot(self) -> Json:
        """Return all of the state, as GET /api/state answers it."""

    def subscribe(self) -> AbstractContextManager[Subscription]:
        """Give events from now on; see Feed."""

    async def pair(self, code: str) -> Json:
        """Join the relay that a pairing code names; return the relay."""

    async def forget_relay(self, relay_id: str) -> None:
        """Leave a relay, which cuts what was public through it."""

    async def reconnect(self, relay_id: str) -> None:
        """Dial a relay now instead of waiting for the next try."""

    async def add_service(self, name: str, target: Target) -> Json:
        """Add a service by hand; return it."""

    async def edit_service(
        self, service_id: str, *, name: str | None, target: Target | None
    ) -> Json:
        """Change a service that was added by hand; None keeps. Return it."""

    async def remove_service(self, service_id: str) -> None:
        """Remove a service that was added by hand, and its exposure."""

    async def set_exposure(self, service_id: str, wish: ExposureWish) -> Json:
        """Take a wish and return the service at once; the work goes on by itself."""

    async def retry(self, service_id: str) -> Json:
        """Try what failed again, now; return the service."""

    def icon(self, service_id: str) -> Path | None:
        """Return the file with a service's icon."""

    async def check_hass(self) -> Json:
        """Look whether Home Assistant accepts visitors; return what is known of it."""

    async def trust_hass(self, login_attempts: int | None) -> Json:
        """Let Home Assistant accept visitors; the restart goes on by itself."""

    async def use_public_url(self) -> Json:
        """Tell Home Assistant its public address; return what is known of it."""
