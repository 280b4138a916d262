"""Bring the forwards of a home to where the user wants them, and keep them there.

    on:   relay listens ─▶ live
    off:  relay listens no more, and cuts at once

All forwards are brought in line together, by one task, whenever a wish, an address or a
relay has changed. There are no certificates to wait for. The edge has no part in it:
tunnel/streams.py carries TCP, tunnel/datagrams.py UDP.
"""

import asyncio
from collections.abc import Callable
import contextlib
import time

from hearthgate.errors import HearthgateError
from hearthgate.home.model import Exposure, Phase, Problem, Status
from hearthgate.home.state.current_state import HomeStore
from hearthgate.home.tunnel.errors import RelayRefusedError, RelayTooOldError
from hearthgate.home.tunnel.tunnel import Tunnel, TunnelState
from hearthgate.home.tunnel.tunnels import Tunnels
from hearthgate.shared.process.tasks import Tasks
from hearthgate.wire.messages import Forward
from hearthgate.wire.ports import Protocol


def forward_of(exposure: Exposure) -> Forward:
    """Return what an exposure by port asks of its relay."""
    return Forward(Protocol(exposure.target.scheme.value), exposure.public_port)


class Forwarder:
    """The forwards of a home. Lives in one loop."""

    def __init__(
        self,
        store: HomeStore,
        tunnels: Tunnels,
        *,
        on_change: Callable[[str], None],
    ) -> None:
        self._store = store
        self._tunnels = tunnels
        self._on_change = on_change
        self._statuses: dict[str, Status] = {}
        self._changed = asyncio.Event()
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

    async def _bring_in_line(self) -> None:
        """Declare at each relay what the store says, and show what came of it."""
        for relay in self._store.value.relays:
            tunnel = self._tunnels.get(relay.id)
            wanted = self.forwards(relay.id)
            if tunnel is None:
                continue
            tunnel.targets_changed()
            if set(tunnel.forwards) != set(wanted) or any(
                str(one) in tunnel.refused_forwards for one in wanted
            ):
                await self._declare(tunnel, wanted)
        for exposure in self._store.value.forwards:
            self._settle(exposure)

    async def _declare(self, tunnel: Tunnel, forwards: tuple[Forward, ...]) -> None:
        with contextlib.suppress(HearthgateError):  # told by `_settle`
            await tunnel.declare(forwards)

    def _settle(self, exposure: Exposure) -> None:
        """Show what came of it.

        What was wished while the relay was asked is not declared yet: the next round
        tells.
        """
        service_id, relay_id = exposure.service_id, exposure.relay_id
        tunnel = self._tunnels.get(relay_id)
        forward = forward_of(exposure)
        is_wanted = exposure.enabled or forward in self.forwards(relay_id)
        if tunnel is not None and (forward in tunnel.forwards) != is_wanted:
            return
        if not exposure.enabled:
            self._set(service_id, Phase.OFF)
        elif tunnel is None or tunnel.status.state is not TunnelState.CONNECTED:
            self._set(service_id, Phase.WAITING)
        elif not tunnel.status.can_forward:
            self._set(service_id, Phase.FAILED, Problem.of(RelayTooOldError()))
        elif not tunnel.has_declared:
            self._set(service_id, Phase.WAITING)
        else:
            why = tunnel.refused_forwards.get(str(forward))
            if why is None:
                self._set(service_id, Phase.LIVE)
            else:
                err = RelayRefusedError(message=why, hint="")
                self._set(service_id, Phase.FAILED, Problem.of(err))

    def _set(
        self, service_id: str, phase: Phase, problem: Problem | None = None
    ) -> None:
        old = self.status(service_id)
        since = old.since if old.phase is phase else time.time()
        status = Status(phase, since, problem)
        if status != old:
            self._statuses[service_id] = status
            self._on_change(service_id)
