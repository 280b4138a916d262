"""Grants with ports: kept, never given twice, edited while the relay runs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hearthgate.relay.errors import (
    DomainTakenError,
    HomeUnknownError,
    PortsOutsideError,
    PortsTakenError,
)
from hearthgate.relay.homes.registry import Home, Registry
from hearthgate.relay.homes.sessions import Route, Sessions
from hearthgate.shared.net.poller import Poller
from hearthgate.wire.messages import Feature, Goodbye, GoodbyeReason, Granted, Message
from hearthgate.wire.ports import PortRange, Ports, Protocol
from tests.support.relay_parts import SMALL, Clock, open_registry

GAMES = Ports(tcp=(PortRange(25565, 25565),), udp=(PortRange(51820, 51830),))
VERSION_1 = """\
version: 1
homes:
- id: {id}
  name: cottage
  domains: [cottage.example.com]
  paired_at: 1800000000
invites:
- secret_hash: {id}
  name: barn
  domains: [barn.example.com]
  expires: 1900000000
  used: false
"""


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    one = Poller(asyncio.get_running_loop())
    yield one
    one.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "relay.yaml"


@pytest.fixture
def registry(path: Path) -> Registry:
    return open_registry(path, Clock())


async def join(registry: Registry, name: str, ports: Ports) -> Home:
    secret = await registry.invite(name, (f"{name}.example.com",), 86400, ports)
    return await registry.join(secret, lambda one: (one.encode().hex() * 64)[:64])


async def test_granted_ports_survive_a_restart(registry: Registry, path: Path) -> None:
    home = await join(registry, "cottage", GAMES)
    assert home.ports == GAMES
    assert open_registry(path, Clock()).homes == (home,)


async def test_a_file_of_version_1_has_no_ports_and_is_kept(path: Path) -> None:
    path.write_text(VERSION_1.format(id="a" * 64))
    registry = open_registry(path, Clock())
    assert registry.homes[0].ports == Ports()
    assert registry.invites[0].name == "barn"
    await registry.grant("cottage", (), GAMES)
    assert open_registry(path, Clock()).homes[0].ports == GAMES
    assert path.with_name("relay.yaml.version-1").exists()


async def test_ports_of_another_home_are_refused_with_its_name(
    registry: Registry,
) -> None:
    await join(registry, "cottage", GAMES)
    overlapping = Ports(udp=(PortRange(51830, 51840),))
    with pytest.raises(PortsTakenError, match="cottage"):
        await registry.invite("barn", ("barn.example.com",), 60, overlapping)
    await registry.invite(
        "barn", ("barn.example.com",), 60, Ports(tcp=(PortRange(51820, 51830),))
    )


async def test_ports_of_an_unused_code_are_taken_too(registry: Registry) -> None:
    await registry.invite("barn", ("barn.example.com",), 60, GAMES)
    await join(registry, "cottage", Ports())
    with pytest.raises(PortsTakenError, match="barn"):
        await registry.grant("cottage", (), GAMES)


async def test_ports_outside_the_relays_range_are_refused(registry: Registry) -> None:
    await join(registry, "cottage", Ports())
    for ports in (PortRange(22, 22), PortRange(59_999, 60_001)):
        with pytest.raises(PortsOutsideError, match="20000-60000"):
            await registry.grant("cottage", (), Ports(tcp=(ports,)))


async def test_a_grant_grows_and_shrinks(registry: Registry) -> None:
    await join(registry, "cottage", GAMES)
    more = Ports(tcp=(PortRange(25566, 25570),))
    home = await registry.grant("cottage", ("photos.example.com",), more)
    assert home.ports.tcp == (PortRange(25565, 25570),)
    assert home.domains == ("cottage.example.com", "photos.example.com")
    home = await registry.grant("cottage", ("photos.example.com",), GAMES, remove=True)
    assert home.ports == more
    assert home.domains == ("cottage.example.com",)


async def test_a_domain_of_another_home_cannot_be_added(registry: Registry) -> None:
    await join(registry, "cottage", GAMES)
    await join(registry, "barn", Ports())
    with pytest.raises(DomainTakenError, match="cottage"):
        await registry.grant("barn", ("a.cottage.example.com",), Ports())
    with pytest.raises(HomeUnknownError):
        await registry.grant("villa", (), Ports())


@pytest.mark.parametrize("knows", [True, False])
async def test_an_edit_cuts_what_is_not_granted_any_more(
    poller: Poller, *, knows: bool
) -> None:
    sessions = Sessions(poller, SMALL, clock=Clock())
    home = Home("c" * 64, "cottage", ("a.example.com", "b.example.com"), 1, GAMES)
    got: list[Message] = []
    session = sessions.begin(home, got.append, lambda: None)
    session.features = frozenset({Feature.FORWARDS} if knows else ())
    sessions.publish(session, ["a.example.com", "b.example.com"])
    cut: list[str] = []

    class Visitor:
        def close(self) -> None:
            cut.append("b")

    route: Route = sessions.routes["b.example.com"]
    route.live.add(Visitor())
    less = Home(home.id, home.name, ("a.example.com",), 1, GAMES)
    sessions.regrant(less)
    assert cut == ["b"]
    assert set(sessions.routes) == {"a.example.com"}
    if knows:
        assert got == [Granted(less.domains, GAMES.tcp, GAMES.udp)]
    else:
        assert got == [Goodbye(GoodbyeReason.STOPPING)]
    assert less.ports.covers(Protocol.UDP, 51825)
