"""Changing the password: who may, what ends with it, and what is refused."""

import asyncio
from http.cookies import SimpleCookie

import aiohttp
import pytest

from hearthgate.home.web.login.attempts import FREE_ATTEMPTS
from hearthgate.home.web.login.login import COOKIE, SECURE_COOKIE, Login
from hearthgate.home.web.server import WebServer
from hearthgate.shared.settings.kinds import Secret
from tests.support.memory_home import disk_full
from tests.unit.home.web.conftest import PASSWORD, Running

NEW = "battery staple"


async def change(
    running: Running,
    password: object = NEW,
    *,
    current: object = PASSWORD,
    headers: dict[str, str] | None = None,
) -> aiohttp.ClientResponse:
    body = {"current": current, "password": password}
    async with running.browser.post("/api/password", json=body, headers=headers) as got:
        await got.read()
        return got


async def status_of_login(running: Running, password: str) -> int:
    async with (
        aiohttp.ClientSession(running.url) as stranger,
        stranger.post("/api/login", json={"password": password}) as got,
    ):
        return got.status


async def is_in(running: Running, token: str | None = None) -> bool:
    """Ask with the browser's own cookie, or with another session's."""
    headers = {"Cookie": f"{COOKIE}={token}"} if token else {}
    jar = aiohttp.DummyCookieJar() if token else running.browser.cookie_jar
    async with (
        aiohttp.ClientSession(running.url, cookie_jar=jar) as asking,
        asking.get("/api/state", headers=headers) as got,
    ):
        return got.status == 200


def token_of(running: Running) -> str:
    return next(iter(running.browser.cookie_jar)).value


async def code_of(got: aiohttp.ClientResponse) -> str:
    code: str = (await got.json())["error"]["code"]
    return code


# --- what it does --------------------------------------------------------------------


async def test_who_changes_it_stays_in_and_everybody_else_is_out(
    owner: Running,
) -> None:
    before, other = token_of(owner), await owner.login._sessions.start()
    assert await is_in(owner, other)
    got = await change(owner)
    assert got.status == 204
    assert await is_in(owner)
    assert not await is_in(owner, other)
    assert not await is_in(owner, before)


async def test_the_new_password_opens_and_the_old_one_does_not(owner: Running) -> None:
    await change(owner)
    assert await status_of_login(owner, PASSWORD) == 401
    assert await status_of_login(owner, NEW) == 204


async def test_it_is_still_changed_after_a_restart(owner: Running) -> None:
    other = await owner.login._sessions.start()
    await change(owner)
    again = Login(owner.folder, clock=owner.clock, monotonic=owner.clock)
    assert await again.prepare(None) is None
    assert await again._sessions.covers(token_of(owner))
    assert not await again._sessions.covers(other)
    assert again._password.matches(NEW)


async def test_the_cookie_of_the_new_session_is_as_well_kept(owner: Running) -> None:
    cookie = (await change(owner)).headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    https = {"X-Forwarded-Proto": "https"}
    got = await change(owner, "third password", current=NEW, headers=https)
    cookie = got.headers["Set-Cookie"]
    assert SimpleCookie(cookie)[SECURE_COOKIE]["secure"]


async def test_an_open_page_of_another_session_closes_by_itself(owner: Running) -> None:
    owner.server._live._check_seconds = 3600.0
    token = await owner.login._sessions.start()
    async with aiohttp.ClientSession(
        owner.url, cookie_jar=aiohttp.DummyCookieJar()
    ) as other:
        headers = {"Cookie": f"{COOKIE}={token}"}
        async with other.ws_connect("/api/live", headers=headers) as page:
            assert (await page.receive_json(timeout=30))["type"] == "state"
            await change(owner)
            message = await page.receive(timeout=30)
            assert message.type is aiohttp.WSMsgType.CLOSE
            assert message.data == aiohttp.WSCloseCode.POLICY_VIOLATION


# --- who may -------------------------------------------------------------------------


async def test_who_is_not_logged_in_may_not_even_with_the_password(
    running: Running,
) -> None:
    got = await change(running)
    assert got.status == 401
    assert await code_of(got) == "login_needed"
    assert "Set-Cookie" not in got.headers
    assert await status_of_login(running, PASSWORD) == 204


async def test_another_page_may_not(owner: Running) -> None:
    got = await change(owner, headers={"Origin": "https://evil.example"})
    assert got.status == 403
    assert await status_of_login(owner, PASSWORD) == 204


async def test_where_no_login_is_there_is_nothing_to_change(running: Running) -> None:
    connector = aiohttp.UnixConnector(str(running.socket))
    async with aiohttp.ClientSession("http://agent", connector=connector) as agent:
        for body in ({"current": PASSWORD, "password": NEW}, {}):
            async with agent.post("/api/password", json=body) as got:
                assert got.status == 404
                assert await code_of(got) == "no_login"
    assert await status_of_login(running, PASSWORD) == 204


