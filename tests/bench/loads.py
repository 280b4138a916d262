"""Play the visitors: one load at a time against one port, a few numbers back.

    wrk      requests over kept connections, latency, resumed handshakes, parallel files
    h2load   HTTP/2
    curl     one large download, one large upload
    dial     new connections with a full handshake, or without TLS (visitors/dial.py)

Every load speaks to the hostname by TLS with SNI; those of a forward speak plainly.
Requests that fail are counted, never dropped. None checks certificates but curl, which
does.
"""

from dataclasses import dataclass
import json
import re
import sys

from tests.bench.processes import BenchError, Child, own_hosts, run_tool
from tests.bench.scene import Scene
from tests.bench.ways.base import Doors

__all__ = ["Measured", "Visitors", "read_h2load", "read_wrk"]

_SMALL, _MEDIUM = "/small.txt", "/100k.bin"
_SLACK_S = 60.0  # beyond the planned time a load counts as stuck
_TRANSFER_S = 300.0
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
_MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Measured:
    """What one load found, by row name; every row of one load shares its errors."""

    values: dict[str, float]
    errors: int = 0


def read_wrk(text: str) -> tuple[dict[str, float], int]:
    """Return requests_s, p50_ms and p99_ms, and the errors, from wrk's report."""
    found = {"requests_s": float(_need(r"Requests/sec:\s+([\d.]+)", text))}
    for share in ("50", "99"):
        match = re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s|m)$", text, re.MULTILINE)
        if match:
            found[f"p{share}_ms"] = float(match[1]) * _MS[match[2]]
    bad = re.findall(r"(?:connect|read|write|timeout) (\d+)", text)
    bad += re.findall(r"Non-2xx or 3xx responses: (\d+)", text)
    return found, sum(map(int, bad))


def read_h2load(text: str) -> tuple[float, int]:
    """Return requests per second and errors from h2load's report."""
    rate = float(_need(r"finished in .*?, ([\d.]+) req/s", text))
    failed = int(_need(r"(\d+) failed", text))
    done = int(_need(r"(\d+) succeeded", text))
    good = int(_need(r"status codes: (\d+) 2xx", text))
    return rate, failed + max(0, done - good)


