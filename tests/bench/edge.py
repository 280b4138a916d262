"""Run the edge of the ways that are not Hearthgate.

It is Hearthgate's own: the same folder, written by the same code, for the same HAProxy.
The one line that differs lets visitors come over a loopback port instead of a passed
socket:

    bind 127.0.0.1:PORT [accept-proxy] ssl …      instead of      bind sockpair@N …
"""

from pathlib import Path
import re

from hearthgate.home.edge import folder as edge_folder
from hearthgate.home.edge.config import CONFIG
from hearthgate.home.edge.routes import Route
from hearthgate.home.edge.settings import EdgeSettings
from hearthgate.home.model import Scheme, Target
from tests.bench.processes import BenchError, Child, wait_for_port
from tests.bench.scene import Scene
from tests.harness.ports import free_port

__all__ = ["BenchEdge"]

_DOOR = re.compile(r'^  bind "sockpair@[^"]*" accept-proxy ', re.MULTILINE)
_MAXCONN = 4000  # what the agent sets by default


class BenchEdge:
    """One HAProxy in front of the scene's service."""

    def __init__(self, scene: Scene, name: str, *, proxy_header: bool) -> None:
        """Start it; with `proxy_header` it demands a PROXY header before TLS."""
        self.port = free_port()
        folder = scene.folder / f"edge-{name}"
        self._write(scene, folder, " accept-proxy" if proxy_header else "")
        argv: list[str | Path] = ["haproxy", "-db", "-C", folder, "-f", CONFIG]
        self._haproxy = Child(argv, log=scene.folder / f"edge-{name}.log")
        wait_for_port(self.port, self._haproxy)

    def _write(self, scene: Scene, folder: Path, proxy: str) -> None:
        routes = [
            Route(
                hostname=hostname,
                target=Target(Scheme.HTTP, "127.0.0.1", port),
                certificate=scene.credentials.combined,
                access=None,
                name=hostname,
            )
            for hostname, port in (
                (scene.hostname, scene.service_port),
                (scene.upload_hostname, scene.sink_port),
            )
        ]
        settings = EdgeSettings(maxconn=_MAXCONN)
        edge_folder.write(folder, edge_folder.plan(routes), settings, 1)
        config = folder / CONFIG
        door = f"  bind 127.0.0.1:{self.port}{proxy} "
        text, changed = _DOOR.subn(door, config.read_text())
        if changed != 1:
            raise BenchError("the edge's configuration has no door that is known here")
        config.write_text(text)

    @property
    def pid(self) -> int:
        return self._haproxy.pid

    def stop(self) -> None:
        self._haproxy.stop()
