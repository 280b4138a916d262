"""The values that the parts of a home pass to each other. All are frozen.

    Service   something on the home network with an address
    Exposure  the public side of a service, as the user wants it
    Status    how far an exposure has come

What is stored on disk is `Exposure`, services with origin `manual`, and relays; what is
discovered is never stored. Holds no behaviour beyond reading its own fields.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Self

from hearthgate.errors import HearthgateError

__all__ = [
    "Access",
    "Exposure",
    "Origin",
    "Phase",
    "Problem",
    "Scheme",
    "Service",
    "Status",
    "Target",
    "replace",
]


class Scheme(StrEnum):
    """How a service is spoken to."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"  # raw: whatever visitor and service agree on
    UDP = "udp"

    @property
    def is_web(self) -> bool:
        """Tell whether it is exposed by a hostname; the others are by a public port."""
        return self in (Scheme.HTTP, Scheme.HTTPS)


class Origin(StrEnum):
    """How a service became known."""

    DISCOVERED = "discovered"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a service answers."""

    scheme: Scheme
    host: str  # an IP address or a name, lower case, IPv6 without brackets
    port: int

    @property
    def authority(self) -> str:
        """Return host:port with IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the address as a URL, for a web service with a trailing slash."""
        return f"{self.scheme}://{self.authority}{'/' * self.scheme.is_web}"


@dataclass(frozen=True, slots=True)
class Service:
    """Something on the home network that could be exposed."""

    id: str  # [a-z0-9-]{1,64}; stable over restarts and address changes
    name: str
    origin: Origin
    target: Target
    kind: str = "web"  # what the fallback icon shows: web, printer, camera, nas, …
    title: str | None = None  # the <title> of its page
    icon: str | None = None  # changes when the icon's bytes change; None: none found
    # The last probe; None: not probed yet, or with a problem: it cannot be told.
    reachable: bool | None = None
    problem: str | None = None  # why the last probe failed, a sentence
    # A stranger's address gets another answer than one at home, and the service
    # believes what the edge says of it. False: not so, or nobody can tell.
    tells_apart: bool = False
    moved_from: Target | None = (
        None  # set when an exposure followed it to a new address
    )


@dataclass(frozen=True, slots=True)
class Access:
    """A name and a password in front of an exposure."""

    username: str
    password_hash: str  # crypt(3) format; never leaves the home


@dataclass(frozen=True, slots=True)
class Exposure:
    """What the user wants to be public, kept on disk."""

    service_id: str
    name: str
    target: Target  # pinned: mDNS may not move it while this address answers
    relay_id: str
    hostname: str  # lower case A-labels, no trailing dot; empty for a forward
    enabled: bool
    access: Access | None = None
    public_port: int = 0  # of a forward: where visitors come to at the relay
    tells_visitor: bool = False  # the service gets PROXY protocol headers, version 2
    protocols: tuple[str, ...] = ()  # of a site: to which it may switch
    hass_may_switch: bool = False  # Home Assistant may turn it on and off, by MQTT
    was_public: bool = False  # its owner has turned it on by these very rules

    @property
    def hass_can_switch(self) -> bool:
        """Tell whether a switch in Home Assistant only repeats the owner's decision."""
        return self.hass_may_switch and self.was_public

    def decided_after(self, old: "Exposure | None") -> Self:
        """Return what the owner wants now, with whether that has been public before.

        Turning it on is the decision. Whoever changes a rule while it is off has not
        made it public by that rule yet. Every field is a rule but for the switch
        itself, who may use it, and the name.
        """
        stays = old is not None and old.was_public and old.rules() == self.rules()
        return replace(self, was_public=self.enabled or stays)

    def rules(self) -> Self:
        """Return an exposure that equals another one if both have the same rules."""
        return replace(
            self, name="", enabled=False, hass_may_switch=False, was_public=False
        )


class Phase(StrEnum):
    """How far an exposure has come. The page shows these as steps, in this order."""

    OFF = "off"
    CHECKING_DNS = "checking_dns"
    ORDERING = "ordering"  # asking the certificate authority
    PROVING = "proving"  # the authority checks that we own the hostname
    SWITCHING_ON = "switching_on"
    LIVE = "live"
    WAITING = "waiting"  # for the relay to be connected again
    SWITCHING_OFF = "switching_off"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why something failed, for the user."""

    code: str
    message: str
    hint: str = ""
    retry_at: float | None = None  # Unix time of the next try by itself; None: never
    # What message and hint name, for saying them in another language.
    fields: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, err: HearthgateError, retry_at: float | None = None) -> Self:
        """Return an error as a problem that stays."""
        return cls(err.code, str(err), err.advice, retry_at, err.told_fields())


@dataclass(frozen=True, slots=True)
class Status:
    """What an exposure is doing now; never stored."""

    phase: Phase
    since: float  # Unix time
    problem: Problem | None = None
    certificate_expires: float | None = None  # Unix time


@dataclass(frozen=True, slots=True)
class Bytes:
    """What visitors sent to a service, and what they got from it."""

    received: int = 0
    sent: int = 0

    def __add__(self, other: "Bytes") -> "Bytes":
        return Bytes(self.received + other.received, self.sent + other.sent)

    def since(self, before: "Bytes") -> "Bytes":
        """Return what was added; counters never go back."""
        received = max(0, self.received - before.received)
        return Bytes(received, max(0, self.sent - before.sent))
