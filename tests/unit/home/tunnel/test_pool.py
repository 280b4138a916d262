"""The pool against a scripted relay: what is handed over, refused, grown and paused."""

import asyncio
from collections.abc import AsyncIterator, Iterator
import errno
import socket

import pytest

from hearthgate.home.tunnel.pool import ChannelPool, Ticket
from hearthgate.shared.net.poller import Poller
from hearthgate.wire.channel import ChannelKind
from hearthgate.wire.proxy import proxy_header
from tests.support.relay_parts import Clock, until
from tests.unit.home.tunnel.scripted import KEY, PROXY, SESSION, Parked, ScriptedRelay

HELLO = b"\x16\x03\x01 the visitor's own bytes"


@pytest.fixture
def relay() -> Iterator[ScriptedRelay]:
    made = ScriptedRelay()
    yield made
    made.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Edge:
    """Takes what the pool hands over."""

    def __init__(self) -> None:
        self.got: list[socket.socket] = []
        self.sealed: list[tuple[socket.socket, int]] = []

    async def next(self) -> bytes:
        """Return what the edge can read on the next visitor's socket."""
        await until(lambda: self.got)
        with self.got.pop(0) as sock:
            return sock.recv(1000)

    def close(self) -> None:
        for sock in [*self.got, *(sock for sock, _ in self.sealed)]:
            sock.close()


@pytest.fixture
def edge() -> Iterator[Edge]:
    made = Edge()
    yield made
    made.close()


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    made = Poller(asyncio.get_running_loop())
    yield made
    assert len(made) == 0
    made.close()


@pytest.fixture(params=[2])
async def pool(
    relay: ScriptedRelay,
    edge: Edge,
    poller: Poller,
    clock: Clock,
    request: pytest.FixtureRequest,
) -> AsyncIterator[ChannelPool]:
    made = ChannelPool(
        Ticket(SESSION, KEY, relay.address, channels_max=16),
        edge.got.append,
        poller,
        on_sealed=lambda sock, serial: edge.sealed.append((sock, serial)),
        channels_min=request.param,
        channels_max=64,
        clock=clock,
    )
    yield made
    made.close()


async def fill(pool: ChannelPool, relay: ScriptedRelay, count: int) -> list[Parked]:
    pool.fill()
    parked = await relay.take(count)
    await until(lambda: pool.parked == count)
    return parked


async def test_it_parks_channels_with_a_serial_each(
    pool: ChannelPool, relay: ScriptedRelay
) -> None:
    parked = await fill(pool, relay, 2)
    assert sorted(one.serial for one in parked) == [1, 2]
    pool.fill()
    assert relay.nobody_waits()


async def test_an_opened_channel_goes_to_the_edge_with_header_and_bytes(
    pool: ChannelPool, relay: ScriptedRelay, edge: Edge
) -> None:
    parked = await fill(pool, relay, 2)
    await parked[0].send(parked[0].opening() + HELLO)
    assert await edge.next() == PROXY + HELLO
    assert (await relay.next()).serial == 3


async def test_a_sealed_channel_does_not_go_to_the_edge(
    pool: ChannelPool, relay: ScriptedRelay, edge: Edge
) -> None:
    parked = await fill(pool, relay, 2)
    opening = parked[0].opening(flight=b"frames", kind=ChannelKind.SEALED)
    await parked[0].send(opening + b"more")
    await until(lambda: edge.sealed)
    sock, serial = edge.sealed[0]
    assert serial == parked[0].serial
    assert sock.recv(1000) == b"framesmore"
    assert edge.got == []


