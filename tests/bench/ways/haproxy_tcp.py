"""HAProxy in TCP mode as the relay: what a relay in C costs.

It reads the SNI like ours and tells the edge the visitor's address with a PROXY v2
header. There is no home behind a NAT here: it dials the edge itself, an advantage.
"""

from collections.abc import Mapping
import contextlib
from pathlib import Path

from tests.bench.edge import BenchEdge
from tests.bench.processes import Child, wait_for_port
from tests.bench.scene import DOMAIN, Scene
from tests.bench.ways.base import Doors
from tests.harness.ports import free_port

__all__ = ["HaproxyTcpWay"]

_CONFIG = """\
global
  maxconn 8192

defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h

frontend relay
  bind 127.0.0.1:{port}
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req.ssl_hello_type 1 }}
  use_backend home if {{ req.ssl_sni -m end .{domain} }}

backend home
  server edge 127.0.0.1:{edge} send-proxy-v2
"""


class HaproxyTcpWay:
    """visitor ──▶ HAProxy ──PROXY v2──▶ edge."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._stack = contextlib.ExitStack()

    def start(self) -> Doors:
        folder = self._scene.folder
        self._edge = BenchEdge(self._scene, "haproxy-tcp", proxy_header=True)
        self._stack.callback(self._edge.stop)
        port = free_port()
        config = folder / "relay-haproxy.cfg"
        config.write_text(
            _CONFIG.format(port=port, domain=DOMAIN, edge=self._edge.port)
        )
        argv: list[str | Path] = ["haproxy", "-db", "-q", "-f", config]
        self._relay = Child(argv, log=folder / "relay-haproxy.log")
        self._stack.callback(self._relay.stop)
        wait_for_port(port, self._relay)
        return Doors(port)

    def processes(self) -> Mapping[str, list[int]]:
        return {"relay": [self._relay.pid], "edge": [self._edge.pid]}

    def stop(self) -> None:
        self._stack.close()
