"""Which homes exist, what each may claim, and which codes wait to be used.

    invite ──pairing──▶ home {name, certificate, domains, ports} ──revoke──▶ gone
                                    ▲ grant

The value is frozen and stored as one YAML file; an edit makes a new value, writes it,
and only then becomes visible. Sessions are not here: this is what survives a restart.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
import hashlib
import itertools
import re
import secrets
from typing import Any

import voluptuous as vol

from hearthgate.relay.errors import (
    DomainIsRelayError,
    DomainPromisedError,
    DomainTakenError,
    GrantTooLargeError,
    HomeUnknownError,
    InviteExpiredError,
    InviteUnknownError,
    InviteUsedError,
    NameInvalidError,
    NameTakenError,
    PortsOutsideError,
    PortsTakenError,
    TooManyError,
)
from hearthgate.relay.limits import Limits
from hearthgate.shared.process.clock import ForwardClock
from hearthgate.shared.storage.yaml_store import YamlStore
from hearthgate.wire.constants import PAIRING_SECRET_BYTES
from hearthgate.wire.fitting import grant_fits
from hearthgate.wire.names import fold_hostname, is_below, normalise_hostname
from hearthgate.wire.ports import (
    NO_PORTS,
    PortRange,
    Ports,
    PortsInvalidError,
    Protocol,
    joined,
    read_ports,
)

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_USED_KEPT_S = 30 * 86400  # so that a code used twice gets its own message for a month
_RANGES_MAX = 1000
# While a code waits to be used, so that one that expires between two edits stays so.
_MARK_S = 3600
REGISTRY_VERSION = 4
# A home moves a few times in its life; a backup that is tried out counts as well.
_LEFT_MAX = 16


@dataclass(frozen=True, slots=True)
class Home:
    """A home that was paired."""

    id: str  # SHA-256 of its client certificate, hex
    name: str
    domains: tuple[str, ...]  # each name and all below
    paired_at: int  # Unix time
    ports: Ports = NO_PORTS
    machine: str = ""  # the one that is this home now; empty: none has said
    left: tuple[str, ...] = ()  # machines that were, the last one last

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
    ports: Ports = NO_PORTS


@dataclass(frozen=True, slots=True)
class Registered:
    """All that is stored."""

    homes: tuple[Home, ...] = ()
    invites: tuple[Invite, ...] = ()
    seen: int = 0  # Unix time: the latest that this relay knows of


def _hash(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()


def _spelled(text: str) -> str:
    return fold_hostname(text) if text.isascii() else normalise_hostname(text)


_HEX = vol.Match(r"[0-9a-f]{64}\Z")
_DOMAINS = vol.All([fold_hostname], vol.Length(max=1000), vol.Coerce(tuple))
_HOME_NAME = vol.Match(_NAME.pattern + r"\Z")
_TIME = vol.All(int, vol.Range(0, 1 << 40))


def _range(value: object) -> PortRange:
    try:
        return read_ports(str(value))  # YAML makes a number of a single port
    except PortsInvalidError as err:
        raise vol.Invalid(str(err)) from err


_MACHINE = vol.All(str, vol.Length(max=64))
_PORTS = vol.All([_range], vol.Length(max=_RANGES_MAX), joined)
_PORT_KEYS = {"tcp": _PORTS, "udp": _PORTS}
SCHEMA = vol.Schema(
    {
        "homes": [
            {
                "id": _HEX,
                "name": _HOME_NAME,
                "domains": _DOMAINS,
                "paired_at": _TIME,
                "machine": _MACHINE,
                "left": vol.All(
                    [_MACHINE], vol.Length(max=_LEFT_MAX), vol.Coerce(tuple)
                ),
                **_PORT_KEYS,
            }
        ],
        "invites": [
            {
                "secret_hash": _HEX,
                "name": _HOME_NAME,
                "domains": _DOMAINS,
                "expires": _TIME,
                "used": bool,
                **_PORT_KEYS,
            }
        ],
        "seen": _TIME,
    },
    required=True,
)


def _with_ports(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew no ports."""
    return {
        name: [{**one, "tcp": [], "udp": []} for one in data[name]]
        for name in ("homes", "invites")
    }


