"""HAProxy as a user of its own: what it can't reach then, and that it ends with us."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile

import pytest

from hearthgate.home.access import make_access
from hearthgate.home.edge import EdgeSettings
from hearthgate.home.edge.user import EdgeUser
from tests.harness import haproxies
from tests.harness.scene import DOMAIN, Scene
from tests.support.visiting import house, household

pytestmark = [
    pytest.mark.keeps("processes"),
    pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root"),
]

LAMP = f"lamp.{DOMAIN}"
HOST = "cottage.example.com"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that other users can go through, which tmp_path is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        (Path(name) / "edge").mkdir(mode=0o700)
        yield Path(name)


def user(folder: Path) -> EdgeUser:
    program = haproxies.program()
    found = EdgeUser.find(program, folder / "edge")
    if found is None and "/" in program:
        pytest.skip(f"{program} is where no other user may go")
    assert found is not None
    return found


def user_of(pid: int) -> EdgeUser:
    status = facts(pid)
    uid, gid = int(status["Uid"].split()[0]), int(status["Gid"].split()[0])
    assert uid != 0
    return EdgeUser("", uid, gid)


def facts(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (x.partition(":") for x in lines)}


def may(one: EdgeUser, *command: str, cwd: Path | None = None) -> bool:
    """Tell whether a command of that user succeeds."""
    done = subprocess.run(
        ["setpriv", *one.become(), "--", *command],
        cwd=cwd,
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode == 0


async def gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110 (no event of others')
            await asyncio.sleep(0.02)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with Scene() as made:
        await made.expose(made.web.url, "Lamp")
        yield made


async def test_haproxy_serves_as_a_user_that_can_gain_nothing(scene: Scene) -> None:
    """From the agent's start on; visitors notice nothing."""
    assert (await scene.visit(LAMP)).status == 200
    (pid,) = scene.home.edge_pids()
    one, status = user_of(pid), facts(pid)
    assert status["Uid"].split() == [str(one.uid)] * 4
    assert status["Gid"].split() == [str(one.gid)] * 4
    assert status["Groups"] == ""
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"


async def test_what_belongs_to_the_agent_is_out_of_its_reach(scene: Scene) -> None:
    (pid,) = scene.home.edge_pids()
    one, data = user_of(pid), scene.home.data
    folder = Path(f"/proc/{pid}/cwd").resolve()
    for name in ("state.yaml", "password", "machine"):
        assert (data / name).exists()
        assert not may(one, "cat", str(data / name))
    for path in data.glob("certificates/**/*.pem"):
        assert not may(one, "cat", str(path))
    assert not may(one, "cat", f"/proc/{scene.home.pid}/environ")
    assert not may(one, "ls", str(data / "edge"))
    # What it runs on it reads, but cannot change or remove.
    names = {path.name for path in folder.iterdir()}
    assert {"haproxy.cfg", f"{LAMP}.pem", "console.sock"} <= names
    assert may(one, "cat", "haproxy.cfg", f"{LAMP}.pem", cwd=folder)
    for name in ("haproxy.cfg", f"{LAMP}.pem", "503.html"):
        assert not may(one, "sh", "-c", f"echo x >> {name}", cwd=folder)
        assert not may(one, "rm", "-f", name, cwd=folder)
        assert not may(one, "mv", name, "other", cwd=folder)
    others = EdgeUser("nobody", 65534, 65534)
    assert not may(others, "cat", f"{LAMP}.pem", cwd=folder)


async def test_its_environment_holds_no_secret_of_the_agent() -> None:
    async with Scene() as scene:
        await scene.expose(scene.web.url, "Lamp")
        scene.home.stop()
        scene.home.change({"HEARTHGATE_MQTT__PASSWORD": "very-secret"})
        await scene.home.start_again()
        async with scene.home.api() as api, asyncio.timeout(60):
            await api.service(
                lambda one: bool(
                    one["exposure"] and one["exposure"]["status"]["phase"] == "live"
                )
            )
        (pid,) = scene.home.edge_pids()
        environment = Path(f"/proc/{pid}/environ").read_bytes()
        assert b"secret" not in environment
        assert b"TOKEN" not in environment
        names = {one.partition(b"=")[0] for one in environment.split(b"\0") if one}
        assert b"PATH" in names
        assert all(one == b"PATH" or one.startswith(b"HEARTHGATE_") for one in names)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
