"""What becomes of a home and a relay whose files are damaged or can't be written.

Nothing is lost, what was public stays public, and the log says in words what happened.
The disks are small tmpfs file systems, which can be full and read-only.
"""

import asyncio
from collections.abc import Callable, Iterator
import contextlib
import os
from pathlib import Path
import subprocess
import sys

from aiohttp import ClientError
import pytest

from tests.harness.disk import Disk
from tests.harness.hearthgate import ApiError, HomeProcess, Process, ProcessError
from tests.harness.scene import DOMAIN, LOOPBACK, PATIENT, Scene

LAMP = f"lamp.{DOMAIN}"
FILES = {"home": "state.yaml", "relay": "relay.yaml"}
FUTURE = "version: 4711\n"
NOT_YAML = "relays: [\x00 {{{{ nonsense"

pytestmark = [
    pytest.mark.keeps("processes"),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root"),
]


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Scene, Disk, Disk]]:
    """Give a scene with a live lamp and with the disks of home and relay."""
    scene = Scene(paired=False, relay_environment=PATIENT)
    relay_disk = Disk(scene.relay.data)
    with relay_disk.mounted():
        asyncio.run(scene.__aenter__())
        scene.home.stop()
        home = HomeProcess(scene.acme_environment())
        home_disk = Disk(home.data)
        with home_disk.mounted(), home:
            scene.use(home)
            try:
                asyncio.run(scene.pair())
                asyncio.run(scene.expose(scene.web.url, "Lamp"))
                yield scene, home_disk, relay_disk
            finally:
                home_disk.writable()
                relay_disk.writable()
                home.stop()
                asyncio.run(scene.__aexit__(None, None, None))


async def lamp_is_lit(scene: Scene) -> bool:
    return (await scene.visit(LAMP)).status == 200


async def lamp_comes_back(scene: Scene) -> None:
    async with scene.home.api() as api, asyncio.timeout(60):
        await api.service(
            lambda one: bool(
                one["exposure"] and one["exposure"]["status"]["phase"] == "live"
            )
        )
    assert await lamp_is_lit(scene)


def edges(scene: Scene) -> list[Path]:
    """Return the folders of the edges that run or drain."""
    return [one for one in (scene.home.data / "edge").iterdir() if one.is_dir()]


@contextlib.contextmanager
def stopped(process: Process) -> Iterator[None]:
    """Edit the files of a process while it does not run."""
    process.stop()
    try:
        yield
    finally:
        process.start()


def fails_to_start(process: Process) -> str:
    """Start what must refuse; return what it said."""
    said_before = len(process.log)
    with pytest.raises(ProcessError):
        process.start()
    said = process.log[said_before:]
    assert "Traceback" not in said
    return said


