"""Run the edge of the ways that are not Hearthgate.

The same HAProxy, tuning and certificate as Hearthgate's own edge; the one difference is
that visitors come over a loopback port instead of a passed socket:

    bind 127.0.0.1:PORT [accept-proxy] ssl crt … alpn h2,http/1.1
"""

from pathlib import Path

from tests.bench.processes import Child, free_port, wait_for_port
from tests.bench.scene import Scene

__all__ = ["BenchEdge"]

_CONFIG = """\
global
  maxconn 8192
  ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
  tune.ssl.default-dh-param 2048

defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
  timeout http-request 15s
  timeout http-keep-alive 60s
  option http-keep-alive
  http-reuse safe

frontend visitors
  bind 127.0.0.1:{port}{proxy} ssl crt {pem} alpn h2,http/1.1
  http-request del-header X-Forwarded-For
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto https
  acl upload req.hdr(host),field(1,:) -i {upload}
  use_backend sink if upload
  default_backend service

backend service
  server service 127.0.0.1:{service}

backend sink
  server sink 127.0.0.1:{sink}
"""


class BenchEdge:
    """One HAProxy in front of the scene's service."""

    def __init__(self, scene: Scene, name: str, *, proxy_header: bool) -> None:
        """Start it; with `proxy_header` it demands a PROXY header before TLS."""
        self.port = free_port()
        config = scene.folder / f"edge-{name}.cfg"
        config.write_text(
            _CONFIG.format(
                port=self.port,
                proxy=" accept-proxy" if proxy_header else "",
                pem=scene.credentials.combined,
                upload=scene.upload_hostname,
                service=scene.service_port,
                sink=scene.sink_port,
            )
        )
        log: Path = scene.folder / f"edge-{name}.log"
        self._haproxy = Child(["haproxy", "-db", "-q", "-f", config], log=log)
        wait_for_port(self.port, self._haproxy)

    @property
    def pid(self) -> int:
        return self._haproxy.pid

    def stop(self) -> None:
        self._haproxy.stop()
