"""A person with a browser, at the public hostname of a Home Assistant of this month.

    Chromium ──https, verified──▶ relay ──▶ edge ──▶ Core: onboarding, login, its page

The Supervisor's user has trusted the edge before: nobody else is known to Core yet.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from playwright.async_api import HttpCredentials, Page, WebSocket, expect
import pytest

from hearthgate.home.hass.notices.notices import Notice, notices
from tests.browser.visitors import DEADLINE_MS, chromium
from tests.harness.homeassistant import CURRENT, OWNER, PASSWORD, CoreProcess
from tests.harness.webservice import WebService
from tests.hass.conftest import HOSTNAME, Household, household

UNAUTHORIZED = 401
# As its page does it for logs, pictures and the history.
ASK_BY_HTTP = """async () => {
  const { accessToken } = (await window.hassConnection).auth;
  const headers = { Authorization: `Bearer ${accessToken}` };
  return (await (await fetch("/api/config", { headers })).json()).version;
}"""

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.keeps("processes", "threads"),
]


@pytest.fixture(scope="module")
def fresh() -> Iterator[Household]:
    """Share a home whose Home Assistant has no owner yet."""
    with household(CoreProcess(CURRENT, is_onboarded=False)) as running:
        yield running


async def test_a_new_home_assistant_is_set_up_and_used_through_its_public_hostname(
    fresh: Household, tmp_path: Path
) -> None:
    scene = fresh.scene
    await fresh.trust_state("refused")
    await fresh.expose()
    async with scene.home.api() as api:
        await api.call("POST", "hass/trust", {})
    await fresh.trust_state("accepted")
    url = f"https://{HOSTNAME}:{scene.relay.https_port}/"
    expect.set_options(timeout=DEADLINE_MS)
    async with chromium(tmp_path, scene) as context:
        page = await context.new_page()
        answer = await page.goto(url)
        assert answer is not None
        security = await answer.security_details()
        assert security is not None
        assert "Pebble" in str(security.get("issuer"))
        await set_up(page)
        await is_in_use(page, url)

        # Somebody who has no session here, as on another machine.
        await page.evaluate("localStorage.clear()")
        sockets: list[WebSocket] = []

        def opened(socket: WebSocket) -> None:
            sockets.append(socket)

        page.on("websocket", opened)
        await page.goto(url)
        await log_in(page)
        await is_in_use(page, url)
        (socket,) = sockets
        assert socket.url == f"wss{url.removeprefix('https')}api/websocket"

        before = scene.home.edge_pids()
        with WebService(title="Lamp") as lamp:
            other = await scene.expose(lamp.url, "Lamp")
            assert set(scene.home.edge_pids()) > set(before)
            assert await ask(page) == CURRENT
            await scene.remove(other["id"])
        assert await ask(page) == CURRENT
        assert not socket.is_closed()
        assert sockets == [socket]  # it was the same one all the time
        # So that the edge's old generation is free to go before the scene ends.
        await page.close()


async def test_its_page_works_behind_a_password_at_the_edge_too(
    fresh: Household, tmp_path: Path
) -> None:
    """It sends its own Authorization header, which once was asked for the password."""
    scene = fresh.scene
    family: HttpCredentials = {"username": "family", "password": "a word for us"}
    await fresh.expose()
    async with scene.home.api() as api:
        if (await fresh.trust_state("refused", "accepted"))["trust"][
            "state"
        ] == "refused":
            await api.call("POST", "hass/trust", {})
            await fresh.trust_state("accepted")
        await api.expose("home-assistant", hostname=HOSTNAME, access=family)
    try:
        async with asyncio.timeout(60):
            while (  # noqa: ASYNC110  no event
                (await scene.visit(HOSTNAME)).status != UNAUTHORIZED
            ):
                await asyncio.sleep(0.1)
        expect.set_options(timeout=DEADLINE_MS)
        async with chromium(tmp_path, scene, password=family) as context:
            page = await context.new_page()
            url = f"https://{HOSTNAME}:{scene.relay.https_port}/"
            await page.goto(url)
            is_new = page.get_by_role("button", name="Create my smart home")
            await expect(
                is_new.or_(page.locator("input[name=username]"))
            ).to_be_visible()
            await (set_up(page) if await is_new.is_visible() else log_in(page))
            await is_in_use(page, url)
            assert await ask(page) == CURRENT
            assert await page.evaluate(ASK_BY_HTTP) == CURRENT
            await page.close()
    finally:
        async with scene.home.api() as api:
            await api.expose("home-assistant", hostname=HOSTNAME, access=None)


STRANGERS = (
    "https://evil.example/a?b=c www.evil.example me@evil.example "
    "[x](https://evil.example) ![y](https://evil.example/y.png) <b>bold</b>"
)


def refused_by(relay_says: str) -> Notice:
    """Return what Home Assistant is told if a relay refuses with some words."""
    problem = {"code": "x", "message": relay_says, "hint": "", "fields": {}}
    relay = {"id": "r1", "host": "vps", "state": "refused", "problem": problem}
    state = {"home": {"damage": None}, "relays": [relay], "services": []}
    (notice,) = notices(state, now=0.0)
    return notice


async def test_what_strangers_say_is_text_in_its_notifications(
    fresh: Household, tmp_path: Path
) -> None:
    """Beside one that nobody has escaped, whose addresses are links."""
    scene = fresh.scene
    await fresh.expose()
    async with scene.home.api() as api:
        if (await fresh.trust_state("refused", "accepted"))["trust"][
            "state"
        ] == "refused":
            await api.call("POST", "hass/trust", {})
            await fresh.trust_state("accepted")
    ours = refused_by(STRANGERS)
    for ident, message in (("escaped", ours.message), ("other", STRANGERS)):
        data = {"notification_id": ident, "title": ident, "message": message}
        await fresh.core.ask(
            "call_service",
            domain="persistent_notification",
            service="create",
            service_data=data,
        )
    expect.set_options(timeout=DEADLINE_MS)
    async with chromium(tmp_path, scene) as context:
        page = await context.new_page()
        url = f"https://{HOSTNAME}:{scene.relay.https_port}/"
        await page.goto(url)
        is_new = page.get_by_role("button", name="Create my smart home")
        await expect(is_new.or_(page.locator("input[name=username]"))).to_be_visible()
        await (set_up(page) if await is_new.is_visible() else log_in(page))
        await is_in_use(page, url)
        await page.locator("ha-sidebar").get_by_text("Notifications").click()
        items = page.locator("persistent-notification-item")
        escaped = items.filter(has_text="escaped")
        plain = items.filter(has_text="other")
        await expect(plain.locator("ha-markdown a").first).to_be_visible()
        await expect(escaped).to_contain_text(STRANGERS)
        await expect(escaped.locator("a, img, b, strong, table")).to_have_count(0)
        await page.close()


async def set_up(page: Page) -> None:
    """Answer what a new Home Assistant asks."""
    await page.get_by_role("button", name="Create my smart home").click()
    for name, value in (
        ("name", "Owner"),
        ("username", OWNER),
        ("password", PASSWORD),
        ("password_confirm", PASSWORD),
    ):
        await page.locator(f"input[name={name}]").fill(value)
    await page.get_by_role("button", name="Create account").click()
    finish = page.get_by_role("button", name="Finish")
    onward = page.get_by_role("button", name="Next")
    for _ in range(10):  # its place, its country, what it reports: as proposed
        await expect(onward.or_(finish)).to_be_visible()
        if await finish.is_visible():
            break
        button = await onward.element_handle()
        await button.click()
        await page.wait_for_function("(one) => !one.isConnected", arg=button)
    await finish.click()


async def log_in(page: Page) -> None:
    await page.locator("input[name=username]").fill(OWNER)
    await page.locator("input[name=password]").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()


async def is_in_use(page: Page, url: str) -> None:
    """Wait until the frontend's page is there, with what its WebSocket has told."""
    await expect(page.locator("home-assistant-main")).to_be_attached()
    await expect(page.locator("ha-sidebar").get_by_text("Owner")).to_be_visible()
    assert page.url.startswith(url)
    assert "/auth/" not in page.url


async def ask(page: Page) -> str:
    """Ask over the page's own WebSocket; return Core's version."""
    async with asyncio.timeout(30):
        version: str = await page.evaluate(
            "async () => (await (await window.hassConnection).conn"
            ".sendMessagePromise({type: 'get_config'})).version"
        )
        return version
