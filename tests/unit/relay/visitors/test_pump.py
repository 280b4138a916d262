"""The pump with real sockets: nothing is lost, added or held back."""

import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
import random
import socket

import pytest

from hearthgate.relay.visitors.pump import BUFFER_BYTES, Carried, Pump
from hearthgate.shared.net.poller import INCOMING, Poller
from tests.support.relay_parts import tcp_pair, unix_pair, until

MIB = 1024 * 1024
SMALL = 4096  # of a buffer that fills up at once


@pytest.fixture
async def pump() -> AsyncIterator[Pump]:
    poller = Poller(asyncio.get_running_loop())
    made = Pump(poller)
    yield made
    made.close()
    assert len(poller) == 0
    poller.close()


class Joined:
    """A visitor and a home with the pump between them."""

    def __init__(
        self, pump: Pump, *, kind: str, unsent: bytes = b"", first: bytes = b"!"
    ) -> None:
        make = tcp_pair if kind == "tcp" else unix_pair
        self.visitor, inner_visitor = make()
        self.home, inner_channel = make()
        self.done: list[Carried] = []
        pump.poller.add(inner_channel.fileno(), INCOMING, lambda _events: None)
        self.home.send(first)
        self.pair = pump.join(inner_visitor, inner_channel, unsent, self.done.append)

    def close(self) -> None:
        self.visitor.close()
        self.home.close()


@contextlib.contextmanager
def joined(
    pump: Pump, *, kind: str = "tcp", unsent: bytes = b"", first: bytes = b"!"
) -> Iterator[Joined]:
    made = Joined(pump, kind=kind, unsent=unsent, first=first)
    try:
        yield made
    finally:
        made.close()


async def read(sock: socket.socket, size: int) -> bytes:
    """Return exactly so many bytes, or fewer at the end of the stream."""
    loop = asyncio.get_running_loop()
    data = b""
    async with asyncio.timeout(20):
        while len(data) < size:
            piece = await loop.sock_recv(sock, size - len(data))
            if not piece:
                break
            data += piece
    return data


async def send(sock: socket.socket, data: bytes) -> None:
    async with asyncio.timeout(20):
        await asyncio.get_running_loop().sock_sendall(sock, data)


KINDS = pytest.mark.parametrize("kind", ["tcp", "unix"])


@KINDS
async def test_bytes_go_both_ways(pump: Pump, kind: str) -> None:
    with joined(pump, kind=kind) as ends:
        assert await read(ends.visitor, 1) == b"!"
        await send(ends.visitor, b"ping")
        assert await read(ends.home, 4) == b"ping"
        await send(ends.home, b"pong")
        assert await read(ends.visitor, 4) == b"pong"


@KINDS
async def test_what_is_unsent_goes_first(pump: Pump, kind: str) -> None:
    with joined(pump, kind=kind, unsent=b"the rest of the flight ") as ends:
        await send(ends.visitor, b"and then this")
        assert await read(ends.home, 36) == b"the rest of the flight and then this"


@KINDS
@pytest.mark.parametrize("first", ["visitor", "home"])
async def test_the_end_of_one_stream_leaves_the_other_open(
    pump: Pump, kind: str, first: str
) -> None:
    with joined(pump, kind=kind) as ends:
        await read(ends.visitor, 1)
        one, other = (
            (ends.visitor, ends.home)
            if first == "visitor"
            else (ends.home, ends.visitor)
        )
        await send(one, b"last words")
        one.shutdown(socket.SHUT_WR)
        assert await read(other, 100) == b"last words"
        assert not ends.done
        await send(other, b"and an answer, much later")
        other.shutdown(socket.SHUT_WR)
        assert await read(one, 100) == b"and an answer, much later"
        await until(lambda: ends.done)
    assert ends.done == [ends.pair]
    assert pump.pairs == set()


async def test_the_end_comes_after_what_is_pending(pump: Pump) -> None:
    data = random.Random(1).randbytes(32 * MIB)
    with joined(pump) as ends:
        await read(ends.visitor, 1)
        sender = asyncio.create_task(send(ends.home, data))
        await until(lambda: ends.pair.visitor.pending)
        got = asyncio.create_task(read(ends.visitor, len(data) + 1))
        await sender
        ends.home.shutdown(socket.SHUT_WR)
        assert await got == data
        ends.visitor.shutdown(socket.SHUT_WR)
        await until(lambda: ends.done)


@KINDS
@pytest.mark.parametrize("beyond", [1 - SMALL, -1, 0, 1, 2 * SMALL])
async def test_an_end_that_is_there_with_the_bytes_cuts_none_off(
    monkeypatch: pytest.MonkeyPatch, kind: str, beyond: int
) -> None:
    monkeypatch.setattr("hearthgate.relay.visitors.pump.BUFFER_BYTES", SMALL)
    poller = Poller(asyncio.get_running_loop())
    pump = Pump(poller)
    data = random.Random(2).randbytes(SMALL + beyond)
    with joined(pump, kind=kind) as ends:
        await read(ends.visitor, 1)
        ends.home.sendall(data)
        ends.home.shutdown(socket.SHUT_WR)  # before the pump has looked
        assert await read(ends.visitor, len(data) + 1) == data
        await send(ends.visitor, b"thanks")
        assert await read(ends.home, 6) == b"thanks"
        ends.visitor.shutdown(socket.SHUT_WR)
        await until(lambda: ends.done)
    poller.close()


