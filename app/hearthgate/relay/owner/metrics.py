"""Show a relay's numbers to Prometheus, on a port of this machine only.

    GET /metrics ──▶ Collector ──reads──▶ Sessions, Pump, Counters, Traffic

Everything is read when somebody asks; a visitor costs nothing more for it. There is
no login, and hostnames are labels, so it listens on loopback unless told otherwise, and
not at all by default. Changes nothing.
"""

import asyncio
from collections.abc import Iterable, Iterator
import itertools
import logging
import socket
from typing import TYPE_CHECKING, Any

from aiohttp import web

from hearthgate import __version__
from hearthgate.relay.accept.connection_limiter import ConnectionLimiter
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.counting.traffic import FIRST_BYTE_BOUNDS_S, Traffic
from hearthgate.relay.doors.requests import nameless_request
from hearthgate.relay.homes.registry import Registry
from hearthgate.relay.homes.sessions import Sessions
from hearthgate.relay.owner.report import live_bytes
from hearthgate.relay.visitors.pump import Pump
from hearthgate.shared.net.http_server import HttpBounds, HttpServer
from hearthgate.shared.process.tasks import Tasks

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

_LOGGER = logging.getLogger(__name__)
_SHUTDOWN_S = 1.0
_RETRY_S = 60.0


class Collector:
    """Read a relay's state as metrics. Lives in its loop."""

    def __init__(
        self,
        *,
        registry: Registry,
        sessions: Sessions,
        pump: Pump,
        counters: Counters,
        traffic: Traffic,
        limiter: ConnectionLimiter,
    ) -> None:
        self._registry = registry
        self._sessions = sessions
        self._pump = pump
        self._counters = counters
        self._traffic = traffic
        self._limiter = limiter

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        # Two megabytes that a relay without metrics has no use for.
        from prometheus_client import generate_latest  # noqa: PLC0415

        return generate_latest(self._read_by_prometheus())

    def _read_by_prometheus(self) -> "CollectorRegistry":
        from prometheus_client import (  # noqa: PLC0415  see text()
            CollectorRegistry,
            ProcessCollector,
        )

        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        ProcessCollector(registry=registry)
        return registry

    def collect(self) -> Iterable["Metric"]:
        """Give the metrics; called by Prometheus' registry."""
        return itertools.chain(self._now(), self._since_start())

    def _now(self) -> Iterator["Metric"]:
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

        presences = self._sessions.presences.values()
        sessions = [one.session for one in presences if one.session is not None]
        gauges = {
            "homes_paired": ("Homes on this relay.", len(self._registry.homes)),
            "homes_connected": ("Homes that are connected.", len(sessions)),
            "channels_parked": (
                "Channels that wait for a visitor.",
                sum(len(one.parked) for one in sessions),
            ),
            "visitors": ("Visitors that are served.", len(self._pump.pairs)),
            "visitors_waiting": (
                "Visitors for whom there is no channel yet.",
                sum(len(one.waiting) for one in presences),
            ),
            "connections": (
                "Connections on the TLS port, of visitors and homes.",
                self._limiter.total,
            ),
            "hostnames": ("Hostnames that are published.", len(self._sessions.routes)),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(f"hearthgate_{name}", text, value=value)
        info = GaugeMetricFamily(
            "hearthgate_build_info", "The version that runs.", labels=["version"]
        )
        info.add_metric([__version__], 1)
        yield info

    def _since_start(self) -> Iterator["Metric"]:
        from prometheus_client.core import (  # noqa: PLC0415
            CounterMetricFamily,
            HistogramMetricFamily,
        )

        traffic = self._traffic
        yield CounterMetricFamily(
            "hearthgate_visitors_served", "Visitors served.", value=traffic.visitors
        )
        yield CounterMetricFamily(
            "hearthgate_replays",
            "Visitors whose hello was sent over a second channel.",
            value=traffic.replays,
        )
        refusals = CounterMetricFamily(
            "hearthgate_refusals", "What was refused, by reason.", labels=["reason"]
        )
        for reason, count in self._counters.refused.items():
            refusals.add_metric([reason], count)
        yield refusals
        moved = CounterMetricFamily(
            "hearthgate_bytes",
            "Bytes that visitors moved, by hostname.",
            labels=["hostname", "direction"],
        )
        by_hostname = traffic.by_hostname(live_bytes(self._sessions))
        for hostname, one in by_hostname.items():
            moved.add_metric([hostname, "to_home"], one.to_home)
            moved.add_metric([hostname, "to_visitor"], one.to_visitor)
        yield moved
        counts = list(itertools.accumulate(traffic.first_bytes))
        bounds = [*map(str, FIRST_BYTE_BOUNDS_S), "+Inf"]
        yield HistogramMetricFamily(
            "hearthgate_first_byte_seconds",
            "From a visitor's hello to the first byte that came back from home.",
            buckets=list(zip(bounds, counts, strict=True)),
            sum_value=traffic.first_byte_s,
        )


class MetricsPort:
    """Serve /metrics. Owns its listening socket."""

    def __init__(
        self,
        collector: Collector,
        host: str,
        port: int,
        *,
        retry_s: float = _RETRY_S,
    ) -> None:
        self._collector = collector
        self._host = host
        self._wanted = port
        self._retry_s = retry_s
        self._server: HttpServer | None = None
        self._tasks = Tasks()

    async def open(self) -> None:
        """Begin to listen. Where that fails it is said, and tried again by itself.

        Visitors come and go without anybody who counts them, so nothing that happens
        here is a reason not to run.
        """
        try:
            await self._listen()
        except OSError as err:
            _LOGGER.warning("No metrics on %s: %s", self._host, err.strerror or err)
        except Exception:
            _LOGGER.exception("No metrics on %s", self._host)
        if self._server is None:
            self._tasks.start(self._go_on_trying(), "metrics port")

    async def _go_on_trying(self) -> None:
        while self._server is None:
            await asyncio.sleep(self._retry_s)
            try:
                await self._listen()
            except Exception as err:  # noqa: BLE001  it was logged when it began
                _LOGGER.debug("Still no metrics on %s: %s", self._host, err)

    async def _listen(self) -> None:
        """Listen; `server` is there afterwards. Leaves nothing behind if it raises."""
        listeners = await _listeners(self._host, self._wanted)
        address = listeners[0].getsockname()
        server = HttpServer(
            self._answer,
            HttpBounds(),
            what="metrics",
            stop_s=_SHUTDOWN_S,
            request_factory=nameless_request,
        )
        await server.start(*listeners)
        self._server = server
        _LOGGER.info("Metrics are at http://%s/metrics", _shown(address))

    async def close(self) -> None:
        """Stop listening. Twice does no harm."""
        await self._tasks.close()
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.method not in ("GET", "HEAD") or request.path != "/metrics":
            return web.Response(status=404, text="Not found.\n")
        return web.Response(
            body=self._collector.text(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )


async def _listeners(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of a host, all bound. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    listeners: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in found:
            listener = socket.socket(family, kind, protocol)
            listeners.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _shown(address: tuple[Any, ...]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
