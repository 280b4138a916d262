"""A process is killed under load: the others recover, and so do its visitors.

visits in a loop ──▶ lamp.home.example.com   at the cottage, which things happen to
one download ──────▶ shelf.barn.example.com  at the barn, which must not notice
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
import os
from pathlib import Path
import signal
import time

from aiohttp import ClientError
import pytest

from tests.harness.hearthgate import HomeProcess
from tests.harness.scene import LOOPBACK, PATIENT, Scene, furnish

BARN = "barn.example.com"
SHELF = f"shelf.{BARN}"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

pytestmark = pytest.mark.keeps("processes")


class Village(Scene):
    """A scene with a second home at the same relay."""

    barn: HomeProcess

    def settle(self) -> None:
        """Start the second home."""
        self.barn = HomeProcess(self.acme_environment())
        self.barn.start()

    async def furnish(self) -> None:
        """Expose a service at each home."""
        await self.expose(self.web.url, "Lamp")
        code = await asyncio.to_thread(self.relay.invite, BARN, "barn")
        await self.pebble.set_a_async(SHELF, [LOOPBACK])
        await furnish(self.barn, code, self.web.url, SHELF)


LAMP = "lamp.home.example.com"


@pytest.fixture(scope="module")
def village() -> Iterator[Village]:
    there = Village(relay_environment=PATIENT)
    asyncio.run(there.__aenter__())
    try:
        there.settle()
        try:
            asyncio.run(there.furnish())
            yield there
        finally:
            there.barn.stop()
    finally:
        asyncio.run(there.__aexit__(None, None, None))


class Load:
    """Visits one after the other; counts what became of them."""

    def __init__(self, scene: Scene, hostname: str) -> None:
        self.good = 0
        self.bad = 0
        self._scene = scene
        self._hostname = hostname
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(20):
                    answer = await self._scene.visit(self._hostname, "/echo")
                good = answer.status == 200
            except (ClientError, OSError):
                good = False
                await asyncio.sleep(0.05)
            async with self._changed:
                self.good += good
                self.bad += not good
                self._changed.notify_all()

    async def more(self, count: int = 5) -> None:
        """Wait for so many more visits that went well."""
        wanted = self.good + count
        async with asyncio.timeout(90), self._changed:
            await self._changed.wait_for(lambda: self.good >= wanted)


@contextlib.asynccontextmanager
async def load(scene: Scene, *hostnames: str) -> AsyncIterator[list[Load]]:
    """Visit hostnames all the time."""
    loads = [Load(scene, hostname) for hostname in hostnames]
    tasks = [asyncio.create_task(one.run(), name="load") for one in loads]
    try:
        for one in loads:
            await one.more()
        yield loads
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def endless_download(scene: Scene, hostname: str) -> AsyncIterator[asyncio.Event]:
    """Download all the time; the event is set whenever something has arrived.

    Raises whatever ended the download.
    """
    moved = asyncio.Event()

    async def download() -> None:
        async with (
            scene.visitor(hostname) as visitor,
            visitor.get("/sse", params={"interval": "0.02"}) as response,
        ):
            while await response.content.readany():
                moved.set()
            raise AssertionError("the download has ended")

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(download(), name="download")
        await _again(moved)
        yield moved
        await _again(moved)
        task.cancel()


async def _again(moved: asyncio.Event) -> None:
    moved.clear()
    async with asyncio.timeout(30):
        await moved.wait()


def below(folder: Path) -> list[str]:
    """Return the processes that work in a folder or name it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            where = str((entry / "cwd").readlink())
            words = (entry / "cmdline").read_bytes().decode(errors="replace")
            if str(folder) in where or str(folder) in words:
                found.append(f"{entry.name} {words}")
    return found


async def until_none_below(folder: Path) -> None:
    async with asyncio.timeout(30):
        while below(folder):  # noqa: ASYNC110  the end of a process of a process
            await asyncio.sleep(0.05)