async def test_a_home_that_seals_takes_no_clear_channel(
    relay: ScriptedRelay, edge: Edge, poller: Poller, clock: Clock
) -> None:
    pool = ChannelPool(
        Ticket(SESSION, KEY, relay.address, channels_max=16),
        edge.got.append,
        poller,
        on_sealed=lambda sock, serial: edge.sealed.append((sock, serial)),
        channels_min=2,
        channels_max=64,
        only_sealed=True,
        clock=clock,
    )
    parked = await fill(pool, relay, 2)
    await parked[0].send(parked[0].opening() + HELLO)
    assert (await relay.next()).serial == 3  # in place of the closed one
    opening = parked[1].opening(flight=b"frames", kind=ChannelKind.SEALED)
    await parked[1].send(opening)
    await until(lambda: edge.sealed)
    assert edge.got == []
    pool.close()


async def test_an_ipv6_visitor_goes_to_the_edge_as_well(
    pool: ChannelPool, relay: ScriptedRelay, edge: Edge
) -> None:
    parked = await fill(pool, relay, 2)
    proxy = proxy_header(("2001:db8::7", 1), ("2001:db8::5", 443))
    await parked[1].send(parked[1].opening(proxy=proxy) + HELLO)
    assert await edge.next() == proxy + HELLO


async def test_an_opening_in_pieces_is_put_together(
    pool: ChannelPool, relay: ScriptedRelay, edge: Edge
) -> None:
    parked = await fill(pool, relay, 2)
    opening = parked[0].opening()
    for byte in opening:
        await parked[0].send(bytes((byte,)))
        await asyncio.sleep(0.001)
    assert await edge.next() == PROXY


