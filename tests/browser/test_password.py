"""Change the password on the page: the real page and web, with a home in memory.

    Chromium (the owner) ──▶ WebServer, Login ◀── Chromium (another browser)

Each browser has cookies of its own, as two people's have.
"""

from collections.abc import AsyncIterator
from pathlib import Path
import re

from playwright.async_api import Browser, Locator, Page, expect
import pytest

from hearthgate.home.state.targets import read_target
from hearthgate.home.web.login.login import Login
from hearthgate.home.web.server import WebServer
from hearthgate.shared.settings.kinds import Secret
from tests.browser.conftest import OpenPage
from tests.browser.test_page import CONTRAST
from tests.support.memory_home import MemoryHome

OLD, NEW = "correct horse", "battery staple"
PHONE = {"width": 360, "height": 740}

WATCH_FOR_LOSS = """() => {
  const main = document.querySelector("main");
  window.wasLost = false;
  new MutationObserver(() => { window.wasLost ||= main.dataset.stale === "true"; })
    .observe(main, { attributes: true });
}"""


class Web:
    """A home's web that can be started again with other settings."""

    def __init__(self, folder: Path) -> None:
        """Use a private folder that exists."""
        self.home = MemoryHome()
        self._folder = folder
        self._server: WebServer | None = None

    async def start(self, given: str | None = None) -> None:
        """Serve; a given password stands in the settings."""
        await self.stop()
        login = Login(self._folder)
        if given is None and not (self._folder / "password").exists():
            await login.prepare(Secret(OLD))
            login = Login(self._folder)
        await login.prepare(None if given is None else Secret(given))
        self._server = WebServer(self.home, login, host="127.0.0.1")
        await self._server.start()

    @property
    def url(self) -> str:
        """Where the page is."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.port}/"

    async def stop(self) -> None:
        """Stop, if it was started."""
        if self._server is not None:
            await self._server.stop()


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[Web]:
    """Give a started web whose password is not from the settings."""
    running = Web(tmp_path)
    await running.start()
    yield running
    await running.stop()


async def log_in(page: Page, password: str = OLD) -> None:
    await page.get_by_label("Password").fill(password)
    await page.keyboard.press("Enter")


async def open_in(open_page: OpenPage, web: Web, **context: object) -> Page:
    page = await open_page(url=web.url, **context)
    await log_in(page)
    await expect(page.locator("hg-services")).to_be_visible()
    return page


async def open_dialog(page: Page) -> Locator:
    await page.get_by_role("button", name="More", exact=True).click()
    await page.get_by_role("menuitem", name="Change password…").click()
    return page.get_by_role("dialog", name="Change the password")


async def test_changing_it_keeps_this_browser_in_and_logs_the_other_one_out(
    web: Web, open_page: OpenPage
) -> None:
    page, other = await open_in(open_page, web), await open_in(open_page, web)
    await page.evaluate(WATCH_FOR_LOSS)
    dialog = await open_dialog(page)
    await dialog.get_by_label("Current password").fill(OLD)
    await dialog.get_by_label("New password").fill(NEW)
    await dialog.get_by_role("button", name="Change", exact=True).click()
    await expect(dialog.get_by_role("status")).to_contain_text(
        "The password is changed."
    )
    close = dialog.get_by_role("button", name="Close")
    await expect(close).to_be_focused()
    await close.press("Enter")
    await expect(dialog).to_have_count(0)
    menu = page.get_by_role("button", name="More", exact=True)
    await expect(menu).to_be_focused()

    # What happens next is seen by the one and no longer by the other.
    await web.home.add_service("Lamp", read_target("192.168.1.20:3000"))
    await expect(page.locator("hg-service")).to_contain_text("Lamp")
    assert not await page.evaluate("window.wasLost")
    await expect(other.get_by_label("Password")).to_be_visible()
    await expect(other.locator("hg-service")).to_have_count(0)
    await page.reload()
    await expect(page.locator("hg-service")).to_contain_text("Lamp")

    await log_in(other, OLD)
    alert = other.get_by_role("alert").filter(visible=True)
    await expect(alert).to_contain_text("This password is not right.")
    await log_in(other, NEW)
    await expect(other.locator("hg-service")).to_contain_text("Lamp")


async def test_what_is_wrong_stands_beside_its_field_and_changes_nothing(
    web: Web, open_page: OpenPage, browser: Browser
) -> None:
    page = await open_in(open_page, web)
    dialog = await open_dialog(page)
    current = dialog.get_by_label("Current password")
    fresh = dialog.get_by_label("New password")
    submit = dialog.get_by_role("button", name="Change", exact=True)
    await expect(current).to_be_focused()
    await submit.click()
    await expect(current).to_have_accessible_description(
        "Type the current password first."
    )
    await expect(current).to_be_focused()
    await expect(current).to_have_attribute("aria-invalid", "true")
    anew: list[str] = []
    page.on("websocket", lambda socket: anew.append(socket.url))
    await current.fill("wrong")
    await expect(current).not_to_have_attribute("aria-invalid", "true")
    await fresh.fill("short")
    await fresh.press("Enter")
    await expect(fresh).to_have_accessible_description(
        "At least 8 characters. Every other browser has to log in again. "
        "The password needs at least 8 characters."
    )
    await expect(fresh).to_be_focused()
    await fresh.fill(NEW)
    await fresh.press("Enter")
    await expect(current).to_have_accessible_description(
        "This is not the current password."
    )
    await expect(current).to_be_focused()
    for _ in range(4):
        await current.fill("wrong again")
        await current.press("Enter")
        await expect(submit).to_be_enabled()
        await expect(current).to_have_attribute("aria-invalid", "true")
    await current.fill(OLD)
    await current.press("Enter")
    await expect(current).to_have_accessible_description(
        re.compile("^There were too many wrong passwords. Try again in [12] seconds?.$")
    )
    assert not anew  # a wrong password is no reason to connect again
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(page.locator("hg-services")).to_be_visible()
    await page.close()
    await web.start()  # which forgets the wrong ones
    stranger = await (await browser.new_context(locale="en-GB")).new_page()
    await stranger.goto(web.url)
    await log_in(stranger, OLD)
    await expect(stranger.locator("hg-services")).to_be_visible()


async def test_a_password_of_the_settings_says_where_it_is_changed(
    web: Web, open_page: OpenPage
) -> None:
    await web.start(given=OLD)
    page = await open_in(open_page, web)
    dialog = await open_dialog(page)
    await expect(dialog).to_contain_text("HEARTHGATE_PASSWORD")
    await expect(dialog.get_by_role("textbox")).to_have_count(0)
    await expect(dialog.get_by_role("button")).to_have_text(["Close"])
    await dialog.get_by_role("button", name="Close").press("Enter")
    await expect(dialog).to_have_count(0)


async def test_only_the_keyboard_is_needed_and_the_new_password_can_be_seen(
    web: Web, open_page: OpenPage
) -> None:
    page = await open_in(open_page, web)
    await page.get_by_role("button", name="More", exact=True).focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("menuitem", name="Change password…")).to_be_focused()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Change the password")
    fresh = dialog.get_by_label("New password")
    await page.keyboard.type(OLD)
    await page.keyboard.press("Tab")
    await page.keyboard.type(NEW)
    await expect(fresh).to_have_value(NEW)
    await expect(fresh).to_have_attribute("type", "password")
    await page.keyboard.press("Tab")
    eye = dialog.get_by_role("button", name="Show the password")
    await expect(eye).to_be_focused()
    await page.keyboard.press("Space")
    await expect(fresh).to_have_attribute("type", "text")
    await expect(eye).to_have_attribute("aria-pressed", "true")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("status")).to_contain_text("is changed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_small_phone_in_german_and_can_be_read(
    web: Web, open_page: OpenPage, scheme: str
) -> None:
    page = await open_page(
        url=web.url, locale="de-DE", viewport=PHONE, color_scheme=scheme, has_touch=True
    )
    await page.get_by_label("Passwort").fill(OLD)
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Mehr", exact=True).tap()
    await page.get_by_role("menuitem", name="Passwort ändern …").tap()
    dialog = page.get_by_role("dialog", name="Passwort ändern")
    await dialog.get_by_label("Bisheriges Passwort").fill("falsch")
    await dialog.get_by_label("Neues Passwort").fill(NEW)
    await dialog.get_by_role("button", name="Ändern", exact=True).tap()
    await expect(dialog).to_contain_text("Das ist nicht das bisherige Passwort.")
    assert await dialog.evaluate("it => it.scrollWidth <= it.clientWidth")
    assert await page.evaluate("document.documentElement.scrollWidth") == 360
    assert await page.evaluate(CONTRAST) == []
    small = await dialog.evaluate(
        """(it) => [...it.querySelectorAll("button, input")]
            .map((one) => [one.outerHTML.slice(0, 80), one.getBoundingClientRect()])
            .filter(([, box]) => box.width && (box.height < 40 || box.width < 40))
            .map(([text]) => text)"""
    )
    assert small == []