def cpu_s(pid: int) -> float:
    """Return the seconds of processor time that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


async def assert_nobody_spins(village: Village) -> None:
    """Look for one second at what nobody asks anything of."""
    homes = (village.home, village.barn)
    pids = [village.relay.pid, *(home.pid for home in homes)]
    pids += [pid for home in homes for pid in home.edge_pids()]
    before = {pid: cpu_s(pid) for pid in pids}
    began = time.monotonic()
    await asyncio.sleep(1.0)
    passed = time.monotonic() - began
    used = {
        pid: cpu_s(pid) - before[pid] for pid in pids if Path(f"/proc/{pid}").exists()
    }
    assert max(used.values()) < 0.6 * passed, used


async def test_visitors_go_on_after_the_edge_was_killed(village: Village) -> None:
    old = village.home.edge_pids()
    async with endless_download(village, SHELF), load(village, LAMP) as (visits,):
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        await visits.more()
    new = village.home.edge_pids()
    assert len(new) == 1
    assert new != old
    await assert_nobody_spins(village)


async def test_an_edge_that_is_killed_costs_no_visitor_who_comes_afterwards(
    village: Village,
) -> None:
    """They wait for the next one."""
    for _ in range(3):
        for pid in village.home.edge_pids():
            os.kill(pid, signal.SIGKILL)
        answers = await asyncio.gather(
            *(village.visit(LAMP, "/echo") for _ in range(5))
        )
        assert [one.status for one in answers] == [200] * 5


async def test_visitors_go_on_after_the_agent_was_killed_and_started_again(
    village: Village,
) -> None:
    async with endless_download(village, SHELF), load(village, LAMP) as (visits,):
        edges = village.home.edge_pids()
        village.home.kill()
        await until_none_below(village.home.data)
        for pid in edges:
            assert not Path(f"/proc/{pid}/cwd").exists()
        village.home.start()
        await visits.more()
    await assert_nobody_spins(village)


async def test_visitors_of_an_agent_that_is_starting_wait_for_it(
    village: Village,
) -> None:
    village.home.kill()
    visit = asyncio.create_task(village.visit(LAMP, "/echo"))
    await asyncio.sleep(0)
    village.home.start()
    assert (await visit).status == 200


async def test_homes_and_visitors_come_back_after_the_relay_was_killed(
    village: Village,
) -> None:
    edges = [*village.home.edge_pids(), *village.barn.edge_pids()]
    async with load(village, LAMP, SHELF) as (lamp, shelf):
        village.relay.kill()
        assert below(village.relay.data) == []
        village.relay.start()
        await lamp.more()
        await shelf.more()
    assert [*village.home.edge_pids(), *village.barn.edge_pids()] == edges
    await assert_nobody_spins(village)


async def test_visitors_who_come_while_a_relay_restarts_wait_instead_of_failing(
    village: Village,
) -> None:
    """From the moment on which its port answers; before, nobody can help them."""
    village.relay.stop()
    village.relay.start()
    answers = await asyncio.gather(
        village.visit(LAMP, "/echo"), village.visit(SHELF, "/echo")
    )
    assert [one.status for one in answers] == [200, 200]


async def test_a_visitor_of_an_unknown_name_does_not_wait_for_anybody(
    village: Village,
) -> None:
    village.relay.stop()
    village.relay.start()
    async with asyncio.timeout(30):
        with pytest.raises((ClientError, OSError), match="UNRECOGNIZED_NAME"):
            await village.visit("nobody.example.org")


async def test_an_agent_that_hangs_holds_up_no_other_home(village: Village) -> None:
    async with load(village, LAMP, SHELF):
        pass  # both homes are back from what was done before
    async with endless_download(village, SHELF), load(village, SHELF) as (shelf,):
        village.home.send(signal.SIGSTOP)
        try:
            waiting = [
                asyncio.create_task(village.visit(LAMP, "/echo")) for _ in range(20)
            ]
            await shelf.more(10)
        finally:
            village.home.send(signal.SIGCONT)
        answers = await asyncio.gather(*waiting)
    assert {one.status for one in answers} == {200}


async def test_a_home_without_a_working_edge_shows_its_page_and_says_why(
    village: Village,
) -> None:
    """It used to end with a traceback, over and over."""
    environment = {
        **village.acme_environment(),
        "HEARTHGATE_EDGE__PROGRAM": "haproxy-is-not-installed",
    }
    mill = "mill.example.com"
    await village.pebble.set_a_async(mill, [LOOPBACK])
    code = await asyncio.to_thread(village.relay.invite, mill, "mill")
    with HomeProcess(environment) as home:
        async with home.api() as api:
            await api.call("POST", "relays", {"code": code})
            await api.connected()
            body = {"name": "Wheel", "url": village.web.url}
            wheel = await api.call("POST", "services", body)
            wheel = await api.expose(wheel["id"], hostname=mill)
        assert wheel["exposure"]["status"]["phase"] == "failed"
        assert "haproxy-is-not-installed" in str(wheel["exposure"]["status"]["problem"])
        home.stop()
        home.start()
        async with home.api() as api:
            await api.connected()
            again = await api.settled(wheel["id"])
        assert again["exposure"]["status"]["phase"] == "failed"
        assert "Traceback" not in home.log
