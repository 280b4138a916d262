"""Forwards are brought in line with what the store says; the relay may be slow."""

import asyncio
from collections.abc import AsyncIterator
import contextlib
from dataclasses import replace
from typing import cast

import pytest

from hearthgate.home.exposures.port_forwards import Forwarder, forward_of
from hearthgate.home.model import Exposure, Phase, Scheme, Target
from hearthgate.home.state.current_state import HomeStore
from hearthgate.home.state.state import HomeState
from hearthgate.home.tunnel.tunnels import Tunnels
from hearthgate.wire.messages import Forward
from tests.support.exposure_parts import RELAY, FakeStatus
from tests.support.relay_parts import until

GAME = Exposure(
    service_id="game",
    name="Game",
    target=Target(Scheme.TCP, "127.0.0.1", 1),
    relay_id=RELAY.id,
    hostname="",
    enabled=True,
    public_port=25565,
)
SHELL = replace(GAME, service_id="shell", public_port=2222)


class SlowRelay:
    """A tunnel whose relay answers when `gate` is open; `listens` to what it took."""

    def __init__(self) -> None:
        self.status = FakeStatus()
        self.has_declared = False
        self.forwards: tuple[Forward, ...] = ()
        self.refused_forwards: dict[str, str] = {}
        self.listens: tuple[Forward, ...] = ()
        self.gate = asyncio.Event()
        self.asked = asyncio.Event()

    def targets_changed(self) -> None:
        """Take what needs no doing here."""

    async def declare(self, forwards: tuple[Forward, ...]) -> dict[str, str]:
        self.forwards = forwards
        self.asked.set()
        await self.gate.wait()
        self.listens = forwards
        self.has_declared = True
        return {}


class PlayedStore:
    def __init__(self, *exposures: Exposure) -> None:
        self.value = HomeState(relays=(RELAY,), exposures=exposures)


@contextlib.asynccontextmanager
async def keeping(store: PlayedStore, relay: SlowRelay) -> AsyncIterator[Forwarder]:
    """Run a forwarder that notes what it said while it was not true."""
    lies: list[str] = []

    def look(service_id: str) -> None:
        exposure = store.value.exposure(service_id)
        assert exposure is not None
        phase, listens = forwarder.status(service_id).phase, forward_of(exposure)
        if (phase is Phase.LIVE and listens not in relay.listens) or (
            phase is Phase.OFF and listens in relay.listens
        ):
            lies.append(f"{service_id} is {phase}")

    tunnels = cast("Tunnels", {RELAY.id: relay})
    forwarder = Forwarder(cast("HomeStore", store), tunnels, on_change=look)
    forwarder.start()
    try:
        yield forwarder
    finally:
        await forwarder.close()
    assert not lies


@pytest.mark.parametrize("enabled", [True, False])
async def test_what_is_wished_while_the_relay_is_asked_waits_for_the_next_answer(
    *, enabled: bool
) -> None:
    shell = replace(SHELL, enabled=not enabled)
    store, relay = PlayedStore(GAME, shell), SlowRelay()
    async with asyncio.timeout(30), keeping(store, relay) as forwarder:
        if not enabled:
            relay.gate.set()
            await until(lambda: forwarder.status("shell").phase is Phase.LIVE)
            relay.gate.clear()
            relay.asked.clear()
            store.value = HomeState(relays=(RELAY,), exposures=(shell,))
            forwarder.wish_changed("game")
        await relay.asked.wait()
        store.value = HomeState(
            relays=(RELAY,), exposures=(GAME, replace(shell, enabled=enabled))
        )
        forwarder.wish_changed("shell")
        relay.gate.set()
        wanted = Phase.LIVE if enabled else Phase.OFF
        await until(lambda: forwarder.status("shell").phase is wanted)
        assert (forward_of(shell) in relay.listens) == enabled
