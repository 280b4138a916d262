"""Run a real Home Assistant Core, which comes back after a restart as it should.

    CoreProcess("2026.11.0") ──keeper thread──▶ hass ──exit 100──▶ hass again …

`tests/tools/hass` has installed the releases below .work/hass: the current one lives
in a chroot with a newer Python, the old one in a venv. It is born with the Supervisor's
user, as every Core of an add-on has one; an owner is onboarded by Core's own API. No
pytest here.
"""

import asyncio
from collections.abc import Sequence
import contextlib
import json
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
from tests.harness.ports import free_port

Json = dict[str, Any]
CURRENT, OLD = "2026.11.0", "2024.3.3"
OWNER, PASSWORD = "owner", "a long horse staple"
PREPARED = Path(__file__).resolve().parents[2] / ".work" / "hass"
_ROOT = PREPARED / "forky"
_RESTART = 100  # the exit code with which Core asks to be started again
_START_S = 180.0
_STOP_S = 60.0
# Whom Core knows from the start: the Supervisor, and somebody who is no administrator.
SUPERVISOR, CHILD = "supervisor", "child"
_GROUPS = {SUPERVISOR: "system-admin", CHILD: "system-users"}
_LINES = "frontend:\nconfig:\napi:\nwebsocket_api:\nonboarding:\n"
# Core waits five minutes for somebody to confirm new HTTP settings; this one does not.
_IMPATIENT = """
from datetime import timedelta
from sys import exit
from homeassistant.components.http import config
config.AUTO_REVERT_DELAY = timedelta(seconds={seconds})
from homeassistant.__main__ import main
exit(main())
"""


class CoreProcess:
    """One Core with its own folder. A context manager; ends what it started."""

    def __init__(
        self,
        release: str,
        yaml: str = "",
        *,
        is_onboarded: bool = True,
        reverts_after_s: float | None = None,
    ) -> None:
        """Take lines for configuration.yaml. The port is free and stays the same.

        reverts_after_s: how long it tries new HTTP settings, if not for five minutes.
        """
        self.release = release
        self.reverts_after_s = reverts_after_s
        self._is_to_be_onboarded = is_onboarded
        self.port = free_port()
        self.starts = 0
        within = _ROOT / "tmp" if release == CURRENT else None
        self.folder = Path(tempfile.mkdtemp(prefix="core-", dir=within))
        self.yaml = yaml
        self._child: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper of Core")
        self._refresh: str | None = None

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
        self._write_users()
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
        text = _LINES if self.release == OLD else f"{_LINES}backup:\n"
        if more and port:  # one http: section
            port, more = (
                "",
                more.replace("http:\n", f"http:\n  server_port: {self.port}\n"),
            )
        (self.folder / "configuration.yaml").write_text(text + port + more)

    def _write_users(self) -> None:
        """Write the users of the first start, as Core itself stores them."""
        data = {
            "groups": [{"id": one, "name": one} for one in _GROUPS.values()],
            "users": [
                {
                    "id": name,
                    "name": name,
                    "group_ids": [group],
                    "is_owner": False,
                    "is_active": True,
                    "system_generated": True,
                    "local_only": False,
                }
                for name, group in _GROUPS.items()
            ],
            "credentials": [],
            "refresh_tokens": [
                {
                    "id": f"{name}-token",
                    "user_id": name,
                    "client_id": None,
                    "token_type": "system",
                    "created_at": "2026-01-01T00:00:00+00:00",
                    "access_token_expiration": 1800.0,
                    "token": f"refresh-{name}",
                    "jwt_key": f"a-key-of-at-least-thirty-two-bytes-for-{name}",
                }
                for name in _GROUPS
            ],
        }
        storage = self.folder / ".storage"
        storage.mkdir()
        stored = {"version": 1, "minor_version": 1, "key": "auth", "data": data}
        (storage / "auth").write_text(json.dumps(stored))

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
        python = str(Path("/opt") / CURRENT / "bin" / "python")
        core = ["-m", "homeassistant"]
        if self.reverts_after_s is not None:
            core = ["-c", _IMPATIENT.format(seconds=self.reverts_after_s)]
        return [
            *("chroot", str(_ROOT), "env", f"HOME={inside}"),
            *(python, *core, "--config", inside, "--skip-pip"),
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
            if not self._is_to_be_onboarded:
                return
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
            token = await self._redeem(client, code)
            for step in ("core_config", "analytics"):
                async with client.post(
                    f"{self.url}/api/onboarding/{step}",
                    headers={"Authorization": f"Bearer {token}"},
                ) as answer:
                    await answer.read()

    async def is_running(self) -> None:
        """Wait until Core has started to the end."""
        async with ClientSession() as client:
            await self._until_up(client)

    async def _until_up(self, client: ClientSession) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, TimeoutError, ProcessError, TypeError):
                async with client.get(f"{self.url}/api/onboarding") as answer:
                    is_up = answer.status == 200
                if is_up and (await self.ask("get_config"))["state"] == "RUNNING":
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

    async def token(self, client: ClientSession, user: str | None = None) -> str:
        """Return a fresh access token of the owner, or of somebody else."""
        form = {"grant_type": "refresh_token", "refresh_token": f"refresh-{user}"}
        if user is None:
            form["client_id"] = f"{self.url}/"
            form["refresh_token"] = self._refresh or ""
        async with client.post(f"{self.url}/auth/token", data=form) as answer:
            token: str = (await answer.json())["access_token"]
            return token

    async def connect(
        self, client: ClientSession, user: str = SUPERVISOR
    ) -> ClientWebSocketResponse:
        """Open Core's WebSocket as an administrator, as the Supervisor does."""
        token = await self.token(client, user)
        socket = await client.ws_connect(f"{self.url}/api/websocket")
        await socket.receive_json()
        await socket.send_json({"type": "auth", "access_token": token})
        if (await socket.receive_json())["type"] != "auth_ok":
            raise ProcessError("Core does not take the token")
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
