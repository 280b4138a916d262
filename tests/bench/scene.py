"""Set up what all ways share: the service, the sink for uploads, the certificate.

    edge of any way ──http──▶ nginx    static files, sendfile, one worker
                    ──http──▶ sink     for the upload hostname only

One nginx worker: the service stands for one at home, and must not be what is measured.
"""

from collections.abc import Iterator
import contextlib
from dataclasses import dataclass
from pathlib import Path
import sys

from tests.bench.certificate import Credentials, make_credentials
from tests.bench.processes import Child, wait_for_port
from tests.harness.ports import free_port

__all__ = ["DOMAIN", "Scene", "set_up"]

DOMAIN = "bench.example.com"
_KIB = 1024

_NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
worker_processes 1;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=16;
  keepalive_timeout 300s;
  keepalive_requests 100000000;
  client_body_temp_path {folder}/nginx-body;
  proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi;
  uwsgi_temp_path {folder}/nginx-uwsgi;
  scgi_temp_path {folder}/nginx-scgi;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {folder}/www;
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a way needs to stand in front of the service."""

    folder: Path  # scratch, removed at the end
    credentials: Credentials
    hostname: str
    upload_hostname: str
    service_port: int
    sink_port: int
    large_bytes: int  # size of /large.bin and of one upload
    large: Path


def _files(folder: Path, large_bytes: int) -> Path:
    www = folder / "www"
    www.mkdir()
    (www / "small.txt").write_bytes(b"hearth\n" * 73)  # 511 bytes: an API answer
    (www / "100k.bin").write_bytes(b"\0" * 100 * _KIB)
    large = www / "large.bin"
    with large.open("wb") as out:
        out.truncate(large_bytes)
    return large


@contextlib.contextmanager
def set_up(folder: Path, *, large_bytes: int) -> Iterator[Scene]:
    """Start the service and the sink; end both at the end of the context."""
    folder.chmod(0o755)  # nginx's worker may run as another user
    hostname, upload = f"fast.{DOMAIN}", f"upload.{DOMAIN}"
    large = _files(folder, large_bytes)
    service_port, sink_port = free_port(), free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=service_port))
    nginx: list[str | Path] = [
        "nginx",
        "-p",
        folder,
        "-e",
        folder / "nginx-start.log",
        "-c",
        config,
    ]
    sink: list[str | Path] = [
        sys.executable,
        Path(__file__).with_name("sink.py"),
        str(sink_port),
    ]
    with (
        Child(nginx, log=folder / "nginx.log") as service,
        Child(sink, log=folder / "sink.log") as drain,
    ):
        wait_for_port(service_port, service)
        wait_for_port(sink_port, drain)
        yield Scene(
            folder=folder,
            credentials=make_credentials(folder, [hostname, upload]),
            hostname=hostname,
            upload_hostname=upload,
            service_port=service_port,
            sink_port=sink_port,
            large_bytes=large_bytes,
            large=large,
        )
