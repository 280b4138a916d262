"""SniTun, the relay behind Nabu Casa's remote access, on uvloop.

Its server and its client run in processes of their own, from scripts that import
nothing of ours. SniTun's newest versions need a newer Python than Hearthgate does:
BENCH_SNITUN_PYTHON may name an interpreter that has `snitun` and `uvloop`.
"""

from collections.abc import Mapping
import contextlib
import json
import os
from pathlib import Path
import secrets
import sys

from cryptography.fernet import Fernet

from tests.bench.edge import BenchEdge
from tests.bench.processes import Child, wait_for_port, wait_until
from tests.bench.scene import Scene
from tests.bench.ways.base import Doors
from tests.harness.ports import free_port

__all__ = ["PYTHON", "SniTunWay"]

PYTHON = os.environ.get("BENCH_SNITUN_PYTHON", sys.executable)


class SniTunWay:
    """visitor ──▶ server ──multiplexer──▶ client ──▶ edge."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._stack = contextlib.ExitStack()

    def start(self) -> Doors:
        self._edge = BenchEdge(self._scene, "snitun", proxy_header=False)
        self._stack.callback(self._edge.stop)
        port = free_port()
        settings = self._settings(port)
        self._server = self._run("snitun_server.py", settings)
        wait_for_port(port, self._server)
        self._client = self._run("snitun_client.py", settings)
        ready = self._scene.folder / "snitun_client.py.log"
        wait_until(
            lambda: "connected" in ready.read_text(), "SniTun's client", self._client
        )
        return Doors(port)

    def _settings(self, port: int) -> Path:
        path = self._scene.folder / "snitun.json"
        settings = {
            "port": port,
            "edge_port": self._edge.port,
            "fernet_key": Fernet.generate_key().decode(),
            "aes_key": secrets.token_hex(32),
            "aes_iv": secrets.token_hex(16),
            "hostnames": [self._scene.hostname, self._scene.upload_hostname],
        }
        path.write_text(json.dumps(settings))
        path.chmod(0o600)
        return path

    def _run(self, script: str, settings: Path) -> Child:
        log = self._scene.folder / f"{script}.log"
        log.write_text("")
        argv: list[str | Path] = [
            PYTHON,
            "-P",
            Path(__file__).with_name(script),
            settings,
        ]
        child = Child(argv, log=log, env={"PYTHONUNBUFFERED": "1"})
        self._stack.callback(child.stop)
        return child

    def processes(self) -> Mapping[str, list[int]]:
        return {
            "server": [self._server.pid],
            "client": [self._client.pid],
            "edge": [self._edge.pid],
        }

    def stop(self) -> None:
        self._stack.close()
