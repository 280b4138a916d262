"""The bill of materials of an image, from the files that package managers leave."""

import json
from pathlib import Path
import subprocess
import sys

import pytest

SCRIPT = Path(__file__).parents[2] / "app" / "bom.py"
STATUS = """\
Package: haproxy
Status: install ok installed
Architecture: amd64
Version: 3.0.11-1+deb13u1
Description: fast and reliable load balancing reverse proxy
 Version: not this one

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give the files of an image."""
    packages = tmp_path / "opt/hearthgate/lib/python3.13/site-packages"
    for name, more in {
        "hearthgate": "License-Expression: Apache-2.0\n",
        "Typing_Extensions": "",
    }.items():
        told = packages / f"{name}-0.1.0.dist-info"
        told.mkdir(parents=True)
        (told / "METADATA").write_text(f"Name: {name}\nVersion: 0.1.0\n{more}\nText")
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('ID=debian\nVERSION_ID="13"\n')
    return tmp_path


def bill(root: Path) -> str:
    return subprocess.run(
        [sys.executable, "-I", SCRIPT, root, "hearthgate"],
        check=True,
        capture_output=True,
        text=True,
        env={"SOURCE_DATE_EPOCH": "1764000000"},
    ).stdout


def test_every_package_is_listed_with_its_version_and_where_it_is_from(
    root: Path,
) -> None:
    told = json.loads(bill(root))
    assert [one["purl"] for one in told["components"]] == [
        "pkg:deb/debian/haproxy@3.0.11-1%2Bdeb13u1?arch=amd64&distro=debian-13",
        "pkg:pypi/hearthgate@0.1.0",
        "pkg:pypi/typing-extensions@0.1.0",
    ]
    assert told["components"][1]["licenses"] == [{"expression": "Apache-2.0"}]
    assert told["metadata"]["component"]["version"] == "0.1.0"
    assert told["metadata"]["timestamp"] == "2025-11-24T16:00:00Z"


def test_the_same_packages_give_the_same_bill(root: Path) -> None:
    assert bill(root) == bill(root)