def cut_short(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def scribbled(path: Path) -> None:
    path.write_text(NOT_YAML)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def removed(path: Path) -> None:
    path.unlink()


DAMAGES = pytest.mark.parametrize("damage", [cut_short, scribbled, emptied, removed])


@DAMAGES
async def test_a_home_with_a_damaged_state_goes_on_with_its_good_copy(
    place: tuple[Scene, Disk, Disk], damage: Callable[[Path], None]
) -> None:
    scene, _, _ = place
    state = scene.home.data / FILES["home"]
    said = len(scene.home.log)
    with stopped(scene.home):
        state.write_bytes(state.with_suffix(".good.yaml").read_bytes())
        damage(state)
        broken = state.read_bytes() if state.exists() else None
    await lamp_comes_back(scene)
    log = scene.home.log[said:]
    assert "state.good.yaml" in log
    assert "Traceback" not in log
    if broken is not None:
        kept = [
            one.read_bytes() for one in scene.home.data.glob("state.yaml.damaged-*")
        ]
        assert broken in kept


@DAMAGES
async def test_a_relay_with_a_damaged_state_goes_on_with_its_good_copy(
    place: tuple[Scene, Disk, Disk], damage: Callable[[Path], None]
) -> None:
    scene, _, _ = place
    state = scene.relay.data / FILES["relay"]
    said = len(scene.relay.log)
    with stopped(scene.relay):
        state.write_bytes(state.with_suffix(".good.yaml").read_bytes())
        damage(state)
    await lamp_comes_back(scene)
    log = scene.relay.log[said:]
    assert "relay.good.yaml" in log
    assert "Traceback" not in log


@pytest.mark.parametrize("side", ["home", "relay"])
async def test_a_state_from_the_future_is_refused_and_left_alone(
    place: tuple[Scene, Disk, Disk], side: str
) -> None:
    scene, _, _ = place
    process: Process = getattr(scene, side)
    state = process.data / FILES[side]
    with stopped(process):
        today = state.with_suffix(".good.yaml").read_bytes()
        state.write_text(FUTURE)
        said = fails_to_start(process)
        assert "newer Hearthgate" in said
        assert "4711" in said
        assert state.read_text() == FUTURE
        state.write_bytes(today)
    await lamp_comes_back(scene)


@pytest.mark.parametrize("side", ["home", "relay"])
async def test_a_data_folder_belongs_to_one_process(
    place: tuple[Scene, Disk, Disk], side: str
) -> None:
    scene, _, _ = place
    process: Process = getattr(scene, side)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "hearthgate", side, "run"],
        env={**os.environ, "HEARTHGATE_DATA": str(process.data)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"process {process.pid}" in done.stderr
    assert "Traceback" not in done.stderr
    assert await lamp_is_lit(scene)


async def test_a_home_with_a_full_disk_refuses_changes_and_goes_on_serving(
    place: tuple[Scene, Disk, Disk],
) -> None:
    scene, disk, _ = place
    disk.fill()
    try:
        with pytest.raises(ApiError) as refused:
            await scene.add(scene.web.url, "Shelf")
        assert "No space left" in refused.value.error["message"]
        assert await lamp_is_lit(scene)
        async with scene.home.api() as api:
            names = [one["name"] for one in (await api.state())["services"]]
        assert names == ["Lamp"]
    finally:
        disk.empty()
    shelf = await scene.add(scene.web.url, "Shelf")
    await scene.remove(shelf["id"])


async def test_an_exposure_on_a_full_disk_fails_in_words_and_works_once_there_is_room(
    place: tuple[Scene, Disk, Disk],
) -> None:
    scene, disk, _ = place
    shelf = await scene.add(scene.web.url, "Shelf")
    await scene.pebble.set_a_async(f"shelf.{DOMAIN}", [LOOPBACK])
    async with scene.home.api() as api:
        await api.expose(shelf["id"])
        await api.hide(shelf["id"])
        async with asyncio.timeout(30):  # what old edges leave behind would make room
            while len(edges(scene)) > 1:  # noqa: ASYNC110  a folder has no event
                await asyncio.sleep(0.05)
        disk.fill()
        try:
            with pytest.raises(ApiError):  # the wish itself can't be kept
                await api.expose(shelf["id"])
            with pytest.raises((ClientError, OSError)):
                await scene.visit(f"shelf.{DOMAIN}")
            assert await lamp_is_lit(scene)
        finally:
            disk.empty()
        again = await api.expose(shelf["id"])
        assert again["exposure"]["status"]["phase"] == "live"
    assert (await scene.visit(f"shelf.{DOMAIN}")).status == 200
    await scene.remove(shelf["id"])


async def test_a_home_that_starts_with_a_full_disk_says_so_and_recovers(
    place: tuple[Scene, Disk, Disk],
) -> None:
    scene, disk, _ = place
    said = len(scene.home.log)
    scene.home.stop()
    disk.fill()
    try:
        scene.home.start()
        async with scene.home.api() as api:
            await api.connected()
            lamp = await api.settled((await api.state())["services"][0]["id"])
            assert lamp["exposure"]["status"]["phase"] == "failed"
            assert "space" in lamp["exposure"]["status"]["problem"]["message"]
    finally:
        disk.empty()
    await lamp_comes_back(scene)
    assert "Traceback" not in scene.home.log[said:]


@pytest.mark.parametrize("side", ["home", "relay"])
async def test_a_data_folder_that_is_read_only_is_named_at_the_start(
    place: tuple[Scene, Disk, Disk], side: str
) -> None:
    scene, home_disk, relay_disk = place
    process: Process = getattr(scene, side)
    disk = home_disk if side == "home" else relay_disk
    with stopped(process):
        disk.read_only()
        try:
            said = fails_to_start(process)
        finally:
            disk.writable()
        assert "Read-only file system" in said
        assert str(process.data) in said
    await lamp_comes_back(scene)


async def test_a_relay_with_a_full_disk_keeps_its_homes_and_its_registry(
    place: tuple[Scene, Disk, Disk],
) -> None:
    scene, _, disk = place
    before = scene.relay.homes()
    disk.fill()
    try:
        with pytest.raises(ProcessError) as failed:
            await asyncio.to_thread(scene.relay.invite, "mill.example.com", "mill")
        assert "No space left" in str(failed.value)
        assert await lamp_is_lit(scene)
        scene.relay.stop()
        scene.relay.start()
        assert await lamp_is_lit(scene)
    finally:
        disk.empty()
    after = scene.relay.homes()
    assert [one["name"] for one in after] == [one["name"] for one in before]
