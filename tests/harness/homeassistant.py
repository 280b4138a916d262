"""Run a real Home Assistant Core, which comes back after a restart as it should.

    CoreProcess("2026.11.0") ──keeper thread──▶ hass ──exit 100──▶ hass again …

`tests/tools/hass` has installed the releases below .work/hass: the current one lives
in a chroot with a newer Python, the old one in a venv. Onboards an owner by Core's own
API. No pytest here.
"""

import asyncio
from collections.abc import Sequence
import contextlib
import os
from pathlib import Path
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientSession, ClientWebSocketResponse

from tests.harness.hearthgate import ProcessError, _die_with_parent
from tests.harness.pebble import free_port

Json = dict[str, Any]
CURRENT, OLD = "2026.11.0", "2024.3.3"
OWNER, PASSWORD = "owner", "a long horse staple"
PREPARED = Path(__file__).resolve().parents[2] / ".work" / "hass"
_ROOT = PREPARED / "forky"
_RESTART = 100  # the exit code with which Core asks to be started again
_START_S = 180.0
_STOP_S = 60.0


class CoreProcess:
    """One Core with its own folder. A context manager; ends what it started."""

    def __init__(self, release: str, yaml: str = "") -> None:
        """Take lines for configuration.yaml. The port is free and stays the same."""
        self.release = release
        self.port = free_port()
        self.starts = 0
        within = _ROOT / "tmp" if release == CURRENT else None
        self.folder = Path(tempfile.mkdtemp(prefix="core-", dir=within))
        self.yaml = yaml
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper of Core")
        self._token: str | None = None

    @property
    def url(self) -> str:
        """Where Core answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What Core said."""
        found = self.folder / "output"
        return found.read_text(errors="replace") if found.exists() else ""

    def __enter__(self) -> Self:
        self.write_yaml(self.yaml)
        self._keeper.start()
        try:
            asyncio.run(self._onboard())
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def write_yaml(self, more: str) -> None:
        """Write configuration.yaml; Core reads it at its next start."""
        port = f"\nhttp:\n  server_port: {self.port}\n" if self.release == OLD else ""
        lines = "frontend:\nconfig:\napi:\nwebsocket_api:\nonboarding:\nbackup:\n"
        text = lines.replace("backup:\n", "") if self.release == OLD else lines
        if more and port:  # one http: section
            port, more = (
                "",
                more.replace("http:\n", f"http:\n  server_port: {self.port}\n"),
            )
        (self.folder / "configuration.yaml").write_text(text + port + more)

    def stop(self) -> None:
        """End Core and its keeper."""
        self._stopping.set()
        child = self._child
        if child is not None and child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
        if self._keeper.ident is not None:
            self._keeper.join(_STOP_S)
        if child is not None and child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def _keep(self) -> None:
        """Start Core, and again whenever it ends to be restarted."""
        while not self._stopping.is_set():
            with (self.folder / "output").open("ab") as output:
                self._child = subprocess.Popen(
                    self._command(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env={
                        "PATH": os.environ["PATH"],
                        "HOME": str(self.folder),
                        "LANG": "C.UTF-8",
                        "SETUP_PORT": str(self.port),
                    },
                    preexec_fn=_die_with_parent,  # noqa: PLW1509 (one prctl)
                )
            self.starts += 1
            if self._child.wait() != _RESTART:
                return

    def _command(self) -> Sequence[str]:
        if self.release == OLD:
            program = PREPARED / OLD / "bin" / "hass"
            return [str(program), "--config", str(self.folder), "--skip-pip"]
        inside = "/" + str(self.folder.relative_to(_ROOT))
        program = Path("/opt") / CURRENT / "bin" / "hass"
        return [
            *("chroot", str(_ROOT), "env", f"HOME={inside}"),
            *(str(program), "--config", inside, "--skip-pip"),
        ]

    async def restart(self) -> None:
        """Let Core restart by its own service, and wait until it is back."""
        starts = self.starts
        with contextlib.suppress(ProcessError, TypeError):  # it may be gone at once
            await self.ask("call_service", domain="homeassistant", service="restart")
        async with asyncio.timeout(_START_S), ClientSession() as client:
            while self.starts == starts:  # noqa: ASYNC110  no event
                await asyncio.sleep(0.1)
            await self._until_up(client)

    # --- what its owner does ----------------------------------------------------------

    async def _onboard(self) -> None:
        async with ClientSession() as client:
            await self._until_up(client)
            async with client.post(
                f"{self.url}/api/onboarding/users",
                json={
                    "client_id": f"{self.url}/",
                    "name": "Owner",
                    "username": OWNER,
                    "password": PASSWORD,
                    "language": "en",
                },
            ) as answer:
                code = (await answer.json())["auth_code"]
            self._token = await self._redeem(client, code)
            for step in ("core_config", "analytics"):
                async with client.post(
                    f"{self.url}/api/onboarding/{step}",
                    headers={"Authorization": f"Bearer {self._token}"},
                ) as answer:
                    await answer.read()

    async def _until_up(self, client: ClientSession) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, TimeoutError):
                async with client.get(f"{self.url}/api/onboarding") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.3)
        raise ProcessError(f"Core did not start:\n{self.log[-4000:]}")

    async def _redeem(self, client: ClientSession, code: str) -> str:
        form = {
            "client_id": f"{self.url}/",
            "grant_type": "authorization_code",
            "code": code,
        }
        async with client.post(f"{self.url}/auth/token", data=form) as answer:
            refresh = (await answer.json())["refresh_token"]
        self._refresh = refresh
        return await self.token(client)

    async def token(self, client: ClientSession) -> str:
        """Return a fresh access token of the owner."""
        form = {
            "client_id": f"{self.url}/",
            "grant_type": "refresh_token",
            "refresh_token": self._refresh,
        }
        async with client.post(f"{self.url}/auth/token", data=form) as answer:
            token: str = (await answer.json())["access_token"]
            return token

    async def connect(self, client: ClientSession) -> ClientWebSocketResponse:
        """Open Core's WebSocket as an administrator, as the Supervisor does."""
        token = await self.token(client)
        socket = await client.ws_connect(f"{self.url}/api/websocket")
        await socket.receive_json()
        await socket.send_json({"type": "auth", "access_token": token})
        if (await socket.receive_json())["type"] != "auth_ok":
            raise ProcessError("Core does not take the owner's token")
        return socket

    async def ask(self, command: str, **fields: object) -> Any:  # noqa: ANN401
        """Give one command over the WebSocket, straight to Core."""
        async with ClientSession() as client:
            socket = await self.connect(client)
            await socket.send_json({"id": 1, "type": command, **fields})
            answer = await socket.receive_json()
            await socket.close()
            if not answer["success"]:
                raise ProcessError(str(answer["error"]))
            return answer["result"]
