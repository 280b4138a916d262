"""What Home Assistant may switch, and what the page says of parts that failed alone."""

from playwright.async_api import Page, expect
import pytest

from tests.browser.conftest import OpenPage
from tests.browser.standin import StandIn, exposure, problem, relay, service
from tests.browser.test_switching import EXPOSURE, row

OFFER = "Home Assistant may switch it"
GERMAN = {"locale": "de-DE"}


async def open_dialog(page: Page, entry: str = "Home Assistant…") -> None:
    more = row(page, "Camera").get_by_role("button", name="Camera")
    await more.click()
    await page.get_by_role("menuitem", name=entry).click()


async def test_home_assistant_may_switch_nothing_until_it_is_allowed_here(
    home: StandIn, open_page: OpenPage
) -> None:
    home.mqtt = True
    home.add(relay(), service(exposure=exposure("live")))
    page = await open_page()
    await open_dialog(page)
    dialog = page.get_by_role("dialog", name="Camera in Home Assistant")
    offer = dialog.get_by_role("switch", name=OFFER)
    await expect(offer).not_to_be_checked()
    await expect(offer).to_be_focused()
    await expect(dialog).to_contain_text("also where an earlier version let")
    await expect(dialog).to_contain_text("Whoever can log in to your MQTT broker")
    await expect(dialog.locator("hg-problem").first).to_be_hidden()
    await offer.press("Space")
    await dialog.get_by_role("button", name="Save").click()
    assert await home.called() == (
        "PUT",
        EXPOSURE,
        {"enabled": True, "hass_may_switch": True},
    )
    await expect(dialog).to_have_count(0)
    await open_dialog(page)
    await expect(offer).to_be_checked()


async def test_what_was_never_public_by_its_rules_is_turned_on_here_first(
    home: StandIn, open_page: OpenPage
) -> None:
    home.mqtt = True
    home.add(relay(), service(exposure=exposure("off")))
    page = await open_page()
    await open_dialog(page)
    dialog = page.get_by_role("dialog", name="Camera in Home Assistant")
    notice = dialog.get_by_text("Turn Camera on here once.")
    await expect(notice).to_be_hidden()
    await dialog.get_by_role("switch", name=OFFER).press("Space")
    await expect(notice).to_be_visible()
    await dialog.get_by_role("button", name="Save").click()
    _, _, body = await home.called()
    assert body == {"enabled": False, "hass_may_switch": True}


async def test_the_dialog_speaks_german(home: StandIn, open_page: OpenPage) -> None:
    home.mqtt = True
    home.add(relay(), service(exposure=exposure("live")))
    page = await open_page(**GERMAN)
    await open_dialog(page, "Home Assistant …")
    dialog = page.get_by_role("dialog", name="Camera in Home Assistant")
    offer = dialog.get_by_role("switch", name="Home Assistant darf das schalten")
    await expect(offer).not_to_be_checked()


@pytest.mark.parametrize("is_exposed", [True, False])
async def test_who_has_no_broker_or_no_exposure_is_not_asked(
    home: StandIn, open_page: OpenPage, is_exposed: bool
) -> None:
    home.mqtt = not is_exposed
    shown = exposure("live") if is_exposed else None
    home.add(relay(), service(exposure=shown, origin="manual"))
    page = await open_page()
    await row(page, "Camera").get_by_role("button", name="Camera").click()
    await expect(page.get_by_role("menuitem", name="Edit…")).to_be_visible()
    await expect(page.get_by_role("menuitem", name="Home Assistant…")).to_have_count(0)


async def test_a_part_that_failed_is_told_while_everything_else_is_there(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service(exposure=exposure("live")))
    home.problems = [problem("Discovery has stopped.", "It is tried again.", 60)]
    page = await open_page()
    shown = page.locator("hg-problems")
    await expect(shown).to_contain_text("Discovery has stopped.")
    await expect(shown).to_contain_text("Next try in")
    await expect(row(page, "Camera")).to_be_visible()
    await home.change_problems(
        problem("Discovery has stopped."), problem("The broker is away.")
    )
    await expect(shown.locator("hg-problem")).to_have_count(2)
    await expect(shown).to_contain_text("The broker is away.")
    await home.change_problems()
    await expect(shown).to_be_hidden()


async def test_a_part_that_failed_is_told_in_german(
    home: StandIn, open_page: OpenPage
) -> None:
    failed = problem("Discovery has stopped because of an error.", "Report it.")
    failed["code"] = "part_failed"
    failed["fields"] = {"part": "Discovery", "reason": "UnicodeError"}
    home.add(relay())
    home.problems = [failed]
    page = await open_page(**GERMAN)
    await expect(page.locator("hg-problems")).to_contain_text(
        "Die Suche im Heimnetz ist durch einen Fehler in Hearthgate ausgefallen "
        "(UnicodeError)."
    )
