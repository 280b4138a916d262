"""What the home refuses before anything is used up, and what it tells of itself."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
import random
from typing import cast

import pytest

from hearthgate.home.discovery.probe import Probe
from hearthgate.home.errors import (
    ExposuresFullError,
    NoProxyProtocolError,
    RelaysFullError,
)
from hearthgate.home.exposures.port_forwards import Forwarder
from hearthgate.home.exposures.sites import Exposer
from hearthgate.home.home import Home
from hearthgate.home.model import (
    Exposure,
    Origin,
    Phase,
    Scheme,
    Service,
    Status,
    Target,
)
from hearthgate.home.parts import Parts
from hearthgate.home.services.services import Services
from hearthgate.home.settings import AcmeOptions
from hearthgate.home.state.current_state import HomeStore
from hearthgate.home.state.state import HomeState, Membership
from hearthgate.home.state.state_file import EXPOSURES_MAX, RELAYS_MAX, home_state_store
from hearthgate.home.state.targets import InvalidTargetError
from hearthgate.home.tunnel import pairing
from hearthgate.home.tunnel.tunnels import Tunnels
from hearthgate.home.web.api.facade import KEEP, ExposureWish, Json
from hearthgate.home.web.live.feed import Feed
from hearthgate.shared.storage.yaml_store import StateNotWritableError
from hearthgate.wire.names import HostnameInvalidError
from hearthgate.wire.pairing import PairingCode, write_pairing_code

CODE = write_pairing_code(
    PairingCode("127.0.0.1", 9, bytes(32), bytes(16), 4_000_000_000)
)
TARGET = Target(Scheme.HTTP, "192.168.1.20", 80)
WISH = ExposureWish(True, "photos.home.example.com", None, KEEP)


class FakeExposer:
    def __init__(self) -> None:
        self.wishes: list[str] = []
        self.moves: list[str] = []

    def status(self, _service_id: str) -> Status:
        return Status(Phase.OFF, 0.0)

    def wish_changed(self, service_id: str) -> None:
        self.wishes.append(service_id)

    async def moved(self, service_id: str) -> None:
        self.moves.append(service_id)


class FakeForwarder:
    def relay_changed(self, relay_id: str) -> None:
        pass


class FakeTunnels:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, _relay_id: str) -> None:
        return None

    async def forget(self, _relay_id: str) -> None:
        pass


class Stage:
    """A home on disk with nothing behind it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = HomeStore(home_state_store(folder))
        self.services = Services(
            self.store,
            self._probe,
            on_change=lambda _id: None,
            on_gone=lambda _id: None,
            on_moved=self._moved,
        )
        self.exposer = FakeExposer()
        self.moves: list[Target] = []
        self.reachable = False
        self.home = Home(
            self.store,
            self.services,
            cast("Tunnels", FakeTunnels(folder / "relays")),
            cast("Exposer", self.exposer),
            Feed(),
            forwarder=cast("Forwarder", FakeForwarder()),
            acme=AcmeOptions(),
            icons=folder,
            parts=Parts(on_change=lambda: None, rng=random.Random(1)),
        )

    async def _probe(self, _target: Target) -> Probe:
        return Probe(reachable=self.reachable)

    async def _moved(self, exposure: Exposure, target: Target) -> None:
        self.moves.append(target)
        await self.home.service_moved(exposure, target)

    async def put(self, state: HomeState) -> None:
        await self.store.update(lambda _state: state)

    def see(self, target: Target) -> None:
        """Discover a service."""
        found = Service("found", "Found", Origin.DISCOVERED, target, reachable=True)
        self.services.seen(found)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    folder = tmp_path / "data"
    folder.mkdir()
    made = Stage(folder)
    yield made
    await made.store.close()
    await made.services._tasks.close()


def relay(number: int) -> Membership:
    return Membership(
        f"{number:012x}", "cottage", "127.0.0.1", 1, f"{number:064x}", "h", 1
    )


