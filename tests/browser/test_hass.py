"""The card of Home Assistant: what would change, the click, what became of it."""

import os
from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.standin import StandIn, hass, problem, relay, service

LINES = "http:\n  use_x_forwarded_for: true\n  trusted_proxies:\n    - 127.0.0.1\n"
URL = "https://ha.cottage.example.com"
CHANGE = "Change and restart Home Assistant"


async def picture(page: Page, name: str) -> None:
    """Keep a picture for a person to look at, where HEARTHGATE_PICTURES says."""
    folder = os.environ.get("HEARTHGATE_PICTURES")
    if folder:
        await page.locator("hg-hass").screenshot(path=Path(folder) / f"{name}.png")


async def test_who_is_no_add_on_sees_nothing_of_home_assistant(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay(), service())
    page = await open_page()
    await expect(page.locator("hg-service")).to_be_visible()
    await expect(page.locator("hg-hass")).to_be_hidden()


async def test_one_click_says_what_it_will_change_and_how_it_goes(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay())
    home.hass = hass()
    page = await open_page()
    shown = page.locator("hg-hass")
    await expect(shown).to_contain_text("400: Bad Request")
    await expect(shown.locator("dl")).to_contain_text("false → true")
    await expect(shown.locator("dl")).to_contain_text("127.0.0.1")
    limit = shown.get_by_role("checkbox", name="ban an address after 5")
    await expect(limit).to_be_checked()
    await picture(page, "refused")
    home.hass = hass("restarting")
    await shown.get_by_role("button", name=CHANGE).click()
    assert await home.called() == ("POST", "hass/trust", {"login_attempts": 5})
    await expect(shown).to_contain_text("restarts with the new settings")
    await expect(shown.get_by_role("button", name=CHANGE)).to_be_hidden()
    await picture(page, "restarting")
    await home.change_hass(hass("verifying"))
    await expect(shown).to_contain_text("Visiting Home Assistant from outside")
    await home.change_hass(hass("accepted", login_attempts=5))
    await expect(shown).to_contain_text("does not know its public address")
    await picture(page, "address")
    await shown.get_by_role("button", name="Tell it").click()
    assert await home.called() == ("POST", "hass/public_url", {})
    told = hass("accepted", login_attempts=5, external_url=URL)
    await home.change_hass(told)
    await expect(shown).to_be_hidden()


async def test_a_late_answer_does_not_undo_what_the_home_said_since(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay())
    home.hass = hass("accepted", login_attempts=5)
    told = hass("accepted", login_attempts=5, external_url=URL)
    home.overtake = lambda: home.change_hass(told)
    page = await open_page()
    shown = page.locator("hg-hass")
    async with page.expect_response("**/api/hass/public_url"):
        await shown.get_by_role("button", name="Tell it").click()
    # Enabled again: the answer has been taken.
    await expect(
        shown.get_by_role("button", name="Tell it", disabled=False, include_hidden=True)
    ).to_have_count(1)
    await expect(shown).to_be_hidden()


async def test_the_limit_of_logins_is_the_owners_choice(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay())
    home.hass = hass()
    page = await open_page()
    shown = page.locator("hg-hass")
    await shown.get_by_role("checkbox").uncheck()
    await shown.get_by_role("button", name=CHANGE).click()
    assert await home.called() == ("POST", "hass/trust", {})
    await home.change_hass(hass("accepted", external_url=home.hass["public_url"][:-1]))
    await expect(shown).to_contain_text("Home Assistant never bans an address")


async def test_a_limit_that_there_is_already_is_not_offered(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay())
    home.hass = hass(login_attempts=3)
    page = await open_page()
    await expect(page.locator("hg-hass").get_by_role("checkbox")).to_be_hidden()


async def test_what_went_wrong_stays_with_what_to_do_and_the_button(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay())
    why = problem("Home Assistant has gone <b>back</b>.", "Mend that, then try again.")
    home.hass = hass(problem=why)
    page = await open_page()
    shown = page.locator("hg-hass")
    alert = shown.get_by_role("alert")
    await expect(alert).to_contain_text("Home Assistant has gone <b>back</b>.")
    await expect(alert).to_contain_text("Mend that, then try again.")
    await picture(page, "failed")
    home.refuse("core_starts", "Home Assistant is still starting.", "Wait a minute.")
    await shown.get_by_role("button", name=CHANGE).click()
    await expect(alert).to_contain_text("Home Assistant is still starting.")
    await expect(shown.get_by_role("button", name=CHANGE)).to_be_enabled()


async def test_an_old_home_assistant_gets_lines_to_copy_and_a_check(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay())
    home.hass = hass(by="yaml", changes=[], yaml=LINES, login_attempts=None)
    page = await open_page(permissions=["clipboard-read", "clipboard-write"])
    shown = page.locator("hg-hass")
    await expect(shown.locator("pre")).to_have_text(LINES)
    await expect(shown.get_by_role("button", name=CHANGE)).to_be_hidden()
    await expect(shown.get_by_role("checkbox")).to_be_hidden()
    await shown.get_by_role("button", name="Copy the lines").click()
    assert await page.evaluate("navigator.clipboard.readText()") == LINES
    await picture(page, "yaml")
    await shown.get_by_role("button", name="Check again").click()
    assert await home.called() == ("POST", "hass/check", {})
    await home.change_hass(hass("accepted", by="yaml", public_url=None))
    await expect(shown).to_be_hidden()


async def test_it_fits_a_phone_and_the_dark_in_german(
    home: StandIn, open_page: OpenPage
) -> None:
    home.add(relay())
    home.hass = hass(problem=problem("Why.", "What now."))
    for scheme in ("light", "dark"):
        page = await open_page(
            color_scheme=scheme,
            locale="de-DE",
            viewport={"width": 360, "height": 740},
            reduced_motion="reduce",
        )
        shown = page.locator("hg-hass")
        await expect(shown).to_contain_text("weist Besucher")
        wide = "document.documentElement.scrollWidth"
        assert await page.evaluate(f"{wide} <= window.innerWidth")
        for button in await shown.get_by_role("button").all():
            box = await button.bounding_box()
            assert box is None or (box["height"] >= 40 and box["x"] >= 0)
            assert box is None or box["x"] + box["width"] <= 360
        await picture(page, f"phone-{scheme}")
        await page.close()
