"""Bring each exposure to where the user wants it, and keep it there.

    on:   relay connected? ─▶ DNS ─▶ order ─▶ proof ─▶ edge ─▶ relay ─▶ visit ─▶ live
    off:  relay (cuts its visitors) and edge, both at once

One job per exposure at a time; a new wish ends the old job. Jobs of different
exposures share the edge, which takes one change after the other, and nothing else.
What has a certificate and a relay is on at once after a start, without any job.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
import contextlib
from dataclasses import dataclass
import logging
from pathlib import Path
import time

from hearthgate.errors import HearthgateError
from hearthgate.home.certificates import Certificate, Certificates, Step
from hearthgate.home.edge import Edge, Route
from hearthgate.home.errors import (
    ExposureBugError,
    HostnameNotGrantedError,
    RelayForgottenError,
)
from hearthgate.home.exposures.grant import check_grant
from hearthgate.home.exposures.self_check import visit
from hearthgate.home.model import Exposure, Phase, Problem, Status
from hearthgate.home.state.current_state import HomeStore
from hearthgate.home.tunnel.errors import RelayAwayError, RelayRefusedError
from hearthgate.home.tunnel.tunnel import Tunnel, TunnelState
from hearthgate.home.tunnel.tunnels import Tunnels
from hearthgate.shared.process.tasks import Tasks
from hearthgate.wire.constants import DEFAULT_RELAY_PORT

_LOGGER = logging.getLogger(__name__)

RETRY_S = (10.0, 60.0, 600.0, 3600.0)
Visit = Callable[[str, int, str, Path], Awaitable[int | None]]


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
        visit: Visit = visit,
        retry_s: Sequence[float] = RETRY_S,
    ) -> None:
        """Take the parts; none of them is closed here.

        visit proves that a hostname leads here, see self_check.py. retry_s: how long to
        wait after failures of what may mend itself; the last one repeats.
        """
        self._store = store
        self._tunnels = tunnels
        self._edge = edge
        self._certificates = certificates
        self._on_change = on_change
        self._visit = visit
        self._retry_s = retry_s
        self._on: dict[str, _Served] = {}  # by service id
        self._unproven: set[str] = set()  # of these, what the edge has not taken yet
        self._statuses: dict[str, Status] = {}
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._failures: dict[str, int] = {}
        self._granted: dict[str, tuple[str, ...]] = {}  # by id of a connected relay
        # By service id: relay ids that may still show what is not on any more.
        self._stale: dict[str, set[str]] = {}
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
                if one.relay_id == relay_id and self._is_served(one)
            )
        )

    def _is_served(self, exposure: Exposure) -> bool:
        """Tell whether an exposure is on as it is wanted now, not as it was before."""
        served = self._on.get(exposure.service_id)
        return served is not None and not _is_another(served, exposure)

    async def start(self) -> None:
        """Serve all that has a certificate; begin jobs for the rest."""
        state = self._store.value
        wanted = [one for one in state.sites if one.enabled]
        for exposure in wanted:
            certificate = self._certificates.get(exposure.hostname)
            if certificate is not None and state.relay(exposure.relay_id) is not None:
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
        has_news = self._has_news(relay_id)
        for exposure in self._store.value.sites:
            service_id = exposure.service_id
            if exposure.relay_id != relay_id or not exposure.enabled:
                continue
            status = self.status(service_id)
            may_help = has_news and self._may_help(service_id, status.problem)
            if status.phase is Phase.FAILED and may_help:
                self._begin(service_id)  # also if a job waits for its next try
            elif service_id in self._on and service_id not in self._jobs:
                self._settle(exposure)
            elif status.phase is Phase.WAITING:
                self._begin(service_id)

    def _has_news(self, relay_id: str) -> bool:
        """Tell whether a relay has come, or has changed its grant, since we looked."""
        tunnel = self._tunnels.get(relay_id)
        if tunnel is None or not _is_up(tunnel):
            self._granted.pop(relay_id, None)
            return False
        domains = tunnel.status.domains
        before = self._granted.get(relay_id)
        self._granted[relay_id] = domains
        return before != domains

    def _may_help(self, service_id: str, problem: Problem | None) -> bool:
        """Tell whether a new session or grant could mend a failure.

        It could if the way through the relay failed, or if nothing else would ever try
        again. A certificate that was refused is no nearer than before.
        """
        if service_id in self._on or problem is None or problem.retry_at is None:
            return True
        return problem.code == RelayRefusedError.code

    async def renewed(self, certificate: Certificate) -> None:
        """Serve a new certificate, or go on where there was none before."""
        for exposure in self._store.value.sites:
            if exposure.hostname != certificate.hostname or not exposure.enabled:
                continue
            service_id = exposure.service_id
            if service_id in self._on:
                self._on[service_id] = _Served(certificate, exposure.relay_id)
                await self._refresh(service_id)
                self._show_renewal(service_id)
                self._on_change(service_id)
            elif service_id not in self._jobs:
                self._begin(service_id)

    def not_renewed(self, hostname: str) -> None:
        """Show why a certificate could not be renewed, while it still serves."""
        for exposure in self._store.value.sites:
            if exposure.hostname == hostname:
                self._show_renewal(exposure.service_id)

    def _show_renewal(self, service_id: str) -> None:
        if self.status(service_id).phase is Phase.LIVE:
            self._set(service_id, Phase.LIVE)

    async def moved(self, service_id: str) -> None:
        """Serve an exposure at the address that the store says now."""
        if service_id in self._on:
            await self._refresh(service_id)

    async def _refresh(self, service_id: str) -> None:
        """Bring to the edge what has changed; if it fails, a job tries again."""
        try:
            await self._apply_edge()
        except HearthgateError as err:
            _LOGGER.warning("%s: %s %s", service_id, err, err.advice)
            self._begin(service_id)

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
        """Switch on or off as the store says, until that has worked or cannot."""
        while True:
            exposure = self._store.value.exposure(service_id)
            try:
                if exposure is None or not exposure.enabled:
                    await self._switch_off(service_id)
                else:
                    await self._switch_on(exposure)
            except HearthgateError as err:
                delay_s = self._failed(service_id, exposure, err)
            except Exception as err:  # a bug must not leave it as it is for good
                _LOGGER.exception("%s: ended by a bug", service_id)
                bug = ExposureBugError(reason=type(err).__name__)
                delay_s = self._failed(service_id, exposure, bug)
            else:
                self._failures.pop(service_id, None)
                return
            if delay_s is None:
                return
            await asyncio.sleep(delay_s)

    async def _switch_on(self, exposure: Exposure) -> None:
        service_id = exposure.service_id
        served = self._on.get(service_id)
        if served is not None and _is_another(served, exposure):
            # Before anything is awaited: the new hostname must not be shown as live.
            self._set(service_id, Phase.SWITCHING_ON)
            self._drop(service_id)
        await self._clear(service_id)
        tunnel = self._tunnels.get(exposure.relay_id)
        if tunnel is None:
            if self._store.value.relay(exposure.relay_id) is None:
                raise RelayForgottenError
            raise RelayAwayError  # not started yet; `relay_changed` goes on
        if not await self._is_connected(exposure, tunnel):
            return
        check_grant(exposure.hostname, tunnel.status.domains)
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
        await self._visit(address, port, exposure.hostname, certificate.path)
        self._set(service_id, Phase.LIVE)
        _LOGGER.info("%s: Live, leading to %s", exposure.hostname, exposure.target.url)

    async def _is_connected(self, exposure: Exposure, tunnel: Tunnel) -> bool:
        """Tell whether the relay is there; if not, leave it as far as it can be.

        `relay_changed` goes on then. It leaves alone what has a job, so nothing may be
        awaited between the last look at the relay and the end of this job.
        """
        if _is_up(tunnel):
            return True
        certificate = self._certificates.get(exposure.hostname)
        if certificate is not None:
            await self._serve(exposure, certificate)
            await self._publish(exposure.relay_id)
        if _is_up(tunnel):
            return True
        self._set(exposure.service_id, Phase.WAITING)
        return False

    async def _switch_off(self, service_id: str) -> None:
        exposure = self._store.value.exposure(service_id)
        self._tried.discard(service_id)
        self._look_after()
        if service_id in self._on:
            self._set(service_id, Phase.SWITCHING_OFF)
        self._drop(service_id)
        try:
            await self._clear(service_id)
        except HearthgateError as err:
            _LOGGER.warning("%s: Switched off, but: %s %s", service_id, err, err.advice)
        self._set(service_id, Phase.OFF)
        if exposure is None:
            self._statuses.pop(service_id, None)
        else:
            _LOGGER.info("%s: Off", exposure.hostname)

    def _failed(
        self, service_id: str, exposure: Exposure | None, err: HearthgateError
    ) -> float | None:
        """Show why it failed; return when to try again, None for never by itself."""
        if isinstance(err, RelayAwayError):
            self._set(service_id, Phase.WAITING)
            return None
        hostname = exposure.hostname if exposure else service_id
        _LOGGER.warning("%s: %s %s", hostname, err, err.advice)
        if isinstance(err, RelayForgottenError):
            self._set(service_id, Phase.WAITING, Problem.of(err))
            return None
        renewal = self._certificates.problem(hostname) if exposure else None
        count = self._failures.get(service_id, 0)
        self._failures[service_id] = count + 1
        retry_at: float | None = None
        delay_s: float | None = None
        if renewal is not None and service_id not in self._on:
            retry_at = renewal.retry_at  # the renewal timer goes on, see `renewed`
        elif not isinstance(err, HostnameNotGrantedError):
            delay_s = self._retry_s[min(count, len(self._retry_s) - 1)]
            retry_at = time.time() + delay_s
        self._set(service_id, Phase.FAILED, Problem.of(err, retry_at))
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
        if before is None:
            self._unproven.add(service_id)  # stays if this job is ended meanwhile
        self._on[service_id] = _Served(certificate, exposure.relay_id)
        try:
            await self._apply_edge()
        except HearthgateError:
            if before is None or service_id in self._unproven:
                del self._on[service_id]
                self._unproven.discard(service_id)
            else:
                self._on[service_id] = before
            raise
        self._unproven.discard(service_id)

    async def _apply_edge(self) -> None:
        await self._edge.apply(
            [
                self._route(exposure)
                for exposure in self._store.value.sites
                if self._is_served(exposure)
            ]
        )

    def _route(self, exposure: Exposure) -> Route:
        relay = self._store.value.relay(exposure.relay_id)
        return Route(
            hostname=exposure.hostname,
            target=exposure.target,
            certificate=self._on[exposure.service_id].certificate.path,
            access=exposure.access,
            name=exposure.name,
            public_port=relay.port if relay else DEFAULT_RELAY_PORT,
            tells_visitor=exposure.tells_visitor,
            protocols=exposure.protocols,
        )

    async def _publish(self, relay_id: str) -> None:
        tunnel = self._tunnels.get(relay_id)
        if tunnel is not None:
            with contextlib.suppress(RelayAwayError):
                await tunnel.publish(self.hostnames(relay_id))

    def _drop(self, service_id: str) -> None:
        """Want a service to be served no longer; `_clear` sees to it."""
        served = self._on.pop(service_id, None)
        self._unproven.discard(service_id)
        if served is not None:
            self._stale.setdefault(service_id, set()).add(served.relay_id)

    async def _clear(self, service_id: str) -> None:
        """Take off what was dropped of a service, at the edge and at its relay.

        At both at once, because a relay that is slow to answer must not keep visitors
        inside. Does what a job that was ended in the middle of this has left to do.
        """
        stale = list(self._stale.get(service_id, ()))
        if not stale:
            return
        done = await asyncio.gather(
            self._apply_edge(), *map(self._publish, stale), return_exceptions=True
        )
        for relay_id, published in zip(stale, done[1:], strict=True):
            if published is None:
                self._stale[service_id].discard(relay_id)
        if not self._stale[service_id]:
            del self._stale[service_id]
        for one in done:
            if one is not None:
                raise one

    def _settle(self, exposure: Exposure) -> None:
        """Show what a relay's coming and going means for something that is on."""
        tunnel = self._tunnels.get(exposure.relay_id)
        service_id = exposure.service_id
        if tunnel is None or not tunnel.is_published:
            self._set(service_id, Phase.WAITING)
        elif exposure.hostname in tunnel.refused:
            err = RelayRefusedError(message=tunnel.refused[exposure.hostname], hint="")
            self._set(service_id, Phase.FAILED, Problem.of(err))
        else:
            self._set(service_id, Phase.LIVE)

    def _set(
        self, service_id: str, phase: Phase, problem: Problem | None = None
    ) -> None:
        old = self.status(service_id)
        served = self._on.get(service_id)
        since = old.since if old.phase is phase else time.time()
        expires = served.certificate.not_after if served else None
        if served is not None and phase is Phase.LIVE:  # of its renewal, if any
            problem = self._certificates.problem(served.certificate.hostname)
        status = Status(phase, since, problem, expires)
        if status != old:
            self._statuses[service_id] = status
            self._on_change(service_id)


def _is_up(tunnel: Tunnel) -> bool:
    return tunnel.status.state is TunnelState.CONNECTED


def _is_another(served: _Served, exposure: Exposure) -> bool:
    """Tell whether what is served is not what an exposure asks for any more."""
    return (
        served.certificate.hostname != exposure.hostname
        or served.relay_id != exposure.relay_id
    )
