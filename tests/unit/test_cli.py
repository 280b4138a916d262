"""What the command loads, and what it leaves alone."""

import json
import os
from pathlib import Path
import subprocess
import sys

import pytest

from tests.bench.certificate import make_credentials

_ASK = """
import contextlib, json, os, sys
from hearthgate.cli import main
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):
    main([sys.argv[1], "--help"])
import aiohttp.connector, ssl
context = aiohttp.connector._SSL_CONTEXT_VERIFIED
print(json.dumps([context.cert_store_stats()["x509"], os.environ.get("SSL_CERT_FILE"),
    [name for name in sys.modules if name.startswith("hearthgate.home")]]))
"""


@pytest.fixture
def authority(tmp_path: Path) -> str:
    """Return the file of the one authority that this system trusts."""
    return str(make_credentials(tmp_path, ["cottage.example.com"]).authority)


def _after_help_of(side: str, authorities: str) -> list[object]:
    done = subprocess.run(
        [sys.executable, "-c", _ASK, side],
        env={**os.environ, "SSL_CERT_FILE": authorities},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    found: list[object] = json.loads(done.stdout)
    return found


def test_the_relay_loads_neither_authorities_nor_the_home(authority: str) -> None:
    assert _after_help_of("relay", authority) == [0, authority, []]


def test_a_home_keeps_the_authorities_of_the_system(authority: str) -> None:
    loaded, left, _ = _after_help_of("home", authority)
    assert (loaded, left) == (1, authority)