async def test_it_ends_with_the_agent_though_its_user_has_changed(
    scene: Scene, how: signal.Signals
) -> None:
    (pid,) = scene.home.edge_pids()
    assert facts(pid)["Uid"].split()[0] != "0"
    scene.home.send(how)
    await gone(pid)
    scene.home.stop()


@pytest.mark.usefixtures("haproxy")
async def test_a_change_and_a_cut_work_over_the_boundary(open_folder: Path) -> None:
    """The agent goes on to reach the console, to signal, and to remove the folder."""
    async with (
        house() as service,
        household(open_folder, user=user(open_folder)) as home,
    ):
        route = home.route(HOST, service.port)
        await home.edge.apply([route])
        (first,) = home.edge.pids
        assert (await home.get(HOST))[0] == 200
        await home.edge.cut(HOST)
        await home.edge.apply([route, home.route("second.example.com", service.port)])
        assert (await home.get(HOST))[0] == 200
        await gone(first)
        async with asyncio.timeout(60):
            while (home.folder / "edge" / "1").exists():  # noqa: ASYNC110
                await asyncio.sleep(0.02)


def test_an_agent_that_is_not_root_starts_it_as_itself(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert EdgeUser.find(haproxies.program(), open_folder / "edge") is None


@pytest.mark.parametrize("lacking", ["kill", "setuid", "chown", "dac_override"])
def test_without_a_capability_that_it_takes_it_stays_as_it_is(
    open_folder: Path, lacking: str
) -> None:
    """A container may be given few; who can't signal HAProxy must not let it go."""
    program = (
        "import pathlib, sys; from hearthgate.home.edge.user import EdgeUser;"
        "print(EdgeUser.find(sys.argv[1], pathlib.Path(sys.argv[2])))"
    )
    done = subprocess.run(
        [
            *("setpriv", f"--bounding-set=-{lacking}", f"--inh-caps=-{lacking}", "--"),
            *(sys.executable, "-c", program, haproxies.program()),
            str(open_folder / "edge"),
        ],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "None"


def test_a_folder_that_it_cannot_reach_leaves_it_as_it_is(
    open_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    open_folder.parent.joinpath(open_folder.name).chmod(0o750)  # somebody's group
    assert EdgeUser.find(haproxies.program(), open_folder / "edge") is None
    assert "HAProxy runs as root" in caplog.text
    assert open_folder.stat().st_mode & 0o777 == 0o750


def test_folders_of_ours_let_it_through_and_list_nothing(open_folder: Path) -> None:
    open_folder.chmod(0o700)
    one = user(open_folder)
    for path in (open_folder, open_folder / "edge"):
        assert path.stat().st_mode & 0o777 == 0o710
        assert path.stat().st_gid == one.gid
        assert not may(one, "ls", str(path))
    assert list((open_folder / "edge").iterdir()) == []


@pytest.mark.usefixtures("haproxy")
async def test_it_may_ask_the_agent_about_passwords(open_folder: Path) -> None:
    """The socket for that lies in its folder, and belongs to the agent."""
    access = make_access("anna", "correct horse")
    async with (
        house() as service,
        household(open_folder, user=user(open_folder)) as home,
    ):
        await home.edge.apply([home.route(HOST, service.port, access=access)])
        for password, status in (("correct horse", 200), ("wrong", 401)):
            pair = base64.b64encode(f"anna:{password}".encode()).decode()
            headers = {"Authorization": f"Basic {pair}"}
            assert (await home.get(HOST, headers=headers))[0] == status


@pytest.mark.usefixtures("haproxy")
async def test_without_its_agent_it_never_gets_a_configuration(tmp_path: Path) -> None:
    """The agent dies between the fork and the request for the signal."""
    (tmp_path / "haproxy.cfg").write_text("unused")
    reading, writing = os.pipe()
    os.write(writing, b"# filling, and then nothing\n")
    os.close(writing)
    done = await asyncio.create_subprocess_exec(
        *("setpriv", "--pdeathsig", "KILL", "--", haproxies.program(), "-db"),
        *("-f", f"/dev/fd/{reading}"),
        cwd=tmp_path,
        pass_fds=(reading,),
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(reading)
    async with asyncio.timeout(60):
        await done.communicate()
    assert done.returncode not in {0, None}


def test_settings_name_no_user_by_themselves() -> None:
    assert EdgeSettings().user is None
