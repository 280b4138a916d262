"""The login: who is in, who is not, and how fast somebody may guess."""

import asyncio
import hashlib
from pathlib import Path
import stat

import aiohttp
import pytest

from hearthgate.home.web.errors import WeakPasswordError
from hearthgate.home.web.login.attempts import FREE_ATTEMPTS, WAIT_MAX_SECONDS, Attempts
from hearthgate.home.web.login.login import COOKIE, SECURE_COOKIE, Login
from hearthgate.home.web.login.passwords import PasswordFile
from hearthgate.home.web.login.sessions import SESSION_SECONDS, SESSIONS_MAX, Sessions
from hearthgate.shared.settings.kinds import Secret
from tests.unit.home.web.conftest import PASSWORD, Clock, Running

DAY = 24 * 3600


async def attempt(running: Running, password: str) -> aiohttp.ClientResponse:
    async with running.browser.post("/api/login", json={"password": password}) as got:
        await got.read()
        return got


async def is_in(running: Running) -> bool:
    async with running.browser.get("/api/state") as got:
        return got.status == 200


# --- logging in and out --------------------------------------------------------------


async def test_the_password_opens_and_logging_out_closes(running: Running) -> None:
    assert not await is_in(running)
    await running.log_in()
    assert await is_in(running)
    token = next(iter(running.browser.cookie_jar)).value
    async with running.browser.post("/api/logout") as got:
        assert got.status == 204
    assert not await is_in(running)
    running.browser.cookie_jar.update_cookies({COOKIE: token})
    assert not await is_in(running)


async def test_the_page_learns_whether_to_show_a_login(running: Running) -> None:
    async with running.browser.get("/api/session") as got:
        assert await got.json() == {"authenticated": False, "login": "password"}
    await running.log_in()
    async with running.browser.get("/api/session") as got:
        assert await got.json() == {
            "authenticated": True,
            "login": "password",
            "can_change_password": True,
        }


async def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(
    running: Running,
) -> None:
    cookie = (await attempt(running, PASSWORD)).headers["Set-Cookie"]
    assert cookie.startswith(f"{COOKIE}=")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Secure" not in cookie
    assert f"Max-Age={SESSION_SECONDS}" in cookie


async def test_over_https_the_cookie_stays_there(running: Running) -> None:
    async with running.browser.post(
        "/api/login",
        json={"password": PASSWORD},
        headers={"X-Forwarded-Proto": "https"},
    ) as got:
        cookie = got.headers["Set-Cookie"]
    assert cookie.startswith(f"{SECURE_COOKIE}=")
    assert "Secure" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie


@pytest.mark.parametrize("token", ["", "x", "a" * 43, "a" * 5000, "ü", '"', "../x"])
async def test_a_made_up_cookie_is_nobody(running: Running, token: str) -> None:
    await running.log_in()
    running.browser.cookie_jar.clear()
    header = {"Cookie": f"{COOKIE}={token}"}
    async with running.browser.get("/api/state", headers=header) as got:
        assert got.status == 401


@pytest.mark.parametrize(
    "password", ["", " correct horse", "Correct horse", "correct horse ", "x" * 1000]
)
async def test_only_the_password_is_the_password(
    running: Running, password: str
) -> None:
    got = await attempt(running, password)
    assert got.status in {401, 422}
    assert "Set-Cookie" not in got.headers


# --- guessing ------------------------------------------------------------------------


async def test_guessing_becomes_slow_and_patience_helps(running: Running) -> None:
    for _ in range(FREE_ATTEMPTS):
        assert (await attempt(running, "wrong")).status == 401
    got = await attempt(running, PASSWORD)
    assert got.status == 429
    assert int(got.headers["Retry-After"]) == 2
    running.clock.now += 2
    assert (await attempt(running, PASSWORD)).status == 204
    assert (await attempt(running, "wrong")).status == 401


async def test_guesses_at_the_same_moment_count_as_well(running: Running) -> None:
    answers = await asyncio.gather(*(attempt(running, "wrong") for _ in range(30)))
    statuses = [answer.status for answer in answers]
    assert statuses.count(401) <= FREE_ATTEMPTS
    assert statuses.count(429) == 30 - statuses.count(401)