def _with_machines(data: dict[str, Any]) -> dict[str, Any]:
    """Version 2 could not tell two machines with the same keys apart."""
    homes = [{**one, "machine": "", "left": []} for one in data["homes"]]
    return {**data, "homes": homes}


def _with_time(data: dict[str, Any]) -> dict[str, Any]:
    """Version 3 believed a clock that was set back."""
    return {**data, "seen": 0}


MIGRATIONS = {1: _with_ports, 2: _with_machines, 3: _with_time}


def load(data: dict[str, Any]) -> Registered:
    """Return the value of data that the schema has checked.

    Raises vol.Invalid if two homes hold the same, as after a mistake by hand: which of
    them visitors were led to would be chance.
    """
    value = Registered(
        homes=tuple(Home(**_ports_read(home)) for home in data["homes"]),
        invites=tuple(Invite(**_ports_read(one)) for one in data["invites"]),
        seen=data["seen"],
    )
    why = conflict_of(value.homes)
    if why:
        raise vol.Invalid(why)
    return value


def _ports_read(data: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in data.items() if key not in _PORT_KEYS}
    return {**rest, "ports": Ports(data["tcp"], data["udp"])}


def ports_data(ports: Ports) -> dict[str, list[str]]:
    """Return ports as plain data."""
    return {one.value: [str(each) for each in ports.of(one)] for one in Protocol}


