"""Starting and stopping, and the private socket of the command line."""

import asyncio
import os
from pathlib import Path
import socket
import stat

import aiohttp
import pytest

from hearthgate.home.web.errors import WebNotStartedError
from hearthgate.home.web.login.users import NoLogin
from hearthgate.home.web.server import WebServer
from hearthgate.shared.storage.private_files import NotOursError
from tests.support.memory_home import MemoryHome
from tests.unit.home.web.conftest import Running


def web_at(page: Path, *, port: int = 0, unix: Path | None = None) -> WebServer:
    return WebServer(
        MemoryHome(),
        NoLogin("test"),
        host="127.0.0.1",
        port=port,
        unix_socket=unix,
        page=page,
    )


async def test_the_command_line_needs_no_login(running: Running) -> None:
    connector = aiohttp.UnixConnector(str(running.socket))
    async with aiohttp.ClientSession("http://agent", connector=connector) as agent:
        lamp = {"name": "Lamp", "url": "nas:5000"}
        async with agent.post("/api/services", json=lamp) as got:
            assert got.status == 201
        async with agent.get("/api/session") as got:
            assert await got.json() == {"authenticated": True, "login": "none"}
        async with agent.ws_connect("/api/live") as live:
            assert (await live.receive_json(timeout=30))["type"] == "state"
        async with agent.post("/api/login", json={"password": "x"}) as got:
            assert got.status == 404
    assert "s-1" in running.home.services


@pytest.mark.parametrize("umask", [0o000, 0o022])
async def test_the_socket_is_for_its_owner_from_the_first_moment(
    tmp_path: Path, page: Path, umask: int
) -> None:
    """Changing the mode after the bind would leave a moment for everybody."""
    server = web_at(page, unix=tmp_path / "agent.sock")
    before = os.umask(umask)
    try:
        await server.start()
    finally:
        os.umask(before)
    mode = (tmp_path / "agent.sock").stat().st_mode
    await server.stop()
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


async def test_stopping_leaves_nothing_behind(tmp_path: Path, page: Path) -> None:
    server = web_at(page, unix=tmp_path / "agent.sock")
    await server.start()
    port = server.port
    await server.stop()
    assert not (tmp_path / "agent.sock").exists()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    await server.stop()


async def test_what_a_killed_agent_left_is_replaced(tmp_path: Path, page: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "agent.sock"))
    left.close()
    server = web_at(page, unix=tmp_path / "agent.sock")
    await server.start()
    await server.stop()


async def test_a_file_in_the_place_of_the_socket_is_not_removed(
    tmp_path: Path, page: Path
) -> None:
    (tmp_path / "agent.sock").write_text("precious")
    with pytest.raises(NotOursError, match="is a file, where"):
        await web_at(page, unix=tmp_path / "agent.sock").start()
    assert (tmp_path / "agent.sock").read_text() == "precious"


async def test_a_port_in_use_is_named_and_nothing_stays_open(
    tmp_path: Path, page: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(WebNotStartedError, match=f"127.0.0.1:{port}") as caught:
            await web_at(page, port=port, unix=tmp_path / "agent.sock").start()
    assert "in use" in str(caught.value)
    assert list(tmp_path.glob("*.sock")) == []


async def test_a_path_that_is_too_long_for_a_socket_is_an_error(
    tmp_path: Path, page: Path
) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    with pytest.raises(WebNotStartedError, match="too long"):
        await web_at(page, unix=folder / "agent.sock").start()


async def test_a_request_under_way_ends_well_when_stopping(running: Running) -> None:
    await running.log_in()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(code: str) -> dict[str, object]:
        begun.set()
        await go_on.wait()
        return {"id": code}

    running.home.pair = slow  # type: ignore[method-assign]

    async def ask() -> int:
        async with running.browser.post("/api/relays", json={"code": "x"}) as got:
            return got.status

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(ask())
        await begun.wait()
        tasks.create_task(running.server.stop())
        go_on.set()
    assert asking.result() == 201