def _need(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise BenchError(f"unexpected report of a load generator: {text[-800:]}")
    return match[1]


class Visitors:
    """The loads against one way."""

    def __init__(self, scene: Scene, doors: Doors, *, seconds: float) -> None:
        """Aim at a way's doors; a timed load lasts `seconds`."""
        self._scene, self._seconds = scene, seconds
        self._port, self._forward = doors.edge, doors.forward
        self._hosts = scene.folder / "hosts"
        names = f"{scene.hostname} {scene.upload_hostname}"
        self._hosts.write_text(f"127.0.0.1 localhost {names}\n")

    def keep_alive(self) -> Measured:
        """50 kept connections, HTTP/1.1, 511-byte answers."""
        found, errors = self._wrk(_SMALL, threads=2, connections=50)
        return Measured(
            {
                "requests": found["requests_s"],
                "busy_p50": found["p50_ms"],
                "busy_p99": found["p99_ms"],
            },
            errors,
        )

    def latency(self) -> Measured:
        """One visitor who asks, waits, asks again: the price of the way alone."""
        found, errors = self._wrk(_SMALL, threads=1, connections=1)
        return Measured({"p50": found["p50_ms"], "p99": found["p99_ms"]}, errors)

    def resumed(self) -> Measured:
        """Dial anew for each request, 50 at a time; wrk resumes the TLS session."""
        found, errors = self._wrk(
            _SMALL, "-H", "Connection: close", threads=2, connections=50
        )
        return Measured({"connections_resumed": found["requests_s"]}, errors)

    def parallel(self) -> Measured:
        """20 downloads of 100 KiB at any moment, over 20 kept connections."""
        found, errors = self._wrk(_MEDIUM, threads=2, connections=20)
        return Measured({"parallel": found["requests_s"]}, errors)

    def connections(self) -> Measured:
        """Dial anew with full handshakes, ask once, hang up."""
        return self._dial("connections", self._port)

    def forward_connections(self) -> Measured:
        """Dial anew without TLS, ask once, hang up: visitors of a bare service."""
        return self._dial("forward_connections", self._forward, "--plain")

    def _dial(self, row: str, port: int | None, *more: str) -> Measured:
        """Two processes, 25 connections each at a time."""
        module = [sys.executable, "-m", "tests.bench.visitors.dial"]
        aim = [str(port), self._scene.hostname, _SMALL]
        argv = [*module, *aim, str(self._seconds), "25", *more]
        logs = [self._scene.folder / f"dial-{number}.log" for number in range(2)]
        with (
            Child(argv, log=logs[0], pipes=True) as first,
            Child(argv, log=logs[1], pipes=True) as second,
        ):
            reports = [self._report(child) for child in (first, second)]
        rate = sum(report["done"] / report["seconds"] for report in reports)
        if any(report["resumed"] for report in reports):
            raise BenchError("a handshake was resumed although nobody asked for it")
        errors = sum(int(report["errors"]) for report in reports)
        return Measured({row: rate}, errors)

    def _report(self, child: Child) -> dict[str, float]:
        out, _ = child.process.communicate(timeout=self._seconds + _SLACK_S)
        if child.process.returncode:
            child.check()
        report: dict[str, float] = json.loads(out)
        return report

    def http2(self) -> Measured:
        """10 connections with 10 streams each, 511-byte answers."""
        url = f"https://{self._scene.hostname}:{self._port}{_SMALL}"
        argv = ["h2load", "-t2", "-c10", "-m10", f"-D{self._seconds:.0f}"]
        argv += ["--warm-up-time=1", url]
        rate, errors = read_h2load(self._run(own_hosts(argv, self._hosts)))
        return Measured({"http2": rate}, errors)

    def download(self) -> Measured:
        """One large file, HTTP/1.1; MiB per second by curl's own clock."""
        url = f"https://{self._scene.hostname}:{self._port}/large.bin"
        return self._curl("download", url)

    def forward_download(self) -> Measured:
        """One large file, plainly; MiB per second by curl's own clock."""
        url = f"http://127.0.0.1:{self._forward}/large.bin"
        return self._curl("forward_download", url)

    def upload(self) -> Measured:
        """One large PUT, HTTP/1.1; ends when the sink has all of it."""
        url = f"https://{self._scene.upload_hostname}:{self._port}/large.bin"
        put = ["-H", "Expect:", "-T", str(self._scene.large)]
        return self._curl("upload", url, *put)

    def _curl(self, row: str, url: str, *more: str) -> Measured:
        host = url.split("/")[2]
        argv = ["curl", "--silent", "--show-error", "--http1.1", "-o", "/dev/null"]
        argv += ["--resolve", f"{host}:127.0.0.1", *more]
        argv += ["--cacert", str(self._scene.credentials.authority)]
        way = "upload" if row == "upload" else "download"
        shape = f"%{{http_code}} %{{size_{way}}} %{{time_total}}"
        out = run_tool(
            [*argv, "-w", shape, url],
            deadline_s=_TRANSFER_S,
            scratch=self._scene.folder,
        )
        status, size, took = out.split()
        complete = status == "200" and int(size) == self._scene.large_bytes
        return Measured({row: int(size) / float(took) / _MIB}, int(not complete))

    def _wrk(
        self, path: str, *more: str, threads: int, connections: int
    ) -> tuple[dict[str, float], int]:
        argv = ["wrk", f"-t{threads}", f"-c{connections}", "--timeout", "20s"]
        argv += [f"-d{self._seconds:.0f}s", "--latency", *more]
        argv.append(f"https://{self._scene.hostname}:{self._port}{path}")
        return read_wrk(self._run(own_hosts(argv, self._hosts)))

    def _run(self, argv: list[str]) -> str:
        deadline_s = self._seconds + _SLACK_S
        return run_tool(argv, deadline_s=deadline_s, scratch=self._scene.folder)
