"""Parts around an exposer that do what a test says: relay, edge, authority, visits."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from hearthgate.home.certificates import Certificate, Certificates, Step
from hearthgate.home.edge import Edge, Route
from hearthgate.home.edge.errors import EdgeFailedError
from hearthgate.home.errors import NotSeenFromOutsideError
from hearthgate.home.exposures.sites import Exposer
from hearthgate.home.model import Exposure, Phase, Problem, Scheme, Target
from hearthgate.home.state.current_state import HomeStore
from hearthgate.home.state.state import HomeState, Membership
from hearthgate.home.tunnel.errors import RelayAwayError
from hearthgate.home.tunnel.tunnel import TunnelState
from hearthgate.home.tunnel.tunnels import Tunnels
from tests.support.relay_parts import until

RELAY = Membership("r", "cottage", "127.0.0.1", 1, "0" * 64, "h", 1)
EXPOSURE = Exposure(
    service_id="photos",
    name="Photos",
    target=Target(Scheme.HTTP, "127.0.0.1", 1),
    relay_id="r",
    hostname="photos.home.example.com",
    enabled=True,
)


class FakeStatus:
    def __init__(self) -> None:
        self.state = TunnelState.CONNECTED
        self.domains: tuple[str, ...] = ("home.example.com",)
        self.addresses = ("127.0.0.1",)
        self.can_forward = True


class FakeTunnel:
    """What it was told last to publish is in `public`."""

    def __init__(self) -> None:
        self.status = FakeStatus()
        self.is_published = False
        self.refused: dict[str, str] = {}
        self.peer = ("127.0.0.1", 1)
        self.public: tuple[str, ...] = ()

    async def publish(self, hostnames: tuple[str, ...]) -> dict[str, str]:
        await asyncio.sleep(0)
        if self.status.state is not TunnelState.CONNECTED:
            raise RelayAwayError
        self.public = hostnames
        self.is_published = True
        return self.refused


class FakeEdge:
    """Takes routes once `gate` is open; fails as often as `failures` says."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.failures = 0
        self.routes: dict[str, Route] = {}

    async def apply(self, routes: Sequence[Route]) -> None:
        self.waiting += 1
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        if self.failures:
            self.failures -= 1
            raise EdgeFailedError(reason="a test")
        self.routes = {one.hostname: one for one in routes}


class FakeCertificates:
    """Orders succeed once `gate` is open, unless `error` is set."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.problems: dict[str, Problem] = {}
        self.there: dict[str, Certificate] = {}
        self.orders = 0

    def issue(self, hostname: str, not_after: float = 9e9) -> Certificate:
        made = Certificate(hostname, Path(f"/none/{not_after}"), 0.0, not_after)
        self.there[hostname] = made
        return made

    def get(self, hostname: str) -> Certificate | None:
        return self.there.get(hostname)

    def keep(self, hostnames: Collection[str]) -> None:
        pass

    def problem(self, hostname: str) -> Problem | None:
        return self.problems.get(hostname)

    async def ensure(
        self,
        hostname: str,
        progress: Callable[[Step], None],
        *,
        addresses: Collection[str],
    ) -> Certificate:
        del addresses
        if hostname in self.there:
            return self.there[hostname]
        self.orders += 1
        progress(Step.ORDERING)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.issue(hostname)


class FakeStore:
    def __init__(self) -> None:
        self.value = HomeState(relays=(RELAY,), exposures=(EXPOSURE,))


class Stage:
    """An exposer with its parts, and the wishes of a user."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.tunnel = FakeTunnel()
        self.tunnels: dict[str, FakeTunnel] = {"r": self.tunnel}
        self.edge = FakeEdge()
        self.certificates = FakeCertificates()
        self.visits: list[str] = []
        self.visit_error: Exception | None = None
        self.retry_s = [60.0]
        self.exposer = Exposer(
            cast("HomeStore", self.store),
            cast("Tunnels", self.tunnels),
            cast("Edge", self.edge),
            cast("Certificates", self.certificates),
            on_change=lambda _service_id: None,
            visit=self._visit,
            retry_s=self.retry_s,
        )

    async def _visit(self, _host: str, _port: int, hostname: str, _path: Path) -> None:
        self.visits.append(hostname)
        if self.visit_error is not None:
            raise self.visit_error

    def fail_visits(self) -> None:
        hostname = EXPOSURE.hostname
        self.visit_error = NotSeenFromOutsideError(hostname=hostname, reason="a test")

    def wish(self, service_id: str = "photos", **changes: object) -> None:
        """Change an exposure as the user would; there is one to begin with."""
        self.put(service_id, **changes)
        self.exposer.wish_changed(service_id)

    def put(self, service_id: str = "photos", **changes: object) -> None:
        """Change what is stored, and tell nobody."""
        old = self.store.value.exposure(service_id) or replace(
            EXPOSURE, service_id=service_id
        )
        changed = replace(old, **changes)  # type: ignore[arg-type]
        self.store.value = self.store.value.with_exposure(changed)

    def public(self) -> tuple[str, ...]:
        """Return what the relay shows."""
        return self.tunnel.public

    def relay_goes(self) -> None:
        self.tunnel.status.state = TunnelState.WAITING
        self.tunnel.is_published = False
        self.exposer.relay_changed("r")

    async def relay_comes(self) -> None:
        """Connect, then publish, as a tunnel does."""
        self.tunnel.status.state = TunnelState.CONNECTED
        self.exposer.relay_changed("r")
        await self.tunnel.publish(self.exposer.hostnames("r"))
        self.exposer.relay_changed("r")

    def phase(self, service_id: str = "photos") -> Phase:
        return self.exposer.status(service_id).phase

    async def reaches(self, phase: Phase, service_id: str = "photos") -> None:
        """Wait for a phase that nothing works on any more, but a next try."""
        await until(lambda: self.phase(service_id) is phase)

    async def rests(self) -> None:
        """Wait until no job is left."""
        await until(lambda: not self.exposer._jobs)
