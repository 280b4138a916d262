"""What becomes of the click if it goes wrong, with the Home Assistant of this month.

Core's five minutes to confirm are shortened to seconds; the rest of it is as released.
"""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.harness.hearthgate import ApiError
from tests.harness.homeassistant import CHILD, CURRENT, CoreProcess
from tests.hass.conftest import HOSTNAME, Household, household

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.keeps("processes", "threads"),
]
_TRIAL_S = 25.0


@pytest.fixture(scope="module")
def impatient() -> Iterator[Household]:
    """Share a home whose Core soon goes back."""
    with household(CoreProcess(CURRENT, reverts_after_s=_TRIAL_S)) as running:
        yield running


async def test_without_an_administrators_rights_nothing_is_changed(
    impatient: Household,
) -> None:
    """The Supervisor's user is one; some day it might not be."""
    await impatient.trust_state("refused")
    await impatient.expose()
    starts = impatient.core.starts
    connect, impatient.supervisor.connect = (
        impatient.supervisor.connect,
        partial(impatient.core.connect, user=CHILD),
    )
    try:
        async with impatient.scene.home.api() as api:
            with pytest.raises(ApiError) as refused:
                await api.call("POST", "hass/trust", {})
    finally:
        impatient.supervisor.connect = connect
    assert refused.value.error["code"] == "core_refused"
    assert "Unauthorized" in refused.value.error["message"]
    assert impatient.core.starts == starts
    assert (await impatient.core.ask("http/config"))["pending"] is None


async def test_what_nobody_could_visit_is_not_confirmed_and_core_goes_back(
    impatient: Household,
) -> None:
    """The relay is gone while Core restarts, so the public hostname shows nothing."""
    starts = impatient.core.starts
    async with impatient.scene.home.api() as api:
        await api.call("POST", "hass/trust", {})
        impatient.scene.relay.kill()
        hass = await api.until(
            lambda state: state["hass"] if state["hass"]["trust"]["problem"] else None,
            deadline_s=240,
        )
    problem = hass["trust"]["problem"]
    assert hass["trust"]["state"] == "refused"
    assert problem["code"] == "still_refused"
    assert "goes back to its old settings by itself" in problem["hint"]
    assert problem["retry_at"] is not None
    async with impatient.scene.home.api() as api:
        hass = await api.until(
            lambda state: (
                state["hass"]
                if state["hass"]["trust"]["problem"]["code"] == "went_back"
                else None
            ),
            deadline_s=240,
        )
    assert hass["trust"]["state"] == "refused"
    assert hass["trust"]["changes"]
    assert impatient.core.starts == starts + 2
    config = await impatient.core.ask("http/config")
    assert config["active_config_type"] == "stable"
    assert config["pending"]["error"] == "not_promoted"
    assert "trusted_proxies" not in config["stable"]


async def test_one_more_click_works_once_the_relay_is_back(
    impatient: Household,
) -> None:
    await impatient.scene.relay.start_again()
    await impatient.core.is_running()
    async with impatient.scene.home.api() as api:
        await api.connected()
        await api.settled("home-assistant", ("live",))
        await api.call("POST", "hass/trust", {})
    hass = await impatient.trust_state("accepted")
    assert hass["trust"]["problem"] is None
    assert (await impatient.core.ask("http/config"))["pending"] is None
    assert (await impatient.scene.visit(HOSTNAME, "/manifest.json")).status == 200
