"""Bring the forwards of a home to where the user wants them, and keep them there.

    on:   edge carries the port ─▶ relay listens ─▶ live
    off:  relay (cuts at once) ─▶ edge

All forwards are brought in line together, by one task, whenever a wish, an address or a
relay has changed. There are no certificates to wait for; those of sealed channels come
with the pairing. UDP does not pass the edge: see datagrams.py.
"""

import asyncio
from collections.abc import Callable
import contextlib
import logging
from pathlib import Path
import time

from hearthgate.errors import HearthgateError
from hearthgate.home.edge import Edge
from hearthgate.home.edge import Forward as EdgeForward
from hearthgate.home.home_store import HomeStore
from hearthgate.home.model import Exposure, Phase, Problem, Scheme, Status
from hearthgate.home.tunnel.errors import RelayTooOldError
from hearthgate.home.tunnel.identity import Identity
from hearthgate.home.tunnel.tunnel import Tunnel, TunnelState
from hearthgate.home.tunnels import Tunnels
from hearthgate.tasks import Tasks
from hearthgate.wire.control import Forward
from hearthgate.wire.ports import Protocol

_LOGGER = logging.getLogger(__name__)
_RETRY_S = 30.0  # after something that may mend itself


def forward_of(exposure: Exposure) -> Forward:
    """Return what an exposure by port asks of its relay."""
    return Forward(Protocol(exposure.target.scheme.value), exposure.public_port)


class Forwarder:
    """The forwards of a home. Lives in one loop."""

    def __init__(
        self,
        store: HomeStore,
        tunnels: Tunnels,
        edge: Edge,
        *,
        on_change: Callable[[str], None],
    ) -> None:
        self._store = store
        self._tunnels = tunnels
        self._edge = edge
        self._on_change = on_change
        self._statuses: dict[str, Status] = {}
        self._changed = asyncio.Event()
        self._edge_problem: HearthgateError | None = None
        self._tasks = Tasks()

    def status(self, service_id: str) -> Status:
        """Return how far an exposure has come."""
        return self._statuses.get(service_id) or Status(Phase.OFF, 0.0)

    def forwards(self, relay_id: str) -> tuple[Forward, ...]:
        """Return what is to be declared at a relay."""
        return tuple(
            sorted(
                forward_of(one)
                for one in self._store.value.forwards
                if one.relay_id == relay_id and one.enabled
            )
        )

    def start(self) -> None:
        """Begin to keep everything in line."""
        self._tasks.start(self._keep(), "forwards")
        self._changed.set()

    async def close(self) -> None:
        """Stop; what is live stays until edge and tunnels end."""
        await self._tasks.close()

    def wish_changed(self, service_id: str) -> None:
        """Bring everything to what the store says now."""
        exposure = self._store.value.exposure(service_id)
        if exposure is None or not exposure.public_port:
            self._statuses.pop(service_id, None)
        else:
            on = Phase.SWITCHING_ON if exposure.enabled else Phase.SWITCHING_OFF
            self._set(service_id, on)
        self._changed.set()

    def relay_changed(self, relay_id: str) -> None:
        """Take that a relay came, went or answered."""
        for exposure in self._store.value.forwards:
            if exposure.relay_id == relay_id and exposure.enabled:
                self._changed.set()

    def moved(self) -> None:
        """Serve forwards at the addresses that the store says now."""
        self._changed.set()

    # --- the one task -----------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._bring_in_line()
            if self._edge_problem is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(_RETRY_S, self._changed.set)

    async def _bring_in_line(self) -> None:
        """Take away at the relays first, then change the edge, then add."""
        relays = [one.id for one in self._store.value.relays]
        for relay_id in relays:
            wanted = self.forwards(relay_id)
            tunnel = self._tunnels.get(relay_id)
            if tunnel is not None and set(tunnel.forwards) - set(wanted):
                kept = tuple(one for one in tunnel.forwards if one in wanted)
                await self._declare(tunnel, kept)
        self._edge_problem = None
        try:
            found = await asyncio.to_thread(self._edge_forwards)
            await self._edge.apply_forwards(found)
        except HearthgateError as err:
            self._edge_problem = err
            _LOGGER.warning("%s %s", err, err.advice)
        for relay_id in relays:
            tunnel = self._tunnels.get(relay_id)
            wanted = self.forwards(relay_id)
            if tunnel is not None and (
                set(tunnel.forwards) != set(wanted)
                or any(str(one) in tunnel.refused_forwards for one in wanted)
            ):
                await self._declare(tunnel, wanted)
        for exposure in self._store.value.forwards:
            self._settle(exposure)

    async def _declare(self, tunnel: Tunnel, forwards: tuple[Forward, ...]) -> None:
        with contextlib.suppress(HearthgateError):  # told by `_settle`
            await tunnel.declare(forwards)

    def _edge_forwards(self) -> list[EdgeForward]:
        """Return what the edge shall carry. Blocking."""
        found = []
        for one in self._store.value.forwards:
            identity = Identity(self._tunnels.folder / one.relay_id)
            if (
                one.enabled
                and one.target.scheme is Scheme.TCP
                and _all_exist(identity.relay_path, identity.path)
            ):
                found.append(
                    EdgeForward(
                        relay_id=one.relay_id,
                        port=one.public_port,
                        target=one.target,
                        tells_visitor=one.tells_visitor,
                        identity=identity.path,
                        relay_certificate=identity.relay_path,
                    )
                )
        return found

    def _settle(self, exposure: Exposure) -> None:
        """Show what came of it."""
        service_id = exposure.service_id
        tunnel = self._tunnels.get(exposure.relay_id)
        if not exposure.enabled:
            self._set(service_id, Phase.OFF)
        elif tunnel is None or tunnel.status.state is not TunnelState.CONNECTED:
            self._set(service_id, Phase.WAITING)
        elif not tunnel.status.can_forward:
            self._set(service_id, Phase.FAILED, _too_old())
        elif self._edge_problem is not None and exposure.target.scheme is Scheme.TCP:
            err = self._edge_problem
            retry_at = time.time() + _RETRY_S
            problem = Problem(err.code, str(err), err.advice, retry_at)
            self._set(service_id, Phase.FAILED, problem)
        elif not tunnel.has_declared:
            self._set(service_id, Phase.WAITING)
        else:
            why = tunnel.refused_forwards.get(str(forward_of(exposure)))
            if why is None:
                self._set(service_id, Phase.LIVE)
            else:
                self._set(service_id, Phase.FAILED, Problem("relay_refused", why))

    def _set(
        self, service_id: str, phase: Phase, problem: Problem | None = None
    ) -> None:
        old = self.status(service_id)
        since = old.since if old.phase is phase else time.time()
        status = Status(phase, since, problem)
        if status != old:
            self._statuses[service_id] = status
            self._on_change(service_id)


def _all_exist(*paths: Path) -> bool:
    return all(path.exists() for path in paths)


def _too_old() -> Problem:
    err = RelayTooOldError()
    return Problem(err.code, str(err), err.advice)