async def test_a_password_of_the_settings_is_changed_there(owner: Running) -> None:
    fixed = Login(owner.folder, clock=owner.clock, monotonic=owner.clock)
    await fixed.prepare(PASSWORD)
    server = WebServer(owner.home, fixed, host="127.0.0.1")
    await server.start()
    try:
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{server.port}",
            cookies={COOKIE: await fixed._sessions.start()},
            cookie_jar=aiohttp.CookieJar(unsafe=True),
        ) as browser:
            running = Running(
                owner.home, server, fixed, owner.clock, owner.folder, browser
            )
            async with browser.get("/api/session") as got:
                assert (await got.json())["can_change_password"] is False
            refused = await change(running)
            assert refused.status == 409
            error = (await refused.json())["error"]
            assert error["code"] == "password_in_settings"
            assert "HEARTHGATE_PASSWORD" in error["hint"]
            assert "Set-Cookie" not in refused.headers
            assert await is_in(running)
            assert await status_of_login(running, PASSWORD) == 204
    finally:
        await server.stop()


async def test_a_password_that_has_left_the_settings_can_be_changed(
    owner: Running,
) -> None:
    first = Login(owner.folder)
    await first.prepare(PASSWORD)
    assert not first.can_change_password
    again = Login(owner.folder)
    assert await again.prepare(None) is None
    assert again.can_change_password


# --- what is refused -----------------------------------------------------------------


async def test_without_the_current_password_nothing_changes(owner: Running) -> None:
    other = await owner.login._sessions.start()
    for wrong in ("wrong", NEW, f"{PASSWORD} "):
        got = await change(owner, current=wrong)
        assert got.status == 401
        assert await code_of(got) == "wrong_password"
        assert "Set-Cookie" not in got.headers
    assert await is_in(owner)
    assert await is_in(owner, other)
    assert await status_of_login(owner, PASSWORD) == 204


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
async def test_a_password_that_is_no_protection_is_told_and_nothing_changes(
    owner: Running, password: str
) -> None:
    other = await owner.login._sessions.start()
    got = await change(owner, password)
    assert got.status == 400
    error = (await got.json())["error"]
    assert error["code"] == "weak_password"
    assert error["fields"] == {"least": "8", "most": "1024"}
    assert await is_in(owner, other)
    assert await status_of_login(owner, PASSWORD) == 204


@pytest.mark.parametrize("password", [None, 12345678, "line\nbreaks", "x" * 5000])
async def test_what_nobody_could_log_in_with_is_refused(
    owner: Running, password: object
) -> None:
    got = await change(owner, password)
    assert got.status == 422
    assert await code_of(got) == "invalid_body"


async def test_a_full_disk_changes_nothing_and_ends_no_session(
    owner: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise disk_full()

    other = await owner.login._sessions.start()
    monkeypatch.setattr("hearthgate.home.web.login.passwords.write_private", full)
    got = await change(owner)
    assert got.status == 507
    assert await is_in(owner, other)
    assert await status_of_login(owner, PASSWORD) == 204


# --- guessing, and at the same moment ------------------------------------------------


async def test_guessing_here_is_as_slow_as_at_the_login(owner: Running) -> None:
    for _ in range(FREE_ATTEMPTS):
        assert (await change(owner, current="wrong")).status == 401
    got = await change(owner)
    assert got.status == 429
    assert got.headers["Retry-After"] == "2"
    assert await status_of_login(owner, PASSWORD) == 429
    owner.clock.now += 2
    assert (await change(owner)).status == 204


async def test_of_two_changes_at_once_the_second_needs_the_first_ones_password(
    owner: Running,
) -> None:
    answers = await asyncio.gather(
        change(owner, "first of them"), change(owner, "second of them")
    )
    assert sorted(answer.status for answer in answers) == [204, 401]
    winner = ["first of them", "second of them"][answers[0].status != 204]
    assert await status_of_login(owner, winner) == 204


async def test_a_login_that_is_checked_during_a_change_leaves_no_session(
    owner: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old password was right when it was checked; the change then overtook it."""
    login = owner.login
    matches, reached, overtaken = login._matches, asyncio.Event(), asyncio.Event()

    async def slow(password: Secret) -> bool:
        found = await matches(password)
        reached.set()
        await overtaken.wait()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(login, "_matches", slow)
        late = asyncio.create_task(status_of_login(owner, PASSWORD))
        await asyncio.wait_for(reached.wait(), 30)
    assert (await change(owner)).status == 204
    overtaken.set()
    assert await late == 401
    assert len(login._sessions._expires) == 1
