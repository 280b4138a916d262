"""The source package and the wheel, made as `make dist` makes them for a release."""

from pathlib import Path
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

import hearthgate

ROOT = Path(__file__).parents[2]


def _tracked(folder: str = ".") -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT / folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(listed.stdout.split("\0")[:-1])


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make both from a copy, so that nothing that lies about gets in or is changed."""
    folder = tmp_path_factory.mktemp("packages")
    sources = folder / "sources"
    for name in _tracked():
        (sources / name).parent.mkdir(parents=True, exist_ok=True)
        (sources / name).write_bytes((ROOT / name).read_bytes())
        (sources / name).chmod((ROOT / name).stat().st_mode)
    makefile = (ROOT / "Makefile").read_text()
    (command,) = re.findall(r"^DIST := (.*)$", makefile, re.MULTILINE)
    words = command.replace("$(BIN)", str(Path(sys.executable).parent)).split()
    subprocess.run([*words, str(folder / "dist")], cwd=sources, check=True)
    return folder / "dist"


def test_the_source_package_holds_all_that_the_images_and_tests_need(
    dist: Path,
) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = (member for member in archive.getmembers() if member.isfile())
        held = {member.name.partition("/")[2]: member.mode for member in files}

    assert _tracked() <= set(held)
    assert held["rootfs/etc/s6-overlay/s6-rc.d/hearthgate/run"] & 0o111


def test_the_wheel_holds_the_page_and_nothing_but_the_program(dist: Path) -> None:
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()

    program = {name for name in names if ".dist-info/" not in name}
    assert program == {f"hearthgate/{name}" for name in _tracked("app/hearthgate")}
    assert "hearthgate/home/web/page/index.html" in program


def test_what_was_installed_from_the_wheel_runs(dist: Path, tmp_path: Path) -> None:
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path)

    said = subprocess.run(
        [sys.executable, "-m", "hearthgate", "--version"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.split()[-1] == hearthgate.__version__
    assert f"hearthgate-{hearthgate.__version__}-py3-none-any.whl" == path.name
