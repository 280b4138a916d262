"""Parts of a relay for tests: small limits, a clock to turn, homes, socket pairs."""

import asyncio
from collections.abc import Callable, Iterator
import contextlib
from dataclasses import replace
from pathlib import Path
import socket

from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.homes.registry import (
    MIGRATIONS,
    REGISTRY_VERSION,
    SCHEMA,
    Home,
    Registered,
    Registry,
    dump,
    load,
)
from hearthgate.relay.homes.sessions import ParkedChannel, Presence, Session
from hearthgate.relay.limits import Limits
from hearthgate.relay.visitors.sealed_line import SealedLine
from hearthgate.shared.net.poller import Poller
from hearthgate.shared.storage.yaml_store import YamlStore
from hearthgate.wire.alerts import Alert
from hearthgate.wire.channel import Preamble, read_preamble, write_preamble
from hearthgate.wire.messages import Goodbye, GoodbyeReason, Message, Need
from hearthgate.wire.ports import PortRange

SMALL = Limits(
    waiting_per_home_max=3,
    channels_per_home_max=4,
    hostnames_per_home_max=5,
    answers_per_home_max=3,
    homes_max=3,
    invites_max=4,
)
COTTAGE = Home("c" * 64, "cottage", ("cottage.example.com",), 1)
BARN = Home("b" * 64, "barn", ("barn.example.com", "barn.example.net"), 1)


class Clock:
    """A clock that stands still unless it is turned."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def limits(**changes: float) -> Limits:
    """Return small limits, some of them others."""
    return replace(SMALL, **changes)  # type: ignore[arg-type]  # floats and whole ones


def open_store(path: Path) -> YamlStore[Registered]:
    """Return the store of a registry."""
    return YamlStore[Registered](
        path,
        version=REGISTRY_VERSION,
        schema=SCHEMA,
        load=load,
        dump=dump,
        empty=Registered,
        migrations=MIGRATIONS,
    )


def open_registry(
    path: Path, clock: Callable[[], float], relay_name: str | None = "relay.example.com"
) -> Registry:
    """Return a registry with small limits."""
    return Registry(
        open_store(path),
        SMALL,
        relay_name=relay_name,
        clock=clock,
        forward_ports=PortRange(20_000, 60_000),
    )


class Agent:
    """The agent's end of a session: what it was sent, and what it parks."""

    def __init__(self) -> None:
        self.got: list[Message] = []
        self.session: Session | None = None
        self.serial = 0
        self.was_closed = False

    def leave(self) -> None:
        self.was_closed = True

    @property
    def goodbye(self) -> GoodbyeReason | None:
        """Why it was sent away, if it was."""
        found = [one.reason for one in self.got if isinstance(one, Goodbye)]
        return found[-1] if found else None

    @property
    def needs(self) -> list[Need]:
        """What it was asked for."""
        return [one for one in self.got if isinstance(one, Need)]

    def preamble(self, session: Session, serial: int | None = None) -> Preamble:
        """Return what a channel of it begins with."""
        if serial is None:
            self.serial += 1
            serial = self.serial
        found = read_preamble(write_preamble(session.id, serial, session.key))
        if found is None:
            raise AssertionError("our own preamble is none")
        return found


class Visitor:
    """A visitor who waits, and what became of it."""

    def __init__(self, hostname: str, since: float = 0.0) -> None:
        self.hostname = hostname
        self.since = since
        self.channel: ParkedChannel | None = None
        self.alert: Alert | None = None

    def choose(self, presence: Presence) -> ParkedChannel | None:
        return presence.take_channel()

    def proceed(self, channel: ParkedChannel | SealedLine) -> None:
        assert isinstance(channel, ParkedChannel)
        self.channel = channel

    def refuse(self, alert: Alert) -> None:
        self.alert = alert


class Cut:
    """Something live that notes whether it was cut."""

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two joined TCP sockets on loopback, both non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    for sock in (one, other):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
    return one, other


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """Return two joined UNIX sockets, both non-blocking."""
    one, other = socket.socketpair()
    one.setblocking(False)
    other.setblocking(False)
    return one, other


async def until(look: Callable[[], object], *, deadline_s: float = 20.0) -> None:
    """Let the loop turn until `look` finds something. Raises TimeoutError."""
    async with asyncio.timeout(deadline_s):
        while not look():  # noqa: ASYNC110  what is looked at sets no event
            await asyncio.sleep(0.001)


@contextlib.contextmanager
def parked(
    session: Session, poller: Poller, serial: int, since: float = 0.0
) -> Iterator[tuple[ParkedChannel, socket.socket]]:
    """Park a channel at a session; give it and the agent's end of it."""
    ours, theirs = unix_pair()
    counters = Counters(clock=lambda: 0.0, log_period_s=1.0)
    channel = ParkedChannel(
        ours, serial, session, poller=poller, counters=counters, since=since
    )
    poller.add(channel.fd, 1, channel.on_event)
    session.parked.append(channel)
    try:
        yield channel, theirs
    finally:
        theirs.close()
        session.forget(channel)
        channel.close()
