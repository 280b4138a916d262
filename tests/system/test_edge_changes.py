"""Changes of the edge: who is kept, who is cut, and what happens when HAProxy dies."""

import asyncio
import contextlib
import dataclasses
import functools
from http.client import IncompleteRead
import logging
import os
from pathlib import Path
import signal
import ssl
import sys

import aiohttp
import pytest

from hearthgate.home.edge import EdgeFailedError, EdgeRefusedError
from tests.support.visiting import (
    MB,
    Household,
    Visitor,
    house,
    household,
    make_certificate,
    tcp_pair,
    trusting,
    until,
)

pytestmark = pytest.mark.usefixtures("haproxy")

HOST = "cottage.example.com"
OTHER = "barn.example.com"
THIRD = "garden.example.com"


@contextlib.asynccontextmanager
async def websocket(home: Household, hostname: str):  # type: ignore[no-untyped-def] # noqa: ANN201
    """Yield a WebSocket over the edge."""
    async with (
        home.listen() as port,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trusting())
        ) as session,
        session.ws_connect(
            f"https://127.0.0.1:{port}/ws",
            headers={"Host": hostname},
            server_hostname=hostname,
        ) as connection,
    ):
        yield connection


async def echo(connection: aiohttp.ClientWebSocketResponse, word: str) -> bool:
    await connection.send_str(word)
    message = await connection.receive(timeout=20)
    return bool(message.data == word)


async def download(visitor: Visitor, mb: int) -> int:
    response = await asyncio.to_thread(visitor.ask, f"/download?mb={mb}&wait=1")
    return len(await asyncio.to_thread(response.read))


async def test_websocket_lives_through_a_change_of_others(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        first = home.route(HOST, service.port)
        await home.edge.apply([first])
        async with websocket(home, HOST) as connection:
            assert await echo(connection, "before")
            await home.edge.apply([first, home.route(OTHER, service.port)])
            assert len(home.edge.pids) == 2
            assert await echo(connection, "after")
            assert (await home.get(OTHER))[0] == 200
        await until(lambda: len(home.edge.pids) == 1)


async def test_hostname_that_is_off_is_cut_while_the_others_go_on(
    tmp_path: Path,
) -> None:
    async with house() as service, household(tmp_path) as home:
        keep, drop = home.route(HOST, service.port), home.route(OTHER, service.port)
        await home.edge.apply([keep, drop])
        kept, dropped = await home.visit(HOST), await home.visit(OTHER)
        idle = await home.visit(OTHER)
        (await asyncio.to_thread(idle.ask)).read()
        async with websocket(home, OTHER) as connection:
            assert await echo(connection, "hello")
            going = asyncio.create_task(download(kept, 4), name="kept")
            response = await asyncio.to_thread(dropped.ask, "/download?mb=4&wait=1")

            await home.edge.apply([keep])

            message = await connection.receive(timeout=20)
            assert (
                message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
                or message.type is aiohttp.WSMsgType.CLOSE
            )
        with pytest.raises((OSError, IncompleteRead)):
            await asyncio.to_thread(response.read)
        answer = await asyncio.to_thread(
            idle.raw, b"GET /echo HTTP/1.1\r\nHost: barn.example.com\r\n\r\n"
        )
        assert answer == b""
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await home.visit(OTHER)
        service.go.set()
        assert await going == 4 * MB


async def test_hostname_that_is_off_is_cut_on_generations_that_drain_already(
    tmp_path: Path,
) -> None:
    """A HAProxy that stops opens no console and refuses server commands."""
    async with house() as service, household(tmp_path) as home:
        keep, drop = home.route(HOST, service.port), home.route(OTHER, service.port)
        await home.edge.apply([keep, drop])
        kept, dropped = await home.visit(HOST), await home.visit(OTHER)
        going = asyncio.create_task(download(kept, 4), name="kept")
        response = await asyncio.to_thread(dropped.ask, "/download?mb=4&wait=1")
        await home.edge.apply([keep, drop, home.route(THIRD, service.port)])
        await home.edge.apply([keep, home.route(THIRD, service.port)])
        with pytest.raises((OSError, IncompleteRead)):
            await asyncio.to_thread(response.read)
        service.go.set()
        assert await going == 4 * MB


async def test_cut_ends_what_is_live_and_the_hostname_stays(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply(
            [home.route(HOST, service.port), home.route(OTHER, service.port)]
        )
        kept, dropped = await home.visit(OTHER), await home.visit(HOST)
        going = asyncio.create_task(download(kept, 4), name="kept")
        response = await asyncio.to_thread(dropped.ask, "/download?mb=4&wait=1")
        await home.edge.cut(HOST)
        with pytest.raises((OSError, IncompleteRead)):
            await asyncio.to_thread(response.read)
        assert (await home.get(HOST))[0] == 200
        service.go.set()
        assert await going == 4 * MB


async def test_new_target_ends_what_went_to_the_old_one(tmp_path: Path) -> None:
    async with house() as one, house() as two, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, one.port)])
        visitor = await home.visit(HOST)
        response = await asyncio.to_thread(visitor.ask, "/events")
        await home.edge.apply([home.route(HOST, two.port)])
        with pytest.raises((OSError, IncompleteRead)):
            await asyncio.to_thread(response.read)
        assert (await home.get(HOST))[0] == 200
        assert (one.requests, two.requests) == (0, 1)