async def test_a_slow_reader_holds_up_its_sender_and_nobody_else(pump: Pump) -> None:
    with joined(pump) as slow, joined(pump) as fast:
        flood = asyncio.create_task(send(slow.home, bytes(64 * MIB)))
        await until(lambda: slow.pair.visitor.pending)
        await send(fast.visitor, b"still here")
        assert await read(fast.home, 10) == b"still here"
        assert await read(fast.visitor, 1) == b"!"
        assert len(slow.pair.visitor.pending) <= BUFFER_BYTES
        assert not flood.done()
        # The other direction of the slow pair goes on, too.
        await send(slow.visitor, b"wait")
        assert await read(slow.home, 4) == b"wait"
        flood.cancel()
        await asyncio.gather(flood, return_exceptions=True)


@KINDS
async def test_random_pieces_arrive_as_they_would_without_a_pump(
    pump: Pump, kind: str
) -> None:
    """The slow twin is the list of what was sent."""
    rng = random.Random(kind)
    up = [rng.randbytes(rng.choice([1, 100, 9_000, 300_000])) for _ in range(25)]
    down = [rng.randbytes(rng.choice([1, 100, 9_000, 300_000])) for _ in range(25)]

    async def talk(sock: socket.socket, pieces: list[bytes]) -> None:
        for piece in pieces:
            await send(sock, piece)
            if rng.random() < 0.3:
                await asyncio.sleep(0)
        sock.shutdown(socket.SHUT_WR)

    async def listen(sock: socket.socket) -> bytes:
        data = b""
        while piece := await read(sock, rng.choice([1, 4_096, 700_000])):
            data += piece
        return data

    with joined(pump, kind=kind, unsent=b"flight", first=b"!") as ends:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(talk(ends.visitor, up))
            tasks.create_task(talk(ends.home, down))
            at_home = tasks.create_task(listen(ends.home))
            at_visitor = tasks.create_task(listen(ends.visitor))
        assert at_home.result() == b"flight" + b"".join(up)
        assert at_visitor.result() == b"!" + b"".join(down)
        await until(lambda: ends.done)


@pytest.mark.parametrize("gone", ["visitor", "home"])
async def test_a_reset_ends_both_sides_also_while_something_is_pending(
    pump: Pump, gone: str
) -> None:
    with joined(pump) as ends:
        here, there = (
            (ends.visitor, ends.home)
            if gone == "visitor"
            else (ends.home, ends.visitor)
        )
        flood = asyncio.create_task(send(there, bytes(64 * MIB)))
        stuck = ends.pair.visitor if gone == "visitor" else ends.pair.channel
        await until(lambda: stuck.pending)
        here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        here.close()
        await until(lambda: ends.done)
        assert stuck.pending == b""
        await asyncio.gather(flood, return_exceptions=True)
        with contextlib.suppress(ConnectionError):
            assert await read(there, 1) in (b"", b"!")


async def test_a_pair_is_reported_once(pump: Pump) -> None:
    with joined(pump) as ends:
        ends.pair.close()
        ends.pair.close()
        pump.close()
        assert ends.done == [ends.pair]


async def test_a_home_that_is_gone_before_the_join_ends_the_pair(pump: Pump) -> None:
    visitor, inner_visitor = tcp_pair()
    home, inner_channel = tcp_pair()
    home.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    home.close()
    pump.poller.add(inner_channel.fileno(), INCOMING, lambda _events: None)
    done: list[Carried] = []
    pair = pump.join(inner_visitor, inner_channel, b"", done.append)
    await until(lambda: done)
    assert pair.closed
    assert await read(visitor, 1) == b""
    visitor.close()


async def test_only_idle_pairs_are_closed_and_any_byte_counts(pump: Pump) -> None:
    with joined(pump) as idle, joined(pump) as busy:
        await read(busy.visitor, 1)
        for tick in range(1, 5):
            pump.tick = tick
            await send(busy.visitor, b".")
            await read(busy.home, 1)
            assert pump.close_idle(4) == 0
        pump.tick = 5
        assert pump.close_idle(4) == 1
        assert idle.done
        assert not busy.done


async def test_emptied_waits_for_the_last_pair(pump: Pump) -> None:
    await asyncio.wait_for(pump.emptied(), 10)  # nobody there: at once
    with joined(pump) as one, joined(pump) as other:
        waiter = asyncio.create_task(pump.emptied())
        one.pair.close()
        await asyncio.sleep(0)
        assert not waiter.done()
        other.pair.close()
        await asyncio.wait_for(waiter, 10)


async def test_who_gave_up_waiting_for_the_last_pair_harms_nothing(pump: Pump) -> None:
    with joined(pump) as ends:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pump.emptied(), 0.01)
        ends.pair.close()
        assert pump.pairs == set()


async def test_many_pairs_at_once_do_not_mix(pump: Pump) -> None:
    with contextlib.ExitStack() as stack:
        all_ = [stack.enter_context(joined(pump)) for _ in range(40)]
        for number, ends in enumerate(all_):
            await send(ends.visitor, b"%d" % (number + 100))
            await send(ends.home, b"%d" % (number + 200))
        for number, ends in enumerate(all_):
            assert await read(ends.home, 3) == b"%d" % (number + 100)
            assert await read(ends.visitor, 4) == b"!%d" % (number + 200)
