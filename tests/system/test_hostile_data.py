"""Start a home and a relay on a data folder that somebody hostile has made.

A backup can hold links, named pipes and folders where files belong. Every start ends in
time: with a sentence that names what is wrong, or with what can't be used set aside.
What lies elsewhere is never read, changed or removed.
"""

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys

import pytest

from tests.harness.hearthgate import HomeProcess, Process, ProcessError, RelayProcess

pytestmark = pytest.mark.keeps("processes")

DEADLINE_S = 120
# Where each keeps a folder, the lock and sockets of its own …
PLACES = {
    "home": {
        "edge": "a folder",
        "certificates": "a folder",
        "relays": "a folder",
        "icons": "a folder",
        ".hearthgate.lock": "a file",
        "agent.sock": "a socket",
    },
    "relay": {
        "keys": "a folder",
        ".hearthgate.lock": "a file",
        "relay.sock": "a socket",
        "takeover.sock": "a socket",
    },
}
# … and files of which each is set aside, or that stop the start.
FILES = {
    "home": ("state.yaml", "machine", "password", "sessions.yaml"),
    "relay": ("relay.yaml",),
}
ENVIRONMENT = {
    "home": {"HEARTHGATE_WEB__HOST": "127.0.0.1", "HEARTHGATE_WEB__PORT": "0"},
    "relay": {
        "HEARTHGATE_BIND": "127.0.0.1",
        "HEARTHGATE_HTTPS_PORT": "0",
        "HEARTHGATE_HTTP_PORT": "0",
    },
}
KEYS = ("relay.key", "relay.crt", "authority.key", "authority.crt")


@pytest.fixture(scope="module", params=["home", "relay"])
def process(request: pytest.FixtureRequest) -> Iterator[Process]:
    """Give a process that has run once and does not run now."""
    made = HomeProcess() if request.param == "home" else RelayProcess()
    with made:
        made.stop()
        yield made


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Give a folder outside, such as a link leads to."""
    for name in ("precious", "1", ".state.yaml.0.hgtmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("precious")
    (tmp_path / "file").write_text("precious")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def link_to_folder(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def link_to_nothing(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere / "new")


def pipe(path: Path, _elsewhere: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, _elsewhere: Path) -> None:
    path.mkdir()


Make = Callable[[Path, Path], None]
# All kinds in all places: tests/unit/shared/storage. These are what was tried first.
KINDS: list[Make] = [link_to_folder, pipe]


def side(process: Process) -> str:
    return "home" if isinstance(process, HomeProcess) else "relay"


def start_and_fail(process: Process) -> str:
    """Return what it says when it does not start."""
    done = subprocess.run(
        [sys.executable, "-m", "hearthgate", side(process), "run"],
        env={
            **os.environ,
            "HEARTHGATE_DATA": str(process.data),
            **ENVIRONMENT[side(process)],
        },
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


class Planted:
    """Put something in the place of what is there, and back again."""

    def __init__(self, path: Path, make: Make, elsewhere: Path) -> None:
        self._path = path
        self._kept = path.with_name(f"{path.name}.kept-by-the-test")
        self._make = make
        self._elsewhere = elsewhere

    def __enter__(self) -> None:
        if os.path.lexists(self._path):
            self._path.rename(self._kept)
        self._make(self._path, self._elsewhere)

    def __exit__(self, *_: object) -> None:
        if self._path.is_dir() and not self._path.is_symlink():
            shutil.rmtree(self._path)
        elif os.path.lexists(self._path):
            self._path.unlink()
        if os.path.lexists(self._kept):
            self._kept.rename(self._path)


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_what_is_in_the_place_of_a_folder_a_lock_or_a_socket_is_named(
    process: Process, make: Make, elsewhere: Path
) -> None:
    before = contents(elsewhere)
    for name, wanted in PLACES[side(process)].items():
        with Planted(process.data / name, make, elsewhere):
            said = start_and_fail(process)
            assert f"{process.data / name} is a " in said
            assert f"where Hearthgate keeps {wanted} of its own" in said
            assert "Move it away and start Hearthgate again" in said
            assert os.path.lexists(process.data / name)
        assert contents(elsewhere) == before


@pytest.mark.parametrize(
    "make", [*KINDS, link_to_nothing, folder], ids=lambda make: make.__name__
)
def test_what_is_in_the_place_of_a_file_is_set_aside_and_said(
    process: Process, make: Make, elsewhere: Path
) -> None:
    before = contents(elsewhere)
    for name in FILES[side(process)]:
        path = process.data / name
        if os.path.lexists(path):
            path.unlink()
        make(path, elsewhere)
    said = len(process.log)
    process.start()
    process.stop()
    for name in FILES[side(process)]:
        assert f"{process.data / name}" in process.log[said:]
        (kept,) = process.data.glob(f"{name}.damaged-*")
        kept.rmdir() if kept.is_dir() and not kept.is_symlink() else kept.unlink()
        assert not (process.data / name).is_symlink()
    assert "Traceback" not in process.log[said:]
    assert contents(elsewhere) == before


@pytest.mark.parametrize("make", [*KINDS, folder], ids=lambda make: make.__name__)
def test_what_is_in_the_place_of_a_key_of_the_relay_is_named(
    process: Process, make: Make, elsewhere: Path
) -> None:
    if side(process) == "home":
        pytest.skip("its keys are made anew for each relay and hostname")
    before = contents(elsewhere)
    for name in KEYS:
        with Planted(process.data / "keys" / name, make, elsewhere):
            said = start_and_fail(process)
            assert str(process.data / "keys" / name) in said
    assert contents(elsewhere) == before


def test_commands_talk_to_no_socket_by_a_link(
    process: Process, elsewhere: Path
) -> None:
    name = "agent.sock" if side(process) == "home" else "relay.sock"
    with Planted(process.data / name, link_to_folder, elsewhere):
        with pytest.raises(ProcessError) as failed:
            process.run(side(process), "status")
        assert f"{name} is a symbolic link" in str(failed.value)


def test_a_folder_that_was_killed_half_way_starts_as_before(process: Process) -> None:
    """The folder is still the real one, after all that was put into it."""
    process.start()
    process.send(signal.SIGKILL)
    process.kill()
    process.start()
    process.stop()