async def test_same_routes_change_nothing_and_a_renewal_is_a_new_generation(
    tmp_path: Path,
) -> None:
    async with house() as service, household(tmp_path) as home:
        route = home.route(HOST, service.port)
        await home.edge.apply([route])
        pids = home.edge.pids
        await home.edge.apply([dataclasses.replace(route)])
        assert home.edge.pids == pids
        make_certificate(route.certificate, HOST)
        async with websocket(home, HOST) as connection:
            assert await echo(connection, "before")
            await home.edge.apply([route])
            assert home.edge.pids[0] != pids[0]
            assert await echo(connection, "after")


async def test_refused_certificate_leaves_the_running_edge_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with house() as service, household(tmp_path) as home:
        good = home.route(HOST, service.port)
        await home.edge.apply([good])
        pids = home.edge.pids
        broken = tmp_path / "broken.pem"
        broken.write_text("not a certificate")
        bad = home.route(OTHER, service.port, certificate=broken)
        with pytest.raises(EdgeRefusedError), caplog.at_level(logging.ERROR):
            await home.edge.apply([good, bad])
        assert "this is a bug" in caplog.text
        assert home.edge.pids == pids
        assert (await home.get(HOST))[0] == 200
        missing = dataclasses.replace(bad, certificate=tmp_path / "missing")
        with pytest.raises(EdgeRefusedError, match="cannot be read"):
            await home.edge.apply([good, missing])
        assert home.edge.pids == pids
        assert not list((home.folder / "edge").glob("*/barn*"))


async def test_missing_program_is_said_and_queued_changes_still_work(
    tmp_path: Path,
) -> None:
    async with house() as service, household(tmp_path, program="nohaproxy") as home:
        with pytest.raises((EdgeFailedError, EdgeRefusedError)):
            await home.edge.apply([home.route(HOST, service.port)])
        await home.edge.apply([])


