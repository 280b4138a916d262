"""Bring each exposure to where the user wants it, and keep it there.

    on:   relay connected? ─▶ DNS ─▶ order ─▶ proof ─▶ edge ─▶ relay ─▶ visit ─▶ live
    off:  relay (cuts at once) ─▶ edge

One job per exposure at a time; a new wish ends the old job. Jobs of different
exposures do not wait for each other. What has a certificate is on at once after a
start, without any job.
"""

import asyncio
from collections.abc import Callable
import contextlib
from dataclasses import dataclass
import logging
import time

from hearthgate.errors import HearthgateError
from hearthgate.home.certificates import Certificate, Certificates, Step
from hearthgate.home.edge import Edge, Route
from hearthgate.home.errors import HostnameNotGrantedError, RelayUnknownError
from hearthgate.home.home_store import HomeStore
from hearthgate.home.model import Exposure, Phase, Problem, Status
from hearthgate.home.tunnel.errors import RelayAwayError, RelayRefusedError
from hearthgate.home.tunnel.tunnel import Tunnel, TunnelState
from hearthgate.home.tunnels import Tunnels
from hearthgate.home.visit import visit
from hearthgate.tasks import Tasks

_LOGGER = logging.getLogger(__name__)

_RETRY_S = (10.0, 60.0, 600.0, 3600.0)  # of what may mend itself, the last one repeats


@dataclass(frozen=True, slots=True)
class _Served:
    """What the edge serves for an exposure, and where it is published."""

    certificate: Certificate
    relay_id: str