async def test_after_an_opening_in_pieces_single_bytes_wake_the_edge(
    pool: ChannelPool, relay: ScriptedRelay, edge: Edge
) -> None:
    """SO_RCVLOWAT is back at one, or HAProxy would wait for more."""
    parked = await fill(pool, relay, 2)
    opening = parked[0].opening()
    await parked[0].send(opening[:30])
    await asyncio.sleep(0.02)
    await parked[0].send(opening[30:])
    await until(lambda: edge.got)
    assert edge.got[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": b"x" * 32},
        {"session": b"t" * 16},
        {"serial": 99},
        {"proxy": PROXY + b"\0"},
        {"proxy": b""},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_forged_opening_is_refused_counted_and_replaced(
    pool: ChannelPool,
    relay: ScriptedRelay,
    edge: Edge,
    wrong: dict[str, bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    parked = await fill(pool, relay, 2)
    for _ in range(2):
        victim = parked.pop()
        await victim.send(victim.opening(**wrong) + HELLO)  # type: ignore[arg-type]
        assert await victim.is_closed()
        parked.insert(0, await relay.next())
    assert pool.forged == 2
    assert edge.got == []
    assert sum("forged" in line for line in caplog.messages) == 1


async def test_an_opening_of_another_channel_is_refused(
    pool: ChannelPool, relay: ScriptedRelay, edge: Edge
) -> None:
    one, other = await fill(pool, relay, 2)
    await other.send(one.opening() + HELLO)
    assert await other.is_closed()
    await one.send(one.opening() + HELLO)
    assert await edge.next() == PROXY + HELLO


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\n\r\n" * 3, b"HGO2" + bytes(60)])
async def test_what_is_no_opening_is_refused(
    pool: ChannelPool, relay: ScriptedRelay, said: bytes
) -> None:
    parked = await fill(pool, relay, 2)
    await parked[0].send(said)
    assert await parked[0].is_closed()
    await until(lambda: pool.forged == 1)


async def test_a_channel_that_ends_within_its_opening_is_replaced(
    pool: ChannelPool, relay: ScriptedRelay, clock: Clock, edge: Edge
) -> None:
    parked = await fill(pool, relay, 2)
    clock.now += 60.0
    await parked[0].send(parked[0].opening()[:40])
    parked[0].close()
    assert (await relay.next()).serial == 3
    assert edge.got == []
    assert pool.forged == 0


@pytest.mark.parametrize("end", [Parked.close, Parked.reset])
async def test_a_channel_that_the_relay_closes_later_is_replaced_at_once(
    pool: ChannelPool, relay: ScriptedRelay, clock: Clock, end: object
) -> None:
    parked = await fill(pool, relay, 2)
    clock.now += 60.0
    assert callable(end)
    end(parked[0])
    assert (await relay.next()).serial == 3


async def test_channels_that_are_closed_at_once_are_replaced_with_a_pause(
    pool: ChannelPool, relay: ScriptedRelay, clock: Clock
) -> None:
    """They used to be dialled again as fast as the line could."""
    for turn in range(4):
        for one in await fill(pool, relay, 2):
            one.close()
        await until(lambda: pool.parked == 0)
        assert relay.nobody_waits(), turn
        pool.sweep()
        assert relay.nobody_waits(), turn
        clock.now += 0.25 * 2**turn
    await fill(pool, relay, 2)


async def test_a_need_dials_for_who_waits_and_more_for_who_comes(
    pool: ChannelPool, relay: ScriptedRelay
) -> None:
    await fill(pool, relay, 2)
    pool.need(3, 0)
    await relay.take(3)
    await until(lambda: pool.parked == 5)
    assert pool.target == 4
    assert relay.nobody_waits()


async def test_a_far_relay_that_asks_again_and_again_is_answered_once(
    pool: ChannelPool, relay: ScriptedRelay, clock: Clock
) -> None:
    """It spoke before it knew of what is parked for less than a round trip."""
    pool.fill()
    clock.now += 0.6  # the round trip that this takes
    await relay.take(2)
    await until(lambda: pool.parked == 2)
    clock.now += 0.7
    pool.need(5, 0)
    target = pool.target
    for _ in range(2):
        clock.now += 0.25
        pool.need(5, 0)  # while they are on their way
    clock.now += 0.1
    await relay.take(5)
    await until(lambda: pool.parked == 7)
    for _ in range(2):
        clock.now += 0.25
        pool.need(5, 0)  # said before the relay had them
    assert relay.nobody_waits()
    assert pool.target == target
    clock.now += 0.25
    pool.need(3, 0)  # the relay knows of all by now, and wants more all the same
    await relay.take(3)


def test_a_ticket_does_not_show_its_key() -> None:
    ticket = Ticket(SESSION, b"secret key" * 3, ("127.0.0.1", 1), 4)
    assert "secret key" not in repr(ticket)


async def test_a_need_names_what_is_stale(
    pool: ChannelPool, relay: ScriptedRelay
) -> None:
    parked = {one.serial: one for one in await fill(pool, relay, 2)}
    pool.need(1, stale_before=2)
    assert await parked[1].is_closed()
    fresh = await relay.take(3)
    await until(lambda: pool.parked == 4)
    assert {one.serial for one in fresh} == {3, 4, 5}
    with pytest.raises(BlockingIOError):
        parked[2].sock.recv(1, socket.MSG_DONTWAIT)


async def test_a_need_cannot_ask_for_more_than_a_home_can_bear(
    pool: ChannelPool, relay: ScriptedRelay
) -> None:
    pool.need(4096, 0)
    await relay.take(128)
    assert relay.nobody_waits()
    await until(lambda: pool.parked == 128)


@pytest.mark.parametrize("pool", [4], indirect=True)
async def test_it_grows_with_visitors_up_to_what_the_relay_allows(
    pool: ChannelPool, relay: ScriptedRelay, edge: Edge
) -> None:
    waiting = await fill(pool, relay, 4)
    targets = []
    for _ in range(4):
        for one in waiting:  # all at once, so that they run out
            one.sock.send(one.opening())
        for _ in waiting:
            await edge.next()
        pool.fill()
        waiting = await relay.take(pool.target)
        await until(lambda: pool.parked == pool.target)
        targets.append(pool.target)
    assert targets[0] > 4
    assert targets == sorted(targets)
    assert targets[-1] == 16


async def test_it_shrinks_when_channels_stay_unused(
    pool: ChannelPool, relay: ScriptedRelay, clock: Clock
) -> None:
    await fill(pool, relay, 2)
    for _ in range(3):
        pool.need(0, 0)
    fresh = await relay.take(14)
    await until(lambda: pool.parked == 16)
    counts = []
    for _ in range(6):
        clock.now += 30.0
        pool.sweep()
        counts.append((pool.target, pool.parked))
    # In the first period there were only two; nobody had left them unused.
    assert counts == [(16, 16), (8, 8), (4, 4), (2, 2), (2, 2), (2, 2)]
    assert relay.nobody_waits()
    kept = max(fresh, key=lambda one: one.serial)
    with pytest.raises(BlockingIOError):
        kept.sock.recv(1, socket.MSG_DONTWAIT)


async def test_channels_are_replaced_when_half_are_gone_and_after_a_while(
    pool: ChannelPool, relay: ScriptedRelay, edge: Edge
) -> None:
    waiting = await fill(pool, relay, 2)
    pool.need(0, 0)
    waiting += await relay.take(2)
    await until(lambda: pool.parked == 4)
    await waiting[0].send(waiting[0].opening())
    await edge.next()
    assert relay.nobody_waits()
    assert pool.parked == 3
    await waiting[1].send(waiting[1].opening())
    await edge.next()
    await relay.take(2)
    await until(lambda: pool.parked == 4)
    await waiting[2].send(waiting[2].opening())
    await edge.next()
    pool.sweep()
    await relay.take(1)
    await until(lambda: pool.parked == 4)


async def test_a_busy_pool_does_not_shrink(
    pool: ChannelPool, relay: ScriptedRelay, clock: Clock, edge: Edge
) -> None:
    waiting = await fill(pool, relay, 2)
    pool.need(0, 0)
    pool.need(0, 0)
    waiting += await relay.take(6)
    await until(lambda: pool.parked == 8)
    for _ in range(4):
        for one in waiting[:5]:
            await one.send(one.opening())
        for _ in range(5):
            await edge.next()
        pool.sweep()
        waiting = waiting[5:] + await relay.take(5)
        await until(lambda: pool.parked == 8)
        clock.now += 30.0
        pool.sweep()
        assert pool.target == 8


async def test_failed_dials_pause_longer_and_longer_and_are_logged_once(
    pool: ChannelPool,
    relay: ScriptedRelay,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    relay.stop_listening()
    pauses = []
    for _ in range(7):
        pool.fill()
        await until(lambda: pool._paused_until > clock.now and not pool._dialling)
        pauses.append(pool._paused_until - clock.now)
        pool.fill()
        assert not pool._dialling
        clock.now = pool._paused_until
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert len([line for line in caplog.messages if "No channel" in line]) == 1
    assert errno.errorcode[errno.ECONNREFUSED] in caplog.text


async def test_visitors_who_wait_end_a_pause(
    pool: ChannelPool, relay: ScriptedRelay, clock: Clock
) -> None:
    for one in await fill(pool, relay, 2):
        one.close()
    await until(lambda: pool.parked == 0)
    assert pool._paused_until > clock.now
    pool.need(1, 0)
    await relay.take(4)


async def test_a_full_pool_ends_the_memory_of_failures(
    pool: ChannelPool, relay: ScriptedRelay, clock: Clock
) -> None:
    for one in await fill(pool, relay, 2):
        one.close()
    await until(lambda: pool.parked == 0)
    clock.now += 1.0
    await fill(pool, relay, 2)
    assert pool._pause_s == 0.25
    pool.sweep()
    assert pool._pause_s == 0.0


async def test_closing_closes_what_was_not_handed_over(
    pool: ChannelPool, relay: ScriptedRelay, edge: Edge
) -> None:
    one, other = await fill(pool, relay, 2)
    await one.send(one.opening() + HELLO)
    await until(lambda: edge.got)
    pool.close()
    assert await other.is_closed()
    assert await edge.next() == PROXY + HELLO
    pool.fill()
    pool.need(5, 0)
    assert pool.parked == 0
