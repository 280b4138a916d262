"""What is measured and what Hearthgate wants to reach. Data only.

A ratio is Hearthgate's value by the peer's, of the same round; the median of the rounds
counts. Where a target says otherwise (`inverse`), it is the peer's by Hearthgate's.
"""

from dataclasses import dataclass

from tests.bench.ways import WayName

__all__ = ["LOADS", "MEMORY", "ROWS", "TARGETS", "RatioTarget", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    unit: str
    load: str  # the method of loads.Visitors that finds it
    less_is_better: bool = False
    digits: int = 0
    door: str = "edge"  # the one of ways.Doors; ways without it are left out


ROWS = (
    Row("requests", "Requests, 50 kept connections", "req/s", "keep_alive"),
    Row("connections", "New TLS connections, full handshake", "1/s", "connections"),
    Row("connections_resumed", "New TLS connections, resumed", "1/s", "resumed"),
    Row("http2", "Requests over HTTP/2, 10 x 10 streams", "req/s", "http2"),
    Row("download", "One large download", "MiB/s", "download"),
    Row("parallel", "100 KiB downloads, 20 in parallel", "1/s", "parallel"),
    Row("upload", "One large upload", "MiB/s", "upload"),
    Row("p50", "Latency p50, one visitor", "ms", "latency", True, 3),
    Row("p99", "Latency p99, one visitor", "ms", "latency", True, 3),
    Row("busy_p50", "Latency p50, 50 connections", "ms", "keep_alive", True, 2),
    Row("busy_p99", "Latency p99, 50 connections", "ms", "keep_alive", True, 2),
    Row(
        "forward_connections",
        "TCP forward, new connections",
        "1/s",
        "forward_connections",
        door="forward",
    ),
    Row(
        "forward_download",
        "TCP forward, one large download",
        "MiB/s",
        "forward_download",
        door="forward",
    ),
)
LOADS = {row.load: row.door for row in ROWS}  # in their order
MEMORY = "memory"  # a row for the command line; not one of the loads


@dataclass(frozen=True, slots=True)
class RatioTarget:
    """A bound for a ratio between Hearthgate and a peer."""

    row: str
    peer: WayName
    at_least: float | None = None
    at_most: float | None = None
    inverse: bool = False

    def reached(self, ratio: float) -> bool:
        enough = self.at_least is None or ratio >= self.at_least
        return enough and (self.at_most is None or ratio <= self.at_most)

    @property
    def bound(self) -> str:
        if self.at_least is not None:
            return f"≥ {self.at_least:g}"
        return f"≤ {self.at_most:g}"


TARGETS = (
    RatioTarget("requests", WayName.HAPROXY_TCP, at_least=1.0),
    RatioTarget("connections", WayName.HAPROXY_TCP, at_least=1.0),
    RatioTarget("download", WayName.HAPROXY_TCP, at_least=1.0),
    RatioTarget("upload", WayName.HAPROXY_TCP, at_least=1.0),
    RatioTarget("p50", WayName.HAPROXY_TCP, at_most=1.1),
    RatioTarget("busy_p50", WayName.HAPROXY_TCP, at_most=1.1),
    RatioTarget("requests", WayName.SSH_R, at_least=1.0),
    RatioTarget("connections", WayName.SSH_R, at_least=1.2),
    RatioTarget("download", WayName.SSH_R, at_least=1.2),
    RatioTarget("forward_connections", WayName.SSH_R, at_least=1.0),
    RatioTarget("forward_download", WayName.SSH_R, at_least=0.8),
    RatioTarget("requests", WayName.SNITUN, at_least=2.5),
    RatioTarget("connections", WayName.SNITUN, at_least=1.4),
    RatioTarget("download", WayName.SNITUN, at_least=6.0),
    RatioTarget("download", WayName.DIRECT, at_most=1.3, inverse=True),
)

RELAY_IDLE_KB = 60_000  # 60 MB, resident
AGENT_KB = 90_000  # also while visitors are open
RELAY_PER_VISITOR_KB = 20.0
