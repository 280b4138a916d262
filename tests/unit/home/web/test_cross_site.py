"""No other page may use the owner's session, whatever the browser tells us."""

from aiohttp import WSServerHandshakeError
import pytest

from tests.unit.home.web.conftest import Running

LAMP = {"name": "Lamp", "url": "192.168.1.20:3000"}

# What a request says of itself. {own} is our own address.
OWN: list[dict[str, str]] = [
    {},
    {"Origin": "{own}"},
    {"Origin": "{own}", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin"},
]
FOREIGN: list[dict[str, str]] = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "http://[::1"},
    {"Origin": "{own}.evil.example"},
    {"Origin": "http://evil.example/{own}"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "{own}", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "{own}", "Sec-Fetch-Site": "same-site"},
]


def headers_of(case: dict[str, str], running: Running) -> dict[str, str]:
    return {name: value.format(own=running.url) for name, value in case.items()}


@pytest.mark.parametrize("case", OWN)
async def test_our_own_page_may_change_and_follow_things(
    owner: Running, case: dict[str, str]
) -> None:
    headers = headers_of(case, owner)
    async with owner.browser.post("/api/services", json=LAMP, headers=headers) as got:
        assert got.status == 201, await got.text()
    async with owner.browser.ws_connect("/api/live", headers=headers) as page:
        assert (await page.receive_json(timeout=30))["type"] == "state"


@pytest.mark.parametrize("case", FOREIGN)
async def test_another_page_may_change_nothing(
    owner: Running, case: dict[str, str]
) -> None:
    headers = headers_of(case, owner)
    async with owner.browser.post("/api/services", json=LAMP, headers=headers) as got:
        assert got.status == 403
        assert (await got.json())["error"]["code"] == "cross_site"
    assert owner.home.services == {}


@pytest.mark.parametrize("case", FOREIGN)
async def test_another_page_may_follow_nothing(
    owner: Running, case: dict[str, str]
) -> None:
    """A browser lets every page open a WebSocket to anywhere, with cookies."""
    with pytest.raises(WSServerHandshakeError) as caught:
        await owner.browser.ws_connect("/api/live", headers=headers_of(case, owner))
    assert caught.value.status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PURGE"])
async def test_no_method_that_could_change_something_is_forgotten(
    owner: Running, method: str
) -> None:
    async with owner.browser.request(
        method, "/api/services/s-1", headers={"Origin": "https://evil.example"}
    ) as got:
        assert got.status == 403


async def test_another_page_may_not_log_in(running: Running) -> None:
    async with running.browser.post(
        "/api/login",
        json={"password": "correct horse"},
        headers={"Origin": "https://evil.example"},
    ) as got:
        assert got.status == 403
        assert "Set-Cookie" not in got.headers


async def test_reading_is_left_to_the_browser(owner: Running) -> None:
    """It shows answers to their own page only; a link from elsewhere must work."""
    async with owner.browser.get("/", headers={"Sec-Fetch-Site": "cross-site"}) as got:
        assert got.status == 200
        assert "Access-Control-Allow-Origin" not in got.headers
