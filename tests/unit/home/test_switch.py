"""A switch outside of the page repeats what the owner has decided, and nothing else."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hearthgate.home.errors import (
    RelayForgottenError,
    ServiceUnknownError,
    SwitchNotAllowedError,
)
from hearthgate.home.model import Access, Exposure, Origin, Service, Target
from hearthgate.home.state.state import HomeState
from hearthgate.home.web.api.facade import AccessWish, ExposureWish
from hearthgate.shared.settings.kinds import Secret
from tests.unit.home.test_home import TARGET, Stage, relay

PASSWORD = AccessWish("anna", Secret("a word for us"))
ON = ExposureWish(True, "found.home.example.com", None, PASSWORD, hass_may_switch=True)
OFF = ExposureWish(False)
ELSEWHERE = replace(TARGET, host="192.168.1.66")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    folder = tmp_path / "data"
    folder.mkdir()
    made = Stage(folder)
    await made.put(HomeState(relays=(relay(1), relay(2))))
    made.see(TARGET)
    yield made
    await made.store.close()
    await made.services._tasks.close()


def kept(stage: Stage) -> Exposure:
    found = stage.store.value.exposure("found")
    assert found is not None
    return found


async def wish(stage: Stage, *wishes: ExposureWish) -> None:
    for one in wishes:
        await stage.home.set_exposure("found", one)


async def test_what_was_public_is_switched_off_and_on_with_the_rules_that_it_had(
    stage: Stage,
) -> None:
    await wish(stage, ON)
    before = kept(stage)
    await stage.home.switch("found", enabled=False)
    assert kept(stage) == replace(before, enabled=False)
    await stage.home.switch("found", enabled=True)
    assert kept(stage) == before
    assert before.access is not None
    assert stage.exposer.wishes == ["found"] * 3


async def test_what_is_as_it_is_asked_for_is_not_begun_again(stage: Stage) -> None:
    await wish(stage, ON)
    for _ in range(100):
        await stage.home.switch("found", enabled=True)
    assert stage.exposer.wishes == ["found"]


async def test_what_was_never_public_stays_private(stage: Stage) -> None:
    with pytest.raises(SwitchNotAllowedError, match="Found"):
        await stage.home.switch("found", enabled=True)
    with pytest.raises(ServiceUnknownError):
        await stage.home.switch("nothing", enabled=True)
    assert stage.store.value.exposures == ()


@pytest.mark.parametrize("enabled", [True, False])
async def test_nothing_is_switched_that_its_owner_has_not_allowed(
    stage: Stage, enabled: bool
) -> None:
    await wish(stage, replace(ON, hass_may_switch=None, enabled=True))
    await wish(stage, replace(OFF, enabled=not enabled))
    assert kept(stage).hass_may_switch is False
    with pytest.raises(SwitchNotAllowedError):
        await stage.home.switch("found", enabled=enabled)
    assert kept(stage).enabled is not enabled


@pytest.mark.parametrize(
    "change",
    [
        replace(OFF, access=None),
        replace(OFF, access=AccessWish("berta", Secret("another word"))),
        replace(OFF, hostname="other.home.example.com"),
        replace(OFF, relay_id=relay(2).id),
    ],
    ids=["no password", "other password", "hostname", "relay"],
)
async def test_rules_that_were_changed_while_it_was_off_are_public_by_a_click_first(
    stage: Stage, change: ExposureWish
) -> None:
    await wish(stage, ON, OFF)
    assert kept(stage).was_public
    await wish(stage, change)
    with pytest.raises(SwitchNotAllowedError):
        await stage.home.switch("found", enabled=True)
    assert not kept(stage).enabled
    await wish(stage, replace(OFF, enabled=True), OFF)
    await stage.home.switch("found", enabled=True)
    assert kept(stage).enabled


async def test_address_that_only_the_network_has_said_is_public_by_a_click_first(
    stage: Stage,
) -> None:
    """Anything at home may announce the name of a service that is off."""
    await wish(stage, ON, OFF)
    await stage.home.service_moved(kept(stage), ELSEWHERE)
    assert kept(stage).target == ELSEWHERE
    with pytest.raises(SwitchNotAllowedError):
        await stage.home.switch("found", enabled=True)
    assert not kept(stage).enabled


async def test_service_that_moved_while_it_was_on_is_switched_as_before(
    stage: Stage,
) -> None:
    await wish(stage, ON)
    await stage.home.service_moved(kept(stage), ELSEWHERE)
    await stage.home.switch("found", enabled=False)
    await stage.home.switch("found", enabled=True)
    assert kept(stage).enabled


async def test_rules_that_were_changed_while_it_was_on_have_been_public(
    stage: Stage,
) -> None:
    await wish(stage, ON, replace(ON, access=None), OFF)
    await stage.home.switch("found", enabled=True)
    assert kept(stage).access is None


async def test_the_address_of_a_service_is_a_rule_too(stage: Stage) -> None:
    lamp = Service("lamp", "Lamp", Origin.MANUAL, TARGET)
    await stage.store.update(lambda state: state.with_service(lamp))
    await stage.home.set_exposure("lamp", replace(ON, hostname="l.home.example.com"))
    await stage.home.switch("lamp", enabled=False)
    await stage.home.edit_service("lamp", name="Light", target=None)
    await stage.home.switch("lamp", enabled=True)
    await stage.home.switch("lamp", enabled=False)
    elsewhere = Target(TARGET.scheme, "192.168.1.99", 80)
    await stage.home.edit_service("lamp", name=None, target=elsewhere)
    with pytest.raises(SwitchNotAllowedError):
        await stage.home.switch("lamp", enabled=True)


async def test_a_relay_that_was_forgotten_is_replaced_by_no_other(
    stage: Stage,
) -> None:
    """The page offers another relay then; a switch would choose it by itself."""
    await wish(stage, ON, OFF)
    await stage.store.update(lambda state: state.without_relay(relay(1).id))
    with pytest.raises(RelayForgottenError):
        await stage.home.switch("found", enabled=True)
    assert kept(stage).relay_id == relay(1).id


async def test_a_relay_that_was_forgotten_takes_the_decision_with_it(
    stage: Stage,
) -> None:
    """Paired again, what went through it comes back by a click only."""
    await wish(stage, ON)
    await stage.home.forget_relay(relay(1).id)
    await stage.store.update(lambda state: state.with_relay(relay(1)))
    with pytest.raises(SwitchNotAllowedError):
        await stage.home.switch("found", enabled=True)
    assert not kept(stage).enabled


@pytest.mark.parametrize(
    "change",
    [
        {"access": Access("anna", "$6$other")},
        {"access": None},
        {"hostname": "b.example.com"},
        {"relay_id": "other"},
        {"target": Target(TARGET.scheme, "192.168.1.99", 80)},
        {"public_port": 1},
        {"tells_visitor": True},
    ],
)
def test_every_field_of_an_exposure_is_a_rule_unless_it_is_named_as_none(
    change: dict[str, Any],
) -> None:
    old = Exposure(
        "s",
        "S",
        TARGET,
        "r",
        "a.example.com",
        enabled=False,
        access=Access("anna", "$6$hash"),
        was_public=True,
    )
    assert old.decided_after(old).was_public
    assert replace(old, name="T", hass_may_switch=True).decided_after(old).was_public
    assert not replace(old, **change).decided_after(old).was_public
    assert replace(old, enabled=True, **change).decided_after(old).was_public
