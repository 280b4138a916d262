"""The tunnel against a scripted control endpoint: what it makes of each kind of no."""

import asyncio
from collections.abc import AsyncIterator
import contextlib
from dataclasses import replace
from pathlib import Path
import random
import socket
import time

from aiohttp import web
import pytest

from hearthgate.home.tunnel.tunnel import (
    Tunnel,
    TunnelOptions,
    TunnelState,
    TunnelStatus,
)
from hearthgate.shared.net.poller import Poller
from hearthgate.wire import messages
from hearthgate.wire.messages import GoodbyeReason
from tests.support.relay_parts import until
from tests.unit.home.tunnel.stub_relay import StubRelay, hold


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[StubRelay]:
    async with StubRelay(tmp_path) as made:
        yield made


@pytest.fixture(params=[{}])
async def tunnel(
    relay: StubRelay, request: pytest.FixtureRequest
) -> AsyncIterator[Tunnel]:
    """Make a tunnel; `running` runs it. The parameter: options more."""
    poller = Poller(asyncio.get_running_loop())
    options = TunnelOptions("r", "127.0.0.1", relay.port, relay.fingerprint, 1, 1)
    made = Tunnel(
        replace(options, **request.param),
        relay.identity,
        poller=poller,
        hand_over=socket.socket.close,
        on_status=lambda _status: None,
        clock=time.monotonic,
        wall_clock=time.time,
        rng=random.Random(1),
    )
    yield made
    poller.close()


@contextlib.asynccontextmanager
async def running(tunnel: Tunnel) -> AsyncIterator[list[TunnelStatus]]:
    """Run a tunnel and give what it says of itself."""
    said: list[TunnelStatus] = []
    tunnel._on_status = said.append
    task = asyncio.create_task(tunnel.run())
    try:
        yield said
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def rested(said: list[TunnelStatus]) -> TunnelStatus | None:
    """Return the first state in which the tunnel rests."""
    resting = {TunnelState.WAITING, TunnelState.REFUSED}
    return next((one for one in said if one.state in resting), None)


async def rest(said: list[TunnelStatus]) -> tuple[TunnelState, str, float]:
    """Return how the tunnel rests: state, code and for how long."""
    await until(lambda: rested(said))
    found = rested(said)
    assert found is not None
    assert found.problem is not None
    assert found.problem.retry_at is not None
    return found.state, found.problem.code, found.problem.retry_at - found.since


async def test_a_home_that_was_revoked_while_it_was_away_is_told_so(
    relay: StubRelay, tunnel: Tunnel
) -> None:
    """A refused handshake once passed for a relay that does not answer."""
    relay.status = 403
    async with running(tunnel) as said:
        state, code, delay_s = await rest(said)
    assert (state, code) == (TunnelState.REFUSED, "home_forgotten")
    assert delay_s > 200
    assert "does not know this home any more" in str(said[-1].problem)
    assert "pair again" in str(said[-1].problem)


async def test_a_relay_in_trouble_is_asked_again_soon(
    relay: StubRelay, tunnel: Tunnel
) -> None:
    relay.status = 500
    async with running(tunnel) as said:
        state, code, delay_s = await rest(said)
    assert (state, code) == (TunnelState.WAITING, "relay_unreachable")
    assert delay_s < 60


@pytest.mark.parametrize(
    ("reason", "state", "code"),
    [
        (GoodbyeReason.REPLACED, TunnelState.WAITING, "relay_replaced"),
        (GoodbyeReason.MISBEHAVED, TunnelState.WAITING, "relay_misbehaved"),
        (GoodbyeReason.STOPPING, TunnelState.WAITING, "relay_stopping"),
        (GoodbyeReason.REVOKED, TunnelState.REFUSED, "home_revoked"),
    ],
)
async def test_each_goodbye_has_its_own_words(
    relay: StubRelay,
    tunnel: Tunnel,
    reason: GoodbyeReason,
    state: TunnelState,
    code: str,
) -> None:
    async def goodbye(socket: web.WebSocketResponse) -> None:
        await socket.send_str(messages.write_message(messages.Goodbye(reason)))
        await hold(socket)

    relay.act = goodbye
    async with running(tunnel) as said:
        found_state, found_code, delay_s = await rest(said)
    assert (found_state, found_code) == (state, code)
    needs_a_person = reason in {GoodbyeReason.REPLACED, GoodbyeReason.REVOKED}
    assert (delay_s > 200) == needs_a_person


