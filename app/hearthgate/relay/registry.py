"""Which homes exist, what each may claim, and which codes wait to be used.

    invite ──pairing──▶ home {name, certificate, domains} ──revoke──▶ gone

The value is frozen and stored as one YAML file; an edit makes a new value, writes it,
and only then becomes visible. Sessions are not here: this is what survives a restart.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
import hashlib
import re
import secrets
from typing import Any

import voluptuous as vol

from hearthgate.relay.errors import (
    DomainIsRelayError,
    DomainTakenError,
    HomeUnknownError,
    InviteExpiredError,
    InviteUnknownError,
    InviteUsedError,
    NameInvalidError,
    NameTakenError,
    TooManyError,
)
from hearthgate.relay.limits import Limits
from hearthgate.store import YamlStore
from hearthgate.wire.constants import PAIRING_SECRET_BYTES
from hearthgate.wire.names import is_below, normalise_hostname

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_USED_KEPT_S = 30 * 86400  # so that a code used twice gets its own message for a month


@dataclass(frozen=True, slots=True)
class Home:
    """A home that was paired."""

    id: str  # SHA-256 of its client certificate, hex
    name: str
    domains: tuple[str, ...]  # each name and all below
    paired_at: int  # Unix time

    def covers(self, hostname: str) -> bool:
        """Tell whether the grant allows a hostname."""
        return any(is_below(hostname, domain) for domain in self.domains)


@dataclass(frozen=True, slots=True)
class Invite:
    """A pairing code that was made. The secret itself is not kept, only its hash."""

    secret_hash: str  # SHA-256, hex; 128 random bits need no salt
    name: str
    domains: tuple[str, ...]
    expires: int  # Unix time
    used: bool = False


@dataclass(frozen=True, slots=True)
class Registered:
    """All that is stored."""

    homes: tuple[Home, ...] = ()
    invites: tuple[Invite, ...] = ()


def _hash(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()


_HEX = vol.Match(r"[0-9a-f]{64}\Z")
_DOMAINS = vol.All([normalise_hostname], vol.Length(max=1000), vol.Coerce(tuple))
_HOME_NAME = vol.Match(_NAME.pattern + r"\Z")
_TIME = vol.All(int, vol.Range(0, 1 << 40))
SCHEMA = vol.Schema(
    {
        "homes": [
            {"id": _HEX, "name": _HOME_NAME, "domains": _DOMAINS, "paired_at": _TIME}
        ],
        "invites": [
            {
                "secret_hash": _HEX,
                "name": _HOME_NAME,
                "domains": _DOMAINS,
                "expires": _TIME,
                "used": bool,
            }
        ],
    },
    required=True,
)


def load(data: dict[str, Any]) -> Registered:
    """Return the value of data that the schema has checked."""
    return Registered(
        homes=tuple(Home(**home) for home in data["homes"]),
        invites=tuple(Invite(**invite) for invite in data["invites"]),
    )


def dump(value: Registered) -> dict[str, Any]:
    """Return a value as plain data."""
    return {
        "homes": [
            {
                "id": home.id,
                "name": home.name,
                "domains": list(home.domains),
                "paired_at": home.paired_at,
            }
            for home in value.homes
        ],
        "invites": [
            {
                "secret_hash": invite.secret_hash,
                "name": invite.name,
                "domains": list(invite.domains),
                "expires": invite.expires,
                "used": invite.used,
            }
            for invite in value.invites
        ],
    }


class Registry:
    """Own the registered homes and invites. Edits are serialised; lives in one loop."""

    def __init__(
        self,
        store: YamlStore[Registered],
        limits: Limits,
        *,
        relay_name: str | None,
        clock: Callable[[], float],
    ) -> None:
        """Read the store. Blocking. Raises what the store raises."""
        self._store = store
        self._limits = limits
        self._relay_name = relay_name
        self._clock = clock
        self._value = store.read()
        self._editing = asyncio.Lock()

    @property
    def homes(self) -> tuple[Home, ...]:
        """All paired homes."""
        return self._value.homes

    @property
    def invites(self) -> tuple[Invite, ...]:
        """The codes that could still be used."""
        now = self._clock()
        return tuple(
            one for one in self._value.invites if not one.used and one.expires > now
        )

    def home(self, home_id: str) -> Home | None:
        """Return a home by the hash of its certificate."""
        return next((home for home in self.homes if home.id == home_id), None)

    def named(self, name: str) -> Home:
        """Return a home by its name. Raises HomeUnknownError."""
        found = next((home for home in self.homes if home.name == name), None)
        if found is None:
            raise HomeUnknownError(name=name)
        return found

    async def invite(
        self, name: str, domains: tuple[str, ...], lifetime_s: int
    ) -> bytes:
        """Make an invite; return the secret for its code.

        Raises NameInvalidError, NameTakenError, DomainTakenError, DomainIsRelayError,
        HostnameInvalidError, TooManyError and what the store raises.
        """
        wanted = tuple(dict.fromkeys(normalise_hostname(one) for one in domains))
        secret = secrets.token_bytes(PAIRING_SECRET_BYTES)

        def edit(value: Registered) -> Registered:
            self._check(value, name, wanted)
            made = Invite(_hash(secret), name, wanted, int(self._clock()) + lifetime_s)
            kept = [one for one in value.invites if self._is_worth_keeping(one)]
            if len(kept) >= self._limits.invites_max:
                raise TooManyError(
                    limit=self._limits.invites_max,
                    what="unused pairing codes",
                    setting="limits.invites_max",
                )
            return replace(value, invites=(*kept, made))

        await self._edit(edit)
        return secret

    async def join(self, secret: bytes, home_id: Callable[[str], str]) -> Home:
        """Use an invite. `home_id` signs for the invite's name and returns the new id.

        Raises InviteUnknownError, InviteUsedError, InviteExpiredError, NameTakenError,
        DomainTakenError, TooManyError and what `home_id` and the store raise; the
        invite is used up only if none of them is raised.
        """
        joined: list[Home] = []

        def edit(value: Registered) -> Registered:
            invite = self._usable(value, secret)
            self._check(value, invite.name, invite.domains, but=invite)
            home = Home(
                id=home_id(invite.name),
                name=invite.name,
                domains=invite.domains,
                paired_at=int(self._clock()),
            )
            joined.append(home)
            invites = tuple(
                replace(one, used=True) if one == invite else one
                for one in value.invites
            )
            return Registered((*value.homes, home), invites)

        await self._edit(edit)
        return joined[0]

    async def revoke(self, name: str) -> Home | None:
        """Remove the home, or else the unused code, of a name; return the home if any.

        Raises HomeUnknownError.
        """
        gone: list[Home] = []

        def edit(value: Registered) -> Registered:
            gone.extend(one for one in value.homes if one.name == name)
            invites = tuple(one for one in value.invites if one.name != name)
            homes = tuple(one for one in value.homes if one.name != name)
            if len(homes) == len(value.homes) and len(invites) == len(value.invites):
                raise HomeUnknownError(name=name)
            return Registered(homes, invites)

        await self._edit(edit)
        return gone[0] if gone else None

    async def freeze(self) -> None:
        """Let no edit begin: another process is about to own the store."""
        await self._editing.acquire()

    def thaw(self) -> None:
        """Let edits begin again."""
        self._editing.release()

    async def _edit(self, edit: Callable[[Registered], Registered]) -> None:
        async with self._editing:
            value = edit(self._value)
            await asyncio.to_thread(self._store.write, value)
            self._value = value

    def _is_worth_keeping(self, invite: Invite) -> bool:
        return invite.expires + _USED_KEPT_S > self._clock()

    def _usable(self, value: Registered, secret: bytes) -> Invite:
        wanted = _hash(secret)
        found = [one for one in value.invites if one.secret_hash == wanted]
        if not found:
            raise InviteUnknownError
        invite = found[0]
        if invite.used:
            raise InviteUsedError(home=invite.name)
        if invite.expires <= self._clock():
            raise InviteExpiredError
        return invite

    def _check(
        self,
        value: Registered,
        name: str,
        domains: tuple[str, ...],
        *,
        but: Invite | None = None,
    ) -> None:
        """Refuse names and domains that others hold, or will hold once they pair."""
        if not _NAME.fullmatch(name):
            raise NameInvalidError(name=name[:80])
        if len(value.homes) >= self._limits.homes_max:
            raise TooManyError(
                limit=self._limits.homes_max, what="homes", setting="limits.homes_max"
            )
        now = self._clock()
        pending = [
            one
            for one in value.invites
            if not one.used and one.expires > now and one != but
        ]
        others: list[Home | Invite] = [*value.homes, *pending]
        for other in others:
            if other.name == name:
                raise NameTakenError(name=name)
            for domain in domains:
                for held in other.domains:
                    if is_below(domain, held) or is_below(held, domain):
                        raise DomainTakenError(
                            domain=domain, other=held, home=other.name
                        )
        for domain in domains:
            if self._relay_name and is_below(self._relay_name, domain):
                raise DomainIsRelayError(domain=domain, relay=self._relay_name)