def test_a_guesser_gets_few_tries_a_day() -> None:
    clock = Clock()
    attempts = Attempts(clock=clock)
    end = clock.now + DAY
    tries = 0
    while clock.now < end:
        wait = attempts.begin("192.0.2.7")
        assert wait <= WAIT_MAX_SECONDS
        clock.now += wait
        tries += wait == 0
    assert tries < 120


def test_a_guesser_does_not_lock_out_his_neighbour() -> None:
    attempts = Attempts(clock=Clock())
    while attempts.begin("192.0.2.7") == 0:
        pass
    assert attempts.begin("192.0.2.8") == 0
    assert attempts.begin("2001:db8::1") == 0


def test_one_subscriber_of_ipv6_is_one_guesser() -> None:
    attempts = Attempts(clock=Clock())
    tries = sum(attempts.begin(f"2001:db8::{number:x}") == 0 for number in range(100))
    assert tries == FREE_ATTEMPTS


def test_an_address_written_in_two_ways_is_one_guesser() -> None:
    attempts = Attempts(clock=Clock())
    for _ in range(FREE_ATTEMPTS):
        assert attempts.begin("::ffff:192.0.2.7") == 0
    assert attempts.begin("192.0.2.7") > 0


def test_many_guessers_cost_bounded_memory() -> None:
    attempts = Attempts(clock=Clock())
    for number in range(10_000):
        attempts.begin(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(attempts._records) <= 4096


def test_old_mistakes_are_forgotten() -> None:
    clock = Clock()
    attempts = Attempts(clock=clock)
    while attempts.begin("192.0.2.7") == 0:
        pass
    clock.now += 2 * 3600
    tries = sum(attempts.begin("192.0.2.7") == 0 for _ in range(20))
    assert tries == FREE_ATTEMPTS


# --- sessions ------------------------------------------------------------------------


async def test_a_session_slides_for_thirty_days(tmp_path: Path) -> None:
    clock = Clock()
    sessions = Sessions(tmp_path / "sessions.yaml", clock=clock)
    token = await sessions.start()
    for _ in range(4):
        clock.now += SESSION_SECONDS - 1
        assert await sessions.covers(token)
    clock.now += SESSION_SECONDS
    assert not await sessions.covers(token)


async def test_a_session_survives_a_restart_but_not_another_password(
    tmp_path: Path,
) -> None:
    clock = Clock()
    path = tmp_path / "sessions.yaml"
    first = Sessions(path, clock=clock)
    await first.read("a" * 64)
    token = await first.start()
    again = Sessions(path, clock=clock)
    await again.read("a" * 64)
    assert await again.covers(token)
    changed = Sessions(path, clock=clock)
    await changed.read("b" * 64)
    assert not await changed.covers(token)


async def test_the_file_with_sessions_lets_nobody_in(tmp_path: Path) -> None:
    path = tmp_path / "sessions.yaml"
    sessions = Sessions(path, clock=Clock())
    token = await sessions.start()
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = next(iter(sessions._expires))
    assert not await sessions.covers(key)


async def test_a_session_that_ended_stays_ended_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "sessions.yaml"
    sessions = Sessions(path, clock=Clock())
    token = await sessions.start()
    await sessions.end(token)
    path.unlink()  # the copy must not know it either
    again = Sessions(path, clock=Clock())
    await again.read("")
    assert not await again.covers(token)


async def test_sessions_are_bounded_and_the_oldest_goes(tmp_path: Path) -> None:
    clock = Clock()
    sessions = Sessions(tmp_path / "sessions.yaml", clock=clock)
    first = await sessions.start()
    clock.now += 1
    others = [await sessions.start() for _ in range(SESSIONS_MAX)]
    assert not await sessions.covers(first)
    assert await sessions.covers(others[-1])
    assert len(sessions._expires) == SESSIONS_MAX


async def test_a_clock_that_was_set_back_makes_no_session_for_years(
    tmp_path: Path,
) -> None:
    clock = Clock()
    sessions = Sessions(tmp_path / "sessions.yaml", clock=clock)
    clock.now += 3650 * DAY
    token = await sessions.start()
    clock.now -= 3650 * DAY
    assert await sessions.covers(token)
    clock.now += SESSION_SECONDS
    assert not await sessions.covers(token)


async def test_a_clock_that_is_set_back_keeps_no_session_alive(tmp_path: Path) -> None:
    clock, monotonic = Clock(), Clock()
    path = tmp_path / "sessions.yaml"
    sessions = Sessions(path, clock=clock, monotonic=monotonic)
    token = await sessions.start()
    clock.now -= 20 * DAY
    monotonic.now += SESSION_SECONDS
    assert not await sessions.covers(token)
    again = Sessions(path, clock=clock, monotonic=monotonic)
    await again.read("")
    assert not await again.covers(token)


async def test_a_session_that_has_expired_stays_so_over_a_restart_with_an_older_clock(
    tmp_path: Path,
) -> None:
    clock = Clock()
    path = tmp_path / "sessions.yaml"
    sessions = Sessions(path, clock=clock)
    lost = await sessions.start()
    clock.now += SESSION_SECONDS + DAY
    used = await sessions.start()
    # As it is if the one that has expired was never written out of the file.
    sessions._expires[hashlib.sha256(lost.encode()).hexdigest()] = clock.now - DAY
    await sessions._save()
    clock.now -= 20 * DAY
    again = Sessions(path, clock=clock)
    await again.read("")
    assert not await again.covers(lost)
    assert await again.covers(used)


async def test_a_disk_that_cannot_be_written_lets_the_owner_in(tmp_path: Path) -> None:
    """With a full disk the page is where the owner reads why."""
    sessions = Sessions(tmp_path / "gone" / "sessions.yaml", clock=Clock())
    token = await sessions.start()
    assert await sessions.covers(token)


async def test_a_damaged_file_of_sessions_means_logging_in_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "sessions.yaml"
    path.write_bytes(b"\xff")
    sessions = Sessions(path, clock=Clock())
    await sessions.read("a" * 64)
    assert await sessions.covers(await sessions.start())


# --- the password --------------------------------------------------------------------


async def test_the_first_start_makes_a_password_and_tells_it_once(
    tmp_path: Path,
) -> None:
    made = await Login(tmp_path).prepare(None)
    assert made is not None
    assert len(made) == 19
    assert made not in repr(made)
    assert PasswordFile(tmp_path / "password").prepare(None) is None
    again = PasswordFile(tmp_path / "password")
    again.prepare(None)
    assert again.matches(made)
    text = (tmp_path / "password").read_text()
    assert made not in text
    assert text.startswith("scrypt:")
    assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600


async def test_a_password_from_the_settings_wins_and_ends_sessions_once(
    tmp_path: Path,
) -> None:
    clock = Clock()
    first = Login(tmp_path, clock=clock)
    assert await first.prepare(Secret("first password")) is None
    token = await first._sessions.start()
    same = Login(tmp_path, clock=clock)
    await same.prepare(Secret("first password"))
    assert await same._sessions.covers(token)
    other = Login(tmp_path, clock=clock)
    await other.prepare(Secret("other password"))
    assert not await other._sessions.covers(token)


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_a_password_that_is_no_protection_is_refused(
    tmp_path: Path, password: str
) -> None:
    with pytest.raises(WeakPasswordError):
        PasswordFile(tmp_path / "password").set(password)
    assert not (tmp_path / "password").exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"plain password",
        b"\xff\xfe",
        b"scrypt:15:8:1:AAAA:AAAA",
        b"scrypt:40:8:1:AAAA:" + b"A" * 43 + b"=",
        b"scrypt:15:9999:1:AAAA:" + b"A" * 43 + b"=",
        b"scrypt:-1:8:1:AAAA:" + b"A" * 43 + b"=",
        b"md5:15:8:1:AAAA:" + b"A" * 43 + b"=",
        b"x" * 5000,
    ],
)
def test_a_damaged_password_file_opens_to_nobody_and_is_kept(
    tmp_path: Path, raw: bytes
) -> None:
    path = tmp_path / "password"
    path.write_bytes(raw)
    file = PasswordFile(path)
    made = file.prepare(None)
    assert made is not None
    assert file.matches(made)
    assert not file.matches("")
    assert not file.matches("plain password")
    kept = list(tmp_path.glob("password.damaged-*"))
    assert [one.read_bytes() for one in kept] == [raw]


def test_without_a_password_nobody_is_right(tmp_path: Path) -> None:
    assert not PasswordFile(tmp_path / "password").matches("")


@pytest.mark.parametrize("password", ["pässwörd", "a\ud800bcdefg", "日本語のパスワー"])
def test_any_letters_make_a_password(tmp_path: Path, password: str) -> None:
    file = PasswordFile(tmp_path / "password")
    file.set(password)
    assert file.matches(password)
    assert not file.matches(password + "x")