def exposure(number: int) -> Exposure:
    name = f"n{number}.home.example.com"
    return Exposure(f"s-{number}", "S", TARGET, relay(1).id, name, enabled=False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Note what a relay would be asked."""
    found: list[object] = []

    async def ask(*arguments: object) -> None:
        found.extend(arguments)
        raise AssertionError("the code was used")

    monkeypatch.setattr(pairing, "_ask", ask)
    return found


async def test_a_full_home_does_not_use_a_code_up(
    stage: Stage, asked: list[object]
) -> None:
    """It did, and the API then answered with an internal error."""
    await stage.put(HomeState(relays=tuple(map(relay, range(1, RELAYS_MAX + 1)))))
    with pytest.raises(RelaysFullError, match=f"{RELAYS_MAX} relays"):
        await stage.home.pair(CODE)
    assert asked == []


async def test_a_full_home_can_still_pair_again_with_a_relay_that_it_has(
    stage: Stage, asked: list[object]
) -> None:
    await stage.put(HomeState(relays=tuple(map(relay, range(RELAYS_MAX)))))
    with pytest.raises(AssertionError, match="was used"):
        await stage.home.pair(CODE)
    assert asked


async def test_a_state_that_cannot_be_written_costs_no_code(
    stage: Stage, asked: list[object]
) -> None:
    await stage.put(HomeState(relays=(relay(1),)))
    (stage.folder / "relays").mkdir()
    (stage.folder / "state.yaml").unlink()
    (stage.folder / "state.yaml").mkdir()
    (stage.folder / "state.yaml" / "full").touch()
    with pytest.raises(StateNotWritableError):
        await stage.home.pair(CODE)
    assert asked == []


async def test_more_exposures_than_can_be_kept_are_refused_in_words(
    stage: Stage,
) -> None:
    many = tuple(map(exposure, range(EXPOSURES_MAX)))
    await stage.put(HomeState(relays=(relay(1),), exposures=many))
    stage.see(TARGET)
    with pytest.raises(ExposuresFullError, match=str(EXPOSURES_MAX)):
        await stage.home.set_exposure("found", WISH)
    changed = await stage.home.set_exposure("s-3", replace(WISH, enabled=False))
    assert changed["exposure"]


async def test_a_hostname_of_older_rules_stays_but_no_other_becomes_one(
    stage: Stage,
) -> None:
    """IDNA 2003, by which 0.1.0 read names, allowed emoji."""
    old = "xn--ls8h.home.example.com"
    service = Service("s-1", "S", Origin.MANUAL, TARGET, "web")
    public = replace(exposure(1), hostname=old)
    await stage.put(HomeState((relay(1),), (service,), (public,)))
    wish = replace(WISH, hostname=old)
    shown = await stage.home.set_exposure("s-1", wish)
    assert isinstance(shown["exposure"], dict)
    assert shown["exposure"]["hostname"] == shown["exposure"]["hostname_shown"] == old
    with pytest.raises(HostnameInvalidError):
        await stage.home.set_exposure("s-1", replace(wish, hostname=f"xn--a.{old}"))


async def test_what_is_discovered_and_cannot_be_stored_is_refused_in_words(
    stage: Stage,
) -> None:
    await stage.put(HomeState(relays=(relay(1),)))
    stage.see(replace(TARGET, host="169.254.10.20"))
    with pytest.raises(InvalidTargetError, match="link-local"):
        await stage.home.set_exposure("found", WISH)
    assert stage.exposer.wishes == []


async def test_an_exposure_follows_to_no_address_that_cannot_be_stored(
    stage: Stage,
) -> None:
    kept = replace(exposure(1), service_id="found")
    await stage.put(HomeState(relays=(relay(1),), exposures=(kept,)))
    stage.see(replace(TARGET, host="169.254.10.20"))
    assert stage.services._following == set()
    stage.see(replace(TARGET, host="192.168.1.21"))
    assert stage.services._following == {"found"}


async def test_damage_to_the_state_is_told_until_the_next_start(stage: Stage) -> None:
    assert stage.home.snapshot()["home"]["damage"] is None  # type: ignore[index]
    state = stage.folder / "state.yaml"
    state.write_text("relays: 7\n")
    await stage.store.read()
    damage = stage.home.snapshot()["home"]["damage"]  # type: ignore[index]
    assert set(damage) == {"path", "reason"}
    assert Path(damage["path"]).read_text() == "relays: 7\n"
    assert damage["reason"]


async def test_a_site_may_tell_its_service_visitors_addresses(stage: Stage) -> None:
    kept = replace(exposure(1), service_id="found")
    await stage.put(HomeState(relays=(relay(1),), exposures=(kept,)))
    stage.see(TARGET)
    for tells, then in ((True, True), (None, True), (False, False), (None, False)):
        wish = replace(WISH, enabled=False, proxy_protocol=tells)
        shown = await stage.home.set_exposure("found", wish)
        assert shown["exposure"]["proxy_protocol"] is then  # type: ignore[index]
        found = stage.store.value.exposure("found")
        assert found is not None
        assert found.tells_visitor is then


async def test_a_udp_service_cannot_be_told_and_says_so(stage: Stage) -> None:
    target = Target(Scheme.UDP, "192.0.2.7", 53)
    service = Service("names", "Names", Origin.MANUAL, target)
    await stage.put(HomeState(relays=(relay(1),), services=(service,)))
    wish = ExposureWish(True, public_port=53, proxy_protocol=True)
    with pytest.raises(NoProxyProtocolError, match="Names is a UDP service"):
        await stage.home.set_exposure("names", wish)
    assert stage.store.value.exposure("names") is None


async def test_why_visitors_could_be_taken_for_somebody_at_home_is_told(
    stage: Stage,
) -> None:
    target = Target(Scheme.HTTP, "192.0.2.7", 80)
    printer = Service("p", "OctoPrint", Origin.MANUAL, target)
    odd = Service("o", "Odd", Origin.DISCOVERED, target, tells_apart=True)
    plain = Service("n", "Photos", Origin.MANUAL, target)
    await stage.put(HomeState(services=(printer, plain)))
    stage.services.seen(odd)
    services = cast("list[Json]", stage.home.snapshot()["services"])
    assert {one["id"]: one["local_trust"] for one in services} == {
        "p": {"app": "octoprint", "name": "OctoPrint", "tells_apart": False},
        "o": {"app": None, "name": None, "tells_apart": True},
        "n": None,
    }