class Exposer:
    """The exposures of a home. Lives in one loop."""

    def __init__(
        self,
        store: HomeStore,
        tunnels: Tunnels,
        edge: Edge,
        certificates: Certificates,
        *,
        on_change: Callable[[str], None],
    ) -> None:
        self._store = store
        self._tunnels = tunnels
        self._edge = edge
        self._certificates = certificates
        self._on_change = on_change
        self._on: dict[str, _Served] = {}  # by service id
        self._statuses: dict[str, Status] = {}
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._stale: set[str] = set()  # relay ids that may show what is not on
        self._tried: set[str] = set()  # service ids whose certificate was asked for
        self._tasks = Tasks()

    def status(self, service_id: str) -> Status:
        """Return how far an exposure has come."""
        return self._statuses.get(service_id) or Status(Phase.OFF, 0.0)

    def hostnames(self, relay_id: str) -> tuple[str, ...]:
        """Return what is to be published at a relay."""
        return tuple(
            sorted(
                one.hostname
                for one in self._store.value.sites
                if one.relay_id == relay_id and one.service_id in self._on
            )
        )

    async def start(self) -> None:
        """Serve all that has a certificate; begin jobs for the rest."""
        wanted = [one for one in self._store.value.sites if one.enabled]
        for exposure in wanted:
            certificate = self._certificates.get(exposure.hostname)
            if certificate is not None:
                self._on[exposure.service_id] = _Served(certificate, exposure.relay_id)
                self._tried.add(exposure.service_id)
                self._set(exposure.service_id, Phase.WAITING)
        self._look_after()
        try:
            await self._apply_edge()
        except HearthgateError as err:
            # Without an edge the page must be there all the same, to say why.
            _LOGGER.error("%s %s", err, err.advice)  # noqa: TRY400  in words
            self._on.clear()
        for exposure in wanted:
            if exposure.service_id not in self._on:
                self._begin(exposure.service_id)

    async def close(self) -> None:
        """End every job."""
        await self._tasks.close()

    def wish_changed(self, service_id: str) -> None:
        """Bring an exposure to what the store says now, from the beginning."""
        self._failures.pop(service_id, None)
        self._begin(service_id)

    def relay_changed(self, relay_id: str) -> None:
        """Take that a relay came, went or answered."""
        for exposure in self._store.value.sites:
            service_id = exposure.service_id
            if exposure.relay_id != relay_id or not exposure.enabled:
                continue
            if service_id in self._on and service_id not in self._jobs:
                self._settle(exposure)
            elif self.status(service_id).phase is Phase.WAITING:
                self._begin(service_id)

    async def renewed(self, certificate: Certificate) -> None:
        """Serve a new certificate, or go on where there was none before."""
        for exposure in self._store.value.sites:
            if exposure.hostname != certificate.hostname or not exposure.enabled:
                continue
            if exposure.service_id in self._on:
                self._on[exposure.service_id] = _Served(certificate, exposure.relay_id)
                await self._apply_edge()
                self._on_change(exposure.service_id)
            elif exposure.service_id not in self._jobs:
                self._begin(exposure.service_id)

    async def moved(self) -> None:
        """Serve exposures at the addresses that the store says now."""
        await self._apply_edge()

    # --- jobs ---------------------------------------------------------------------

    def _begin(self, service_id: str) -> None:
        old = self._jobs.get(service_id)
        job = self._tasks.start(self._run(service_id, old), f"exposure {service_id}")
        self._jobs[service_id] = job

    async def _run(self, service_id: str, old: asyncio.Task[None] | None) -> None:
        """Do one job after the old one has ended."""
        if old is not None:
            old.cancel()
            await asyncio.gather(old, return_exceptions=True)
        try:
            await self._carry_out(service_id)
        finally:
            if self._jobs.get(service_id) is asyncio.current_task():
                del self._jobs[service_id]

    async def _carry_out(self, service_id: str) -> None:
        exposure = self._store.value.exposure(service_id)
        if exposure is None or not exposure.enabled:
            await self._switch_off(service_id)
            return
        while True:
            try:
                await self._switch_on(exposure)
            except HearthgateError as err:
                delay_s = self._failed(exposure, err)
                if delay_s is None:
                    return
                await asyncio.sleep(delay_s)
            else:
                self._failures.pop(service_id, None)
                return

    async def _switch_on(self, exposure: Exposure) -> None:
        service_id = exposure.service_id
        tunnel = self._tunnels.get(exposure.relay_id)
        if tunnel is None:
            raise RelayUnknownError
        served = self._on.get(service_id)
        if served is not None and _is_another(served, exposure):
            # Before anything is awaited: the new hostname must not be shown as live.
            self._set(service_id, Phase.SWITCHING_ON)
            await self._take_off(service_id)
        if tunnel.status.state is not TunnelState.CONNECTED:
            await self._wait_for_relay(exposure)
            return
        _check_grant(exposure, tunnel)
        self._set(service_id, Phase.CHECKING_DNS)

        def progress(step: Step) -> None:
            self._set(service_id, Phase(step.value))

        try:
            certificate = await self._certificates.ensure(
                exposure.hostname, progress, addresses=tunnel.status.addresses
            )
        finally:
            self._tried.add(service_id)  # from here on the renewal timer goes on
            self._look_after()
        self._set(service_id, Phase.SWITCHING_ON)
        await self._serve(exposure, certificate)
        refused = await tunnel.publish(self.hostnames(exposure.relay_id))
        if exposure.hostname in refused:
            del self._on[service_id]
            await self._apply_edge()
            raise RelayRefusedError(message=refused[exposure.hostname], hint="")
        address, port = tunnel.peer
        await visit(address, port, exposure.hostname, certificate.path)
        self._set(service_id, Phase.LIVE)
        _LOGGER.info("%s: Live, leading to %s", exposure.hostname, exposure.target.url)

    async def _wait_for_relay(self, exposure: Exposure) -> None:
        """Leave it as far as it is; `relay_changed` goes on."""
        certificate = self._certificates.get(exposure.hostname)
        if certificate is not None:
            await self._serve(exposure, certificate)
            await self._publish(exposure.relay_id)
        self._set(exposure.service_id, Phase.WAITING)

    async def _switch_off(self, service_id: str) -> None:
        exposure = self._store.value.exposure(service_id)
        self._tried.discard(service_id)
        self._look_after()
        if service_id in self._on:
            self._set(service_id, Phase.SWITCHING_OFF)
        try:
            await self._take_off(service_id)
        except HearthgateError as err:
            _LOGGER.warning("%s: Switched off, but: %s %s", service_id, err, err.advice)
        self._set(service_id, Phase.OFF)
        if exposure is None:
            self._statuses.pop(service_id, None)
        else:
            _LOGGER.info("%s: Off", exposure.hostname)

    def _failed(self, exposure: Exposure, err: HearthgateError) -> float | None:
        """Show why it failed; return when to try again, None for never by itself."""
        service_id = exposure.service_id
        if isinstance(err, RelayAwayError):
            self._set(service_id, Phase.WAITING)
            return None
        renewal = self._certificates.problem(exposure.hostname)
        count = self._failures.get(service_id, 0)
        self._failures[service_id] = count + 1
        retry_at: float | None = None
        delay_s: float | None = None
        if renewal is not None and service_id not in self._on:
            retry_at = renewal.retry_at  # the renewal timer goes on, see `renewed`
        elif not isinstance(err, HostnameNotGrantedError | RelayUnknownError):
            delay_s = _RETRY_S[min(count, len(_RETRY_S) - 1)]
            retry_at = time.time() + delay_s
        problem = Problem(err.code, str(err), err.advice, retry_at)
        _LOGGER.warning("%s: %s %s", exposure.hostname, err, err.advice)
        self._set(service_id, Phase.FAILED, problem)
        return delay_s

    # --- edge and relays ----------------------------------------------------------

    def _look_after(self) -> None:
        """Tell the renewal which certificates matter."""
        self._certificates.keep(
            [
                one.hostname
                for one in self._store.value.sites
                if one.enabled and one.service_id in self._tried
            ]
        )

    async def _serve(self, exposure: Exposure, certificate: Certificate) -> None:
        """Take an exposure into the edge; one that it refuses is not wanted any more.

        Otherwise that one would be in the way of every later change.
        """
        service_id = exposure.service_id
        before = self._on.get(service_id)
        self._on[service_id] = _Served(certificate, exposure.relay_id)
        try:
            await self._apply_edge()
        except HearthgateError:
            if before is None:
                del self._on[service_id]
            else:
                self._on[service_id] = before
            raise

    async def _apply_edge(self) -> None:
        routes = []
        for exposure in self._store.value.sites:
            served = self._on.get(exposure.service_id)
            if served is None or _is_another(served, exposure):
                continue
            routes.append(
                Route(
                    hostname=exposure.hostname,
                    target=exposure.target,
                    certificate=served.certificate.path,
                    access=exposure.access,
                    name=exposure.name,
                )
            )
        await self._edge.apply(routes)

    async def _publish(self, relay_id: str) -> None:
        tunnel = self._tunnels.get(relay_id)
        if tunnel is not None:
            with contextlib.suppress(RelayAwayError):
                await tunnel.publish(self.hostnames(relay_id))

    async def _take_off(self, service_id: str) -> None:
        """Serve a service no longer, at the edge and at its relay.

        At both at once, because a relay that is slow to answer must not keep visitors
        inside. Does what a job that was ended in the middle of this has left to do.
        """
        served = self._on.pop(service_id, None)
        if served is not None:
            self._stale.add(served.relay_id)
        if not self._stale:
            return
        stale = list(self._stale)
        done = await asyncio.gather(
            self._apply_edge(), *map(self._publish, stale), return_exceptions=True
        )
        self._stale.difference_update(stale)
        for one in done:
            if isinstance(one, BaseException):
                raise one

    def _settle(self, exposure: Exposure) -> None:
        """Show what a relay's coming and going means for something that is on."""
        tunnel = self._tunnels.get(exposure.relay_id)
        service_id = exposure.service_id
        if tunnel is None or not tunnel.is_published:
            self._set(service_id, Phase.WAITING)
        elif exposure.hostname in tunnel.refused:
            reason = tunnel.refused[exposure.hostname]
            problem = Problem("relay_refused", reason)
            self._set(service_id, Phase.FAILED, problem)
        else:
            self._set(service_id, Phase.LIVE)

    def _set(
        self, service_id: str, phase: Phase, problem: Problem | None = None
    ) -> None:
        old = self.status(service_id)
        served = self._on.get(service_id)
        since = old.since if old.phase is phase else time.time()
        expires = served.certificate.not_after if served else None
        status = Status(phase, since, problem, expires)
        if status != old:
            self._statuses[service_id] = status
            self._on_change(service_id)


def _check_grant(exposure: Exposure, tunnel: Tunnel) -> None:
    domains = tunnel.status.domains
    name = exposure.hostname
    if not any(name == one or name.endswith("." + one) for one in domains):
        raise HostnameNotGrantedError(
            hostname=name, allowed=", ".join(domains), first=domains[0]
        )


def _is_another(served: _Served, exposure: Exposure) -> bool:
    """Tell whether what is served is not what an exposure asks for any more."""
    return (
        served.certificate.hostname != exposure.hostname
        or served.relay_id != exposure.relay_id
    )
