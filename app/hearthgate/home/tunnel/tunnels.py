"""The tunnels of a home: one for each relay that it has joined.

Owns their tasks. Says on which relay a hostname is shown; decides nothing about what is
public.
"""

import asyncio
from collections.abc import Callable
import contextlib
import functools
import logging
from pathlib import Path
import random
import time

from hearthgate.home.errors import RelayUnknownError
from hearthgate.home.model import Bytes, Target
from hearthgate.home.settings import TunnelOptions as PoolOptions
from hearthgate.home.state.state import Membership
from hearthgate.home.tunnel.identity import Identity
from hearthgate.home.tunnel.pool import HandOver
from hearthgate.home.tunnel.streams import TcpTarget
from hearthgate.home.tunnel.tunnel import Tunnel, TunnelOptions, TunnelStatus
from hearthgate.shared.net.poller import Poller
from hearthgate.shared.process.tasks import Tasks
from hearthgate.wire.messages import Forward

_LOGGER = logging.getLogger(__name__)


class Tunnels:
    """Tunnels by relay id. Lives in one loop."""

    def __init__(
        self,
        folder: Path,
        options: PoolOptions,
        *,
        poller: Poller,
        hand_over: HandOver,
        on_status: Callable[[str, TunnelStatus], None],
        rng: random.Random,
        find_target: Callable[[str, int], Target | None] = lambda _relay, _port: None,
        find_tcp_target: Callable[[str, int], TcpTarget | None] = (
            lambda _relay, _port: None
        ),
        machine: str = "",
    ) -> None:
        """Say to relays that this is the given machine; see TunnelOptions."""
        self._find_target = find_target
        self._find_tcp_target = find_tcp_target
        self._machine = machine
        self.folder = folder
        self._options = options
        self._poller = poller
        self._hand_over = hand_over
        self._on_status = on_status
        self._rng = rng
        self._tunnels: dict[str, Tunnel] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks()
        # Ending a tunnel takes a while; a second one that was started meanwhile would
        # leave the first without an owner.
        self._changing = asyncio.Lock()

    def get(self, relay_id: str) -> Tunnel | None:
        """Return a relay's tunnel."""
        return self._tunnels.get(relay_id)

    def named(self, relay_id: str) -> Tunnel:
        """Return a relay's tunnel. Raises RelayUnknownError."""
        tunnel = self._tunnels.get(relay_id)
        if tunnel is None:
            raise RelayUnknownError
        return tunnel

    @property
    def visitors(self) -> int:
        """How many visitors of forwards there are."""
        return sum(one.visitors for one in self._tunnels.values())

    def moved(self, relay_id: str, forward: Forward) -> Bytes | None:
        """Return the bytes of a forward; None if there was no visitor yet."""
        tunnel = self._tunnels.get(relay_id)
        return tunnel.moved(forward) if tunnel else None

    async def start(
        self,
        relay: Membership,
        hostnames: tuple[str, ...],
        forwards: tuple[Forward, ...] = (),
    ) -> None:
        """Connect to a relay, instead of how it was connected before."""
        async with self._changing:
            await self._stop(relay.id)
            self._start(relay, hostnames, forwards)

    def _start(
        self,
        relay: Membership,
        hostnames: tuple[str, ...],
        forwards: tuple[Forward, ...],
    ) -> None:
        tunnel = Tunnel(
            TunnelOptions(
                relay_id=relay.id,
                host=relay.host,
                port=relay.port,
                fingerprint=bytes.fromhex(relay.fingerprint),
                channels_min=self._options.channels_min,
                channels_max=self._options.channels_max,
                machine=self._machine,
                seals=self._options.seal,
            ),
            Identity(self.folder / relay.id),
            poller=self._poller,
            hand_over=self._hand_over,
            on_status=lambda status: self._on_status(relay.id, status),
            clock=time.monotonic,
            wall_clock=time.time,
            rng=self._rng,
            find_target=functools.partial(self._find_target, relay.id),
            find_tcp_target=functools.partial(self._find_tcp_target, relay.id),
        )
        tunnel.hostnames = hostnames
        tunnel.forwards = forwards
        self._tunnels[relay.id] = tunnel
        self._running[relay.id] = self._tasks.start(
            tunnel.run(), f"tunnel to {relay.host}"
        )

    async def stop(self, relay_id: str) -> None:
        """Disconnect from a relay; nothing happens if there is none."""
        async with self._changing:
            await self._stop(relay_id)

    async def _stop(self, relay_id: str) -> None:
        self._tunnels.pop(relay_id, None)
        task = self._running.pop(relay_id, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def forget(self, relay_id: str) -> None:
        """Disconnect, and delete this home's key for the relay."""
        await self.stop(relay_id)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(Identity(self.folder / relay_id).remove)

    async def close(self) -> None:
        """Disconnect from all."""
        self._tunnels.clear()
        self._running.clear()
        await self._tasks.close()
