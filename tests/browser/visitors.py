"""Run the browser of a visitor, who trusts the test authority's root and nothing else.

    chromium(folder, scene) ──▶ a context that finds the scene's hostnames at the relay

A certificate that does not fit is an error page, as it is for everybody.
"""

import asyncio
from collections.abc import AsyncIterator
import contextlib
from pathlib import Path
import subprocess

from playwright.async_api import BrowserContext, HttpCredentials, async_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.harness.scene import Scene

DEADLINE_MS = 60_000


def _trust(folder: Path, root: bytes) -> None:
    """Make a certificate store with one root of trust, where Chromium looks for it."""
    store = folder / ".pki/nssdb"
    store.mkdir(parents=True)
    root_file = folder / "root.pem"
    root_file.write_bytes(root)
    database = ("-d", f"sql:{store}")
    for arguments in (
        ("-N", "--empty-password"),
        ("-A", "-t", "C,,", "-n", "test root", "-i", str(root_file)),
    ):
        subprocess.run(
            ["certutil", *database, *arguments],
            check=True,
            timeout=30,
            capture_output=True,
        )


@contextlib.asynccontextmanager
async def chromium(
    folder: Path, scene: Scene, *, password: HttpCredentials | None = None
) -> AsyncIterator[BrowserContext]:
    """Run a browser that finds the scene's hostnames at the relay.

    password: what its user answers where a name and a password are asked for.
    """
    await asyncio.to_thread(_trust, folder, scene.pebble.root_pem())
    rules = f"--host-resolver-rules=MAP *.{scene.domain} 127.0.0.1"
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            folder / "profile",
            executable_path=CHROMIUM,
            args=[*(one for one in ARGUMENTS if "resolver" not in one), rules],
            env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
            viewport={"width": 1000, "height": 800},
            http_credentials=password,
        )
        context.set_default_timeout(DEADLINE_MS)
        yield context
        await context.close()