async def test_concurrent_changes_are_served_in_order(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        routes = [home.route(name, service.port) for name in (HOST, OTHER, THIRD)]
        async with asyncio.TaskGroup() as tasks:
            for end in (1, 2, 3):
                tasks.create_task(home.edge.apply(routes[:end]), name=f"apply {end}")
        for name in (HOST, OTHER, THIRD):
            assert (await home.get(name))[0] == 200


async def test_without_routes_nothing_runs_and_visitors_are_closed(
    tmp_path: Path,
) -> None:
    async with house() as service, household(tmp_path) as home:
        near, far = tcp_pair()
        home.edge.hand_over(far)
        assert far.fileno() == -1
        near.close()
        await home.edge.apply([])
        assert home.edge.pids == ()
        await home.edge.apply([home.route(HOST, service.port)])
        await home.edge.apply([])
        await until(lambda: not home.edge.pids)
        await until(lambda: not list((home.folder / "edge").iterdir()))


async def test_killed_haproxy_is_started_again_and_visitors_wait_for_it(
    tmp_path: Path,
) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        for _ in range(3):
            (pid,) = home.edge.pids
            os.kill(pid, signal.SIGKILL)
            # Those that lie in the dead pair are lost; those after it wait.
            await until(functools.partial(gone, home, pid))
            assert (await home.get(HOST))[0] == 200


async def test_queue_is_bounded_and_served_in_order(tmp_path: Path) -> None:
    async with (
        house() as service,
        household(tmp_path, queue_max=3, restart_first_s=0.5) as home,
    ):
        await home.edge.apply([home.route(HOST, service.port)])
        os.kill(home.edge.pids[0], signal.SIGKILL)
        await until(lambda: not home.edge.pids)
        pairs = [tcp_pair() for _ in range(5)]
        for _, far in pairs:
            home.edge.hand_over(far)
        assert [far.fileno() >= 0 for _, far in pairs] == [True] * 3 + [False] * 2
        await until(lambda: all(far.fileno() < 0 for _, far in pairs))
        assert len(home.edge.pids) == 1
        for near, _ in pairs:
            near.close()


async def test_burst_of_visitors_beyond_the_pair_is_served(tmp_path: Path) -> None:
    """A socket pair holds about 280 descriptors; the rest waits in our queue."""
    async with (
        house() as service,
        household(tmp_path, queue_max=1000, threads=1) as home,
    ):
        await home.edge.apply([home.route(HOST, service.port)])
        os.kill(home.edge.pids[0], signal.SIGSTOP)
        visitors = [Visitor(home, HOST, "198.51.100.9") for _ in range(400)]
        await asyncio.sleep(0)
        os.kill(home.edge.pids[0], signal.SIGCONT)
        for visitor in visitors:
            await asyncio.to_thread(visitor.greet)
            visitor.close()


async def test_sixty_changes_leak_no_process_descriptor_or_file(
    tmp_path: Path,
) -> None:
    async with house() as service, household(tmp_path) as home:
        routes = [home.route(HOST, service.port), home.route(OTHER, service.port)]
        await home.edge.apply(routes)

        async def settled() -> int:
            await until(lambda: len(home.edge.pids) == 1)
            await until(lambda: len(list((home.folder / "edge").iterdir())) == 1)
            return len(list(Path("/proc/self/fd").iterdir()))

        assert (await home.get(HOST))[0] == 200
        before = await settled()
        processes = len(children(os.getpid()))
        for number in range(60):
            await home.edge.apply(routes[: 1 + number % 2])
            assert len(home.edge.pids) <= 1 + 4
        assert (await home.get(HOST))[0] == 200
        assert await settled() <= before + 2
        assert len(children(os.getpid())) <= processes


async def test_oldest_generation_ends_when_too_many_drain(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path, max_draining=2) as home:
        keep = home.route(HOST, service.port)
        visitors = []
        for number in range(4):
            extra = home.route(f"n{number}.example.com", service.port)
            await home.edge.apply([keep, extra])
            visitor = await home.visit(HOST)
            await asyncio.to_thread(visitor.ask, "/events")
            visitors.append(visitor)
        await until(lambda: len(home.edge.pids) == 3)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_haproxy_dies_with_the_agent(tmp_path: Path, how: signal.Signals) -> None:
    """An orphan would spin on its dead socket at 100 % CPU."""
    make_certificate(tmp_path / "c.pem", HOST)
    code = f"""
import asyncio, pathlib, sys
from hearthgate.home.edge import Edge, EdgeSettings, Route
from hearthgate.home.model import Scheme, Target
async def main():
    edge = Edge(pathlib.Path({str(tmp_path / "edge")!r}), EdgeSettings(threads=1))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(edge.run())
        await edge.apply([Route({HOST!r}, Target(Scheme.HTTP, "127.0.0.1", 9),
            pathlib.Path({str(tmp_path / "c.pem")!r}), None, "x")])
        print(*edge.pids, flush=True)
asyncio.run(main())
"""
    agent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert agent.stdout is not None
    pid = int(await asyncio.wait_for(agent.stdout.readline(), 30))
    assert Path(f"/proc/{pid}").exists()
    agent.send_signal(how)
    await agent.wait()
    await until(lambda: not alive(pid))


async def test_folder_deeper_than_a_socket_address_with_blanks_in_it(
    tmp_path: Path,
) -> None:
    deep = tmp_path / ("a b'\"$X" * 20) / ("d" * 100)
    deep.mkdir(parents=True)
    async with house() as service, household(deep) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        assert (await home.get(HOST))[0] == 200
        await home.edge.cut(HOST)


async def test_files_with_keys_are_private(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port)])
        for path in (home.folder / "edge").rglob("*"):
            assert path.stat().st_mode & 0o077 == 0


async def test_no_visitor_is_lost_while_generations_change(tmp_path: Path) -> None:
    async with house() as service, household(tmp_path) as home:
        keep = home.route(HOST, service.port)
        await home.edge.apply([keep])
        done = asyncio.Event()

        async def browse() -> int:
            count = 0
            while not done.is_set():
                status, _ = await home.get(HOST)
                assert status == 200
                count += 1
            return count

        browsing = [asyncio.create_task(browse(), name=f"b{n}") for n in range(3)]
        for number in range(6):
            extra = home.route(f"n{number}.example.com", service.port)
            await home.edge.apply([keep, extra])
        done.set()
        assert all(await asyncio.gather(*browsing))


def children(pid: int) -> list[str]:
    return [
        line
        for line in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if alive(int(line))
    ]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(home: Household, pid: int) -> bool:
    return pid not in home.edge.pids
