"""Dialogs that are higher than the window, as on a phone."""

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import OpenPage
from tests.browser.standin import StandIn, relay, service

PHONE = {"width": 390, "height": 560}
TRUSTING = {"app": "octoprint", "name": "OctoPrint", "tells_apart": True}


async def _open_long_dialog(home: StandIn, open_page: OpenPage) -> tuple[Page, Locator]:
    home.add(relay(), service(local_trust=TRUSTING))
    page = await open_page(viewport=PHONE)
    await page.get_by_role("switch", name="Camera on the Internet").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("switch", name="Ask for a name and a password").click()
    height, shown = await dialog.evaluate("one => [one.scrollHeight, one.clientHeight]")
    assert height > shown  # or the test would show nothing
    return page, dialog


async def _see(page: Page, what: Locator) -> None:
    """Wait until nothing lies over it."""
    await expect(what).to_be_visible()
    on_top = """one => {
      const { left, right, top, bottom } = one.getBoundingClientRect();
      const at = (y) => document.elementFromPoint((left + right) / 2, y);
      return [top + 2, bottom - 2].every((y) => one.contains(at(y)));
    }"""
    await page.wait_for_function(on_top, arg=await what.element_handle())


async def test_the_button_of_a_long_dialog_is_always_there(
    home: StandIn, open_page: OpenPage
) -> None:
    page, dialog = await _open_long_dialog(home, open_page)
    button = dialog.get_by_role("button", name="Put it on the Internet")
    for place in ("0", "one.scrollHeight"):
        await dialog.evaluate(f"one => one.scrollTo(0, {place})")
        await _see(page, button)


async def test_what_is_wrong_in_a_long_dialog_is_scrolled_to(
    home: StandIn, open_page: OpenPage
) -> None:
    page, dialog = await _open_long_dialog(home, open_page)
    await dialog.get_by_role("button", name="Put it on the Internet").click()
    await _see(page, dialog.get_by_text("Type a name", exact=False).last)


async def test_so_is_what_the_home_refuses(home: StandIn, open_page: OpenPage) -> None:
    page, dialog = await _open_long_dialog(home, open_page)
    await dialog.get_by_label("Name", exact=True).fill("anna")
    await dialog.get_by_label("Password", exact=True).fill("long enough")
    home.refuse("not_granted", "The relay does not let you.", "Choose another name.")
    await dialog.get_by_role("button", name="Put it on the Internet").click()
    await _see(page, dialog.get_by_text("Choose another name."))