def dump(value: Registered) -> dict[str, Any]:
    """Return a value as plain data."""
    return {
        "homes": [
            {
                "id": home.id,
                "name": home.name,
                "domains": list(home.domains),
                "paired_at": home.paired_at,
                "machine": home.machine,
                "left": list(home.left),
                **ports_data(home.ports),
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
                **ports_data(invite.ports),
            }
            for invite in value.invites
        ],
        "seen": value.seen,
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
        forward_ports: PortRange | None = None,
    ) -> None:
        """Read the store. Blocking. Raises what the store raises.

        forward_ports: from which ports grants may take; None: there are no forwards.
        """
        self._store = store
        self._limits = limits
        self._relay_name = relay_name
        self._forward_ports = forward_ports
        self._clock = ForwardClock(clock)
        self._value = Registered()
        self._by_id: dict[str, Home] = {}
        self._holders: dict[str, Home] = {}  # by granted domain
        self._take(store.read())
        self._clock.seen(self._value.seen)
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
        return self._by_id.get(home_id)

    def holder(self, hostname: str) -> Home | None:
        """Return the home whose grant covers a hostname. Grants do not overlap."""
        labels = hostname.split(".")
        names = (".".join(labels[at:]) for at in range(len(labels)))
        return next((self._holders[one] for one in names if one in self._holders), None)

    def named(self, name: str) -> Home:
        """Return a home by its name. Raises HomeUnknownError."""
        found = next((home for home in self.homes if home.name == name), None)
        if found is None:
            raise HomeUnknownError(name=name)
        return found

    async def invite(
        self,
        name: str,
        domains: tuple[str, ...],
        lifetime_s: int,
        ports: Ports = NO_PORTS,
    ) -> bytes:
        """Make an invite; return the secret for its code.

        Raises NameInvalidError, NameTakenError, DomainTakenError, DomainIsRelayError,
        HostnameInvalidError, PortsTakenError, PortsOutsideError, TooManyError and what
        the store raises.
        """
        wanted = tuple(dict.fromkeys(normalise_hostname(one) for one in domains))
        secret = secrets.token_bytes(PAIRING_SECRET_BYTES)

        def edit(value: Registered) -> Registered:
            self._check(value, name, wanted, ports)
            expires = int(self._clock()) + lifetime_s
            made = Invite(_hash(secret), name, wanted, expires, ports=ports)
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
            self._check(value, invite.name, invite.domains, invite.ports, but=invite)
            home = Home(
                id=home_id(invite.name),
                name=invite.name,
                domains=invite.domains,
                paired_at=int(self._clock()),
                ports=invite.ports,
            )
            joined.append(home)
            invites = tuple(
                replace(one, used=True) if one == invite else one
                for one in value.invites
            )
            return replace(value, homes=(*value.homes, home), invites=invites)

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
            return replace(value, homes=homes, invites=invites)

        await self._edit(edit)
        return gone[0] if gone else None

    async def grant(
        self,
        name: str,
        domains: tuple[str, ...],
        ports: Ports,
        *,
        remove: bool = False,
    ) -> Home:
        """Add to a home's grant, or take away from it; return the home as it is then.

        Raises HomeUnknownError and what `invite` raises.
        """
        # What a grant holds may be older than the rules for what it may be given.
        read = _spelled if remove else normalise_hostname
        wanted = tuple(dict.fromkeys(read(one) for one in domains))
        changed: list[Home] = []

        def edit(value: Registered) -> Registered:
            home = next((one for one in value.homes if one.name == name), None)
            if home is None:
                raise HomeUnknownError(name=name)
            if remove:
                kept = tuple(one for one in home.domains if one not in wanted)
                edited = replace(home, domains=kept, ports=home.ports.minus(ports))
            else:
                self._check_claims(value, wanted, ports, but=home)
                edited = replace(
                    home,
                    domains=tuple(dict.fromkeys((*home.domains, *wanted))),
                    ports=home.ports.plus(ports),
                )
            changed.append(edited)
            homes = tuple(edited if one is home else one for one in value.homes)
            return replace(value, homes=homes)

        await self._edit(edit)
        return changed[0]

    async def move(self, home_id: str, machine: str) -> Home | None:
        """Note that a home is this machine now; return it, None if it was removed.

        Raises what the store raises.
        """

        def edit(value: Registered) -> Registered:
            homes = tuple(
                _moved(one, machine) if one.id == home_id else one
                for one in value.homes
            )
            return replace(value, homes=homes)

        await self._edit(edit)
        return self.home(home_id)

    async def mark_time(self) -> None:
        """Store what time it is, if a code has expired or may soon.

        After a restart with a clock that was set back it stays expired. To be called
        now and then; writes once an hour, and only while codes wait to be used. Raises
        what the store raises.
        """
        now, seen = self._clock(), self._value.seen
        waiting = [
            one for one in self._value.invites if not one.used and one.expires > seen
        ]
        is_due = now - seen >= _MARK_S or any(one.expires <= now for one in waiting)
        if waiting and is_due and not self._editing.locked():
            await self._edit(lambda value: value)

    async def freeze(self) -> None:
        """Let no edit begin: another process is about to own the store."""
        await self._editing.acquire()

    def thaw(self) -> None:
        """Let edits begin again."""
        self._editing.release()

    async def _edit(self, edit: Callable[[Registered], Registered]) -> None:
        async with self._editing:
            value = replace(edit(self._value), seen=int(self._clock()))
            await asyncio.to_thread(self._store.write, value)
            self._take(value)

    def _take(self, value: Registered) -> None:
        self._value = value
        self._by_id = {home.id: home for home in value.homes}
        self._holders = {
            domain: home for home in value.homes for domain in home.domains
        }

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
        ports: Ports,
        *,
        but: Invite | None = None,
    ) -> None:
        """Refuse names and claims that others hold, or will hold once they pair."""
        if not _NAME.fullmatch(name):
            raise NameInvalidError(name=name[:80])
        if len(value.homes) >= self._limits.homes_max:
            raise TooManyError(
                limit=self._limits.homes_max, what="homes", setting="limits.homes_max"
            )
        if any(other.name == name for other in self._others(value, but)):
            raise NameTakenError(name=name)
        self._check_claims(value, domains, ports, but=but)

    def _others(
        self, value: Registered, but: Home | Invite | None
    ) -> list[Home | Invite]:
        """Return who holds something, or will once it pairs."""
        now = self._clock()
        pending = [one for one in value.invites if not one.used and one.expires > now]
        holders: list[Home | Invite] = [*value.homes, *pending]
        return [one for one in holders if one != but]

    def _check_claims(
        self,
        value: Registered,
        domains: tuple[str, ...],
        ports: Ports,
        *,
        but: Home | Invite | None,
    ) -> None:
        held = but if isinstance(but, Home) else None
        if not grant_fits(
            (*(held.domains if held else ()), *domains),
            (held.ports if held else NO_PORTS).plus(ports),
        ):
            raise GrantTooLargeError
        for other in self._others(value, but):
            _check_overlap(domains, other)
            _check_ports(ports, other)
        for domain in domains:
            if self._relay_name and is_below(self._relay_name, domain):
                raise DomainIsRelayError(domain=domain, relay=self._relay_name)
        for protocol in Protocol:
            for one in ports.of(protocol):
                self._check_range(protocol, one)

    def _check_range(self, protocol: Protocol, ports: PortRange) -> None:
        allowed = self._forward_ports
        if allowed is None or not ports.within(allowed):
            raise PortsOutsideError(
                protocol=protocol.upper(), ports=ports, allowed=allowed or "none"
            )


