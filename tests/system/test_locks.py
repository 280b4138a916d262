"""The locks install with the pip that a system has, whatever was published since.

Each installs what its Python brings (Debian 12: pip 23.0), from an index on loopback in
which every package has a newer version too. `tests/tools/wheels` fetched the wheels.
"""

from collections.abc import Iterator
from pathlib import Path
import re
import shutil
import subprocess
import sys

import pytest

from tests.harness.package_index import NEWER, PackageIndex, normal

ROOT = Path(__file__).parents[2]
WHEELS = ROOT / ".work" / "wheels"
SYSTEM = "/usr/bin/python3"
LOCKS = sorted(path.stem for path in (ROOT / "requirements").glob("*.txt"))
# Where somebody, or something, is told to install a lock.
TOLD = ("Makefile", "Dockerfile", "docs/home.md", "docs/relay.md")
OPTIONS = ("--no-deps", "--require-hashes")


def _pythons() -> list[str]:
    """Return the Pythons whose own pip can be had: this one's, and the system's."""
    own = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    return sorted({str(own.resolve()), str(Path(SYSTEM).resolve())})


@pytest.fixture(scope="module")
def index() -> Iterator[str]:
    """Serve the wheels of all locks, each with a newer version beside it."""
    assert list(WHEELS.glob("*.whl")), "tests/tools/wheels was not run"
    with PackageIndex(WHEELS).serve() as address:
        yield address


class Installer:
    """A virtual environment with the pip that its Python brings."""

    def __init__(self, python: str, folder: Path, index: str) -> None:
        self.bin = folder / "bin"
        self._env = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_INDEX_URL": index,
            "PIP_NO_CACHE_DIR": "1",
            "PIP_NO_COMPILE": "1",
            "PIP_RETRIES": "0",
        }
        self._run(python, "-m", "venv", str(folder))

    def pip(self, *arguments: str) -> str:
        """Run pip, and return what it prints."""
        return self._run(str(self.bin / "python"), "-m", "pip", *arguments)

    def versions(self) -> dict[str, str]:
        """Return the version of each installed package."""
        lines = self.pip("list", "--format=freeze").split()
        pairs = (line.split("==") for line in lines)
        return {normal(name): version for name, version in pairs}

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, env=self._env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(params=_pythons())
def installer(request: pytest.FixtureRequest, tmp_path: Path, index: str) -> Installer:
    """Give an empty environment of one Python."""
    return Installer(request.param, tmp_path / "venv", index)


def _locked(lock: str) -> dict[str, str]:
    """Return the version of each package of a lock that every system gets."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text()
    found = re.findall(r"^([\w.-]+)(?:\[.*\])?==(\S+) \\$", text, re.MULTILINE)
    return {normal(name): version for name, version in found}


@pytest.mark.parametrize(
    ("lock", "options"),
    [*((lock, OPTIONS) for lock in LOCKS), ("dev", OPTIONS[1:])],
    ids=[*LOCKS, "dev, from memory"],
)
def test_a_lock_installs_its_own_versions_though_newer_ones_are_out(
    installer: Installer, lock: str, options: tuple[str, ...]
) -> None:
    installer.pip("install", *options, "-r", str(ROOT / f"requirements/{lock}.txt"))

    installed = installer.versions()
    assert {name: installed[name] for name in _locked(lock)} == _locked(lock)
    assert NEWER not in installed.values()
    assert "No broken requirements" in installer.pip("check")


def test_the_program_is_built_and_runs_though_newer_tools_are_out(
    installer: Installer, tmp_path: Path
) -> None:
    sources = tmp_path / "sources"
    tracked = ["git", "ls-files", "-z", "app", "*.toml", "*.md", "LICENSE"]
    names = subprocess.run(
        tracked, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for name in names.split("\0")[:-1]:
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, sources / name)

    lock = str(ROOT / "requirements" / "runtime.txt")
    installer.pip("install", *OPTIONS, "-r", lock)
    installer.pip("install", "--no-deps", str(sources))

    command = [str(installer.bin / "hearthgate"), "--version"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split()[-1] == installer.versions()["hearthgate"]


@pytest.mark.parametrize("place", TOLD)
def test_whoever_installs_a_lock_asks_for_nothing_beside_it(place: str) -> None:
    text = (ROOT / place).read_text().replace("\\\n", " ")
    for install in re.findall(r"^INSTALL := (.*)$", text, re.MULTILINE):
        text = text.replace("$(INSTALL)", install)
    told = re.findall(r"^.*pip\b.*\binstall\b.*requirements.*$", text, re.MULTILINE)
    told += re.findall(r"^.*\bpip install\b.*-r \$<$", text, re.MULTILINE)
    assert told
    for line in told:
        assert set(OPTIONS) <= set(line.split()), line