async def test_a_home_that_was_replaced_yields_until_a_person_insists(
    relay: StubRelay, tunnel: Tunnel
) -> None:
    """To a relay that knows what that means it comes back soon, so as to be told."""
    relay.features = (messages.Feature.MACHINES,)
    refusals = iter(["home_in_use", "home_moved", "home_moved"])

    async def replaced(socket: web.WebSocketResponse) -> None:
        goodbye = messages.Goodbye(GoodbyeReason.REPLACED)
        await socket.send_str(messages.write_message(goodbye))
        relay.refuse = lambda: next(refusals)

    relay.act = replaced
    async with running(tunnel) as said:
        await until(lambda: said and said[-1].state is TunnelState.REFUSED)
        assert [one.claim for one in relay.hellos] == ["usual", "yields", "yields"]
        assert said[-1].problem is not None
        assert said[-1].problem.code == "home_moved"
        tunnel.reconnect()
        await until(lambda: len(relay.hellos) == 4)
    assert relay.hellos[-1].claim == "insists"


async def test_a_home_is_not_insisted_on_by_reconnecting_for_another_reason(
    relay: StubRelay, tunnel: Tunnel
) -> None:
    relay.status = 500
    async with running(tunnel) as said:
        await rest(said)
        relay.status = 101
        tunnel.reconnect()
        await until(lambda: relay.hellos)
    assert relay.hellos[0].claim == "usual"


@pytest.mark.parametrize("tunnel", [{"seals": True}], indirect=True)
async def test_a_home_that_seals_stays_away_from_a_relay_that_cannot(
    relay: StubRelay, tunnel: Tunnel
) -> None:
    async with running(tunnel) as said:
        await until(lambda: said and said[-1].state is TunnelState.REFUSED)
        assert relay.hellos[-1].seals
        assert said[-1].problem is not None
        assert "too old" in said[-1].problem.message
        relay.features = (messages.Feature.SEALING,)
        tunnel.reconnect()
        await until(lambda: said[-1].state is TunnelState.CONNECTED)


async def test_a_refused_set_of_hostnames_is_not_waited_for(
    relay: StubRelay, tunnel: Tunnel
) -> None:
    async def refuse(socket: web.WebSocketResponse) -> None:
        publish = messages.read_message(await socket.receive_str())
        assert isinstance(publish, messages.Publish)
        no = messages.Refused(publish.id, "too_many_hostnames", "Too many.")
        await socket.send_str(messages.write_message(no))
        await hold(socket)

    relay.act = refuse
    tunnel.hostnames = ("a.home.example.com",)
    async with running(tunnel) as said:
        await until(lambda: tunnel.is_published)
        assert said[-1].state is TunnelState.CONNECTED
        assert relay.sessions == 1


async def test_a_bug_ends_one_session_and_not_the_tunnel(
    relay: StubRelay,
    tunnel: Tunnel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    right = tunnel._hold
    calls = 0

    async def hold_badly(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise LookupError("a bug")
        return await right(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tunnel, "_hold", hold_badly)
    async with running(tunnel) as said:
        assert (await rest(said))[:2] == (TunnelState.WAITING, "tunnel_bug")
        await until(lambda: said[-1].state is TunnelState.CONNECTED)
    assert "Traceback" in caplog.text
    assert relay.sessions == 2


async def test_a_bug_in_who_listens_does_not_end_the_session(
    relay: StubRelay, tunnel: Tunnel, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tunnel):

        def listen(_status: TunnelStatus) -> None:
            raise LookupError("a bug")

        tunnel._on_status = listen
        await until(lambda: tunnel.status.state is TunnelState.CONNECTED)
        await until(lambda: relay.sessions == 1)
        assert tunnel.status.problem is None
    assert "could not be told" in caplog.text