def _moved(home: Home, machine: str) -> Home:
    were = (*home.left, home.machine) if home.machine else home.left
    left = tuple(one for one in were if one != machine)[-_LEFT_MAX:]
    return replace(home, machine=machine, left=left)


def conflict_of(homes: tuple[Home, ...]) -> str:
    """Say what two homes hold at once; empty if there is nothing."""
    by_name: dict[str, Home] = {}
    by_id: dict[str, Home] = {}
    holders: dict[str, Home] = {}
    for home in homes:
        if by_name.setdefault(home.name, home) is not home:
            return f"two homes have the name {home.name}"
        if by_id.setdefault(home.id, home) is not home:
            return f"{home.name} and {by_id[home.id].name} have the same certificate"
        for domain in home.domains:
            other = holders.setdefault(domain, home)
            if other is not home:
                return f"{home.name} and {other.name} both hold {domain}"
    for home in homes:
        for domain in home.domains:
            for above in _names_above(domain):
                other = holders.get(above, home)
                if other is not home:
                    return (
                        f"{home.name} holds {domain}, which {other.name} holds with "
                        f"{above}"
                    )
    return _conflict_of_ports(homes)


def _conflict_of_ports(homes: tuple[Home, ...]) -> str:
    for protocol in Protocol:
        held = sorted(
            (ports, home.name) for home in homes for ports in home.ports.of(protocol)
        )
        for (one, name), (other, other_name) in itertools.pairwise(held):
            if one.overlaps(other) and name != other_name:
                return (
                    f"{name} and {other_name} both hold {protocol.upper()} ports: "
                    f"{one} and {other}"
                )
    return ""


def _names_above(domain: str) -> Iterator[str]:
    while "." in domain:
        domain = domain.partition(".")[2]
        yield domain


def _check_overlap(domains: tuple[str, ...], other: Home | Invite) -> None:
    """Raise DomainTakenError or DomainPromisedError if another holds one of them."""
    for domain in domains:
        for held in other.domains:
            if not (is_below(domain, held) or is_below(held, domain)):
                continue
            if isinstance(other, Home):
                raise DomainTakenError(domain=domain, other=held, home=other.name)
            raise DomainPromisedError(domain=domain, other=held, name=other.name)


def _check_ports(ports: Ports, other: Home | Invite) -> None:
    for protocol in Protocol:
        for one in ports.of(protocol):
            for held in other.ports.of(protocol):
                if one.overlaps(held):
                    raise PortsTakenError(
                        protocol=protocol.upper(),
                        ports=one,
                        other=held,
                        home=other.name,
                    )
