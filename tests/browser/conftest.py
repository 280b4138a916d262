"""Open the page in Debian's Chromium, against the stand-in.

    home (StandIn) ──▶ open_page(scene…) ──▶ a Playwright page that has drawn itself

Every page fails its test if the browser's console had an error or a policy violation,
unless the test says that it provokes one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
import re
from typing import Any

from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Page,
    async_playwright,
    expect,
)
import pytest

from tests.browser.standin import StandIn

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A name that is no secure context, as a home's page on plain http is none.
    "--host-resolver-rules=MAP home.test 127.0.0.1",
]
expect.set_options(timeout=20_000)  # a busy machine draws late
OpenPage = Callable[..., Awaitable[Page]]

# What Chromium says about an answer with an error status: the API's way to refuse.
REFUSED = re.compile(
    r"Failed to load resource: the server responded with a status of 4"
)


@pytest.fixture
async def home() -> AsyncIterator[StandIn]:
    """Give a stand-in that is stopped afterwards."""
    async with StandIn() as standin:
        yield standin


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Give a browser of its own to each test, so that nothing is left behind."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=ARGUMENTS
        )
        yield running
        await running.close()


@pytest.fixture
async def complaints() -> list[str]:
    """Collect what the console complained about; a test may clear it."""
    return []


@pytest.fixture
async def open_page(
    browser: Browser, home: StandIn, complaints: list[str]
) -> AsyncIterator[OpenPage]:
    """Give a function that opens the page; its arguments are the context's."""

    def listen(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not REFUSED.match(message.text):
            complaints.append(message.text)

    async def open_it(*, url: str | None = None, **context: object) -> Page:
        settings: dict[str, Any] = {
            "locale": "en-GB",
            "viewport": {"width": 1000, "height": 800},
        }
        opened = await browser.new_context(**{**settings, **context})
        page = await opened.new_page()
        page.set_default_timeout(20_000)
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(url or home.url)
        await page.wait_for_selector("hg-services, hg-login, hg-problem:not([hidden])")
        return page

    yield open_it
    assert not complaints
