"""A running web of a home in memory: over TCP with a login, and on a UNIX socket."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from hearthgate.home.web.live.live import LivePages
from hearthgate.home.web.login.login import COOKIE, Login
from hearthgate.home.web.login.passwords import PasswordFile
from hearthgate.home.web.server import WebServer
from hearthgate.shared.settings.kinds import Secret
from hearthgate.shared.storage.private_files import write_private
from tests.support.memory_home import MemoryHome

PASSWORD = Secret("correct horse")


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Running:
    """What a test may touch."""

    home: MemoryHome
    server: WebServer
    login: Login
    clock: Clock
    folder: Path
    browser: aiohttp.ClientSession  # with a cookie jar, as a browser has

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def socket(self) -> Path:
        return self.folder / "agent.sock"

    async def log_in(self) -> None:
        async with self.browser.post("/api/login", json={"password": PASSWORD}) as got:
            assert got.status == 204, await got.text()


@pytest.fixture
def page(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    (folder / "js").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>Hearthgate</title>")
    (folder / "js" / "main.js").write_text("export const x = 'ü';")
    (folder / "notes.md").write_text("not for browsers")
    return folder


@pytest.fixture(scope="session")
def password_line(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Hash the password once: doing it is slow on purpose."""
    path = tmp_path_factory.mktemp("password") / "password"
    PasswordFile(path).set(PASSWORD)
    return path.read_bytes()


@pytest.fixture
async def running(
    tmp_path: Path, page: Path, password_line: bytes
) -> AsyncIterator[Running]:
    home, clock = MemoryHome(), Clock()
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    login = Login(folder, clock=clock, monotonic=clock)
    write_private(folder / "password", password_line)
    await login.prepare(None)
    server = WebServer(
        home,
        login,
        host="127.0.0.1",
        port=0,
        unix_socket=folder / "agent.sock",
        page=page,
        live=LivePages(home, pages_max=4, send_seconds=20.0, check_seconds=0.05),
    )
    await server.start()
    try:
        async with aiohttp.ClientSession(
            f"http://127.0.0.1:{server.port}",
            cookie_jar=aiohttp.CookieJar(unsafe=True),
        ) as browser:
            yield Running(home, server, login, clock, folder, browser)
    finally:
        await server.stop()


@pytest.fixture
async def owner(running: Running) -> Running:
    """Give the browser of the running web a session, without the slow password."""
    token = await running.login._sessions.start()
    running.browser.cookie_jar.update_cookies({COOKIE: token}, URL(running.url))
    return running
