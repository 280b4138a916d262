"""A home with a Home Assistant that still has its HTTP settings in YAML."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.hearthgate import ApiError
from tests.harness.homeassistant import OLD, CoreProcess
from tests.hass.conftest import HOSTNAME, Household, household

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.keeps("processes", "threads"),
]
VISITOR = "127.0.0.57"


@pytest.fixture(scope="module")
def old() -> Iterator[Household]:
    """Share a home with the old Home Assistant."""
    with household(CoreProcess(OLD)) as running:
        yield running


async def test_the_page_shows_the_lines_that_are_missing(old: Household) -> None:
    hass = await old.trust_state("refused")
    assert hass["version"] == OLD
    assert hass["trust"]["by"] == "yaml"
    assert "  trusted_proxies:\n    - 127.0.0.1\n" in hass["trust"]["yaml"]
    await old.expose()
    assert (await old.scene.visit(HOSTNAME, "/manifest.json")).status == 400


async def test_there_is_no_click_for_it(old: Household) -> None:
    async with old.scene.home.api() as api:
        with pytest.raises(ApiError) as refused:
            await api.call("POST", "hass/trust", {})
    assert refused.value.error["code"] == "core_too_old"
    assert (await old.hass())["trust"]["state"] == "refused"


async def test_with_those_lines_and_a_restart_visitors_are_let_in(
    old: Household,
) -> None:
    hass = await old.hass()
    old.core.write_yaml(hass["trust"]["yaml"])
    await old.core.restart()
    async with old.scene.home.api() as api:
        hass = await api.call("POST", "hass/check")
    assert hass["trust"]["state"] == "accepted"
    assert hass["trust"]["yaml"] is None
    visit = await old.scene.visit(HOSTNAME, "/manifest.json", source=VISITOR)
    assert visit.status == 200


async def test_the_visitors_own_address_reaches_the_ban_list(old: Household) -> None:
    for _ in range(5):
        answer = await old.scene.visit(
            HOSTNAME, "/api/", headers={"Authorization": "Bearer no"}, source=VISITOR
        )
        assert answer.status in {401, 403}
    banned = await old.scene.visit(HOSTNAME, "/manifest.json", source=VISITOR)
    assert banned.status == 403
    bans = Path(old.core.folder / "ip_bans.yaml").read_text()
    assert f"{VISITOR}:" in bans
    assert "127.0.0.1:" not in bans
