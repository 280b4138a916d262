"""Every HAProxy that there is to test with, and the one that is in use now.

    Debian 12: /usr/sbin/haproxy is 2.6, and `tests/tools/haproxy` brings 3.0
    Debian 13: /usr/sbin/haproxy is 3.0
    HEARTHGATE_TEST_HAPROXY=/path/to/haproxy   no other than this one

A module whose tests are about HAProxy says `pytestmark = usefixtures("haproxy")`: each
of its tests then runs once with each. All that a test starts, processes of ours too,
takes the one in use by itself.
"""

from collections.abc import Iterator
import contextlib
from functools import cache
import os
from pathlib import Path
import re
import shutil
import subprocess
from typing import Final

import pytest

_ONLY: Final = "HEARTHGATE_TEST_HAPROXY"
_IN_USE: Final = "HEARTHGATE_EDGE__PROGRAM"  # the home's own setting
_BESIDE: Final = Path(__file__).parents[2] / ".work" / "haproxy-3.0" / "haproxy"


@cache
def haproxies() -> dict[str, str]:
    """Return programs by version ("2.6"), the machine's own first; one of each."""
    own = os.environ.get(_ONLY, "haproxy")
    programs = [own] if _ONLY in os.environ else [own, str(_BESIDE)]
    found: dict[str, str] = {}
    for program in programs:
        # Debian has it in a folder that not every user's PATH has.
        path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin")
        if path is not None:
            found.setdefault(_version(path), path)
    return found


def program() -> str:
    """Return the program to use now."""
    return os.environ.get(_IN_USE) or os.environ.get(_ONLY) or "haproxy"


def version() -> tuple[int, ...]:
    """Return the version of the one in use, as far as it says what is in it."""
    return tuple(int(part) for part in _version(program()).split("."))


@contextlib.contextmanager
def using(path: str) -> Iterator[None]:
    """Let everything that is started use this program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_IN_USE, path)
        yield


@cache
def _version(path: str) -> str:
    words = subprocess.run([path, "-v"], capture_output=True, text=True, check=True)
    found = re.search(r"version (\d+\.\d+)", words.stdout)
    assert found, words.stdout
    return found[1]
