"""Two ends of a sealed channel, over real sockets: a visitor here, a service there."""

import asyncio
from collections.abc import AsyncIterator
import functools
import hashlib
import os
import socket
import struct

import pytest

from hearthgate.shared.net.poller import Poller
from hearthgate.shared.net.sealed_channel import SealedChannel
from hearthgate.wire.frames import FrameKind, FrameOpener, FrameSealer, sealed_keys
from tests.support.relay_parts import tcp_pair, until

TO_RELAY, TO_HOME = sealed_keys(bytes(32), 1)
RESET = struct.pack("ii", 1, 0)
MIB = 1024 * 1024


class End(SealedChannel):
    """Note what happens; at home, connect each stream to a service."""

    __slots__ = ("ends", "opens", "services", "was_closed")

    def __init__(
        self, sock: socket.socket, poller: Poller, keys: tuple[bytes, bytes]
    ) -> None:
        mine, theirs = keys
        super().__init__(
            sock, poller, FrameSealer(mine), FrameOpener(theirs), is_polled=False
        )
        self.opens: list[bytes] = []
        self.ends: list[tuple[int, int]] = []
        self.services: list[socket.socket] = []  # to be connected to, the next last
        self.was_closed = False
        self.watch()

    def opened(self, inside: bytes) -> None:
        self.opens.append(inside)
        if self.services:
            self.carry(self.services.pop())

    def finished(self, taken: int, given: int) -> None:
        self.ends.append((taken, given))

    def gone(self, taken: int, given: int) -> None:
        del taken, given
        self.was_closed = True


class Way:
    """A visitor's socket, both ends, and a service's socket."""

    def __init__(self, poller: Poller) -> None:
        self._socks: list[socket.socket] = []
        relay, home = self.pair()
        self.path = (relay, home)
        self.relay = End(relay, poller, (TO_HOME, TO_RELAY))
        self.home = End(home, poller, (TO_RELAY, TO_HOME))

    def pair(self) -> tuple[socket.socket, socket.socket]:
        pair = tcp_pair()
        self._socks += pair
        return pair

    def visit(self) -> tuple[socket.socket, socket.socket]:
        """Begin a stream; return the visitor's and the service's sockets."""
        visitor, door = self.pair()
        inside, service = self.pair()
        self.home.services.insert(0, inside)
        first = self.relay._sealer.seal(FrameKind.OPEN, b"who")
        self.relay.carry(door, first)
        return visitor, service

    def close(self) -> None:
        self.relay.close()
        self.home.close()
        for sock in self._socks:
            sock.close()


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    made = Poller(asyncio.get_running_loop())
    yield made
    assert len(made) == 0
    made.close()


@pytest.fixture
async def way(poller: Poller) -> AsyncIterator[Way]:
    made = Way(poller)
    yield made
    made.close()


async def heard(sock: socket.socket, size: int) -> bytes:
    found = b""
    async with asyncio.timeout(20):
        while len(found) < size:
            more = await asyncio.get_running_loop().sock_recv(sock, size - len(found))
            if not more:
                break
            found += more
    return found


async def say(sock: socket.socket, data: bytes) -> None:
    async with asyncio.timeout(20):
        await asyncio.get_running_loop().sock_sendall(sock, data)


async def converse(visitor: socket.socket, service: socket.socket) -> None:
    await say(visitor, b"question")
    assert await heard(service, 8) == b"question"
    await say(service, b"answer")
    assert await heard(visitor, 6) == b"answer"


async def hang_up(one: socket.socket, other: socket.socket) -> None:
    for sender, hearer in ((one, other), (other, one)):
        sender.shutdown(socket.SHUT_WR)
        assert await heard(hearer, 1) == b""


def both_counted(way: Way, streams: int) -> bool:
    return len(way.relay.ends) == len(way.home.ends) == streams


async def test_one_visitor_after_the_other_goes_over_one_channel(way: Way) -> None:
    for number in range(1, 4):
        visitor, service = way.visit()
        await converse(visitor, service)
        pair = (visitor, service) if number % 2 else (service, visitor)
        await hang_up(*pair)
        await until(functools.partial(both_counted, way, number))
    assert way.home.opens == [b"who"] * 3
    assert way.relay.ends == [(8, 6)] * 3
    assert way.home.ends == [(6, 8)] * 3
    assert way.relay.is_idle
    assert way.home.is_idle


async def test_who_has_hung_up_still_hears(way: Way) -> None:
    visitor, service = way.visit()
    await say(visitor, b"question")
    visitor.shutdown(socket.SHUT_WR)
    assert await heard(service, 9) == b"question"
    await say(service, b"a" * MIB)
    assert await heard(visitor, MIB) == b"a" * MIB
    service.shutdown(socket.SHUT_WR)
    assert await heard(visitor, 1) == b""
    await until(lambda: way.relay.ends == [(8, MIB)])


async def test_much_goes_both_ways_at_once_unchanged(way: Way) -> None:
    visitor, service = way.visit()
    there, back = os.urandom(20 * MIB), os.urandom(20 * MIB)
    _, _, got_there, got_back = await asyncio.gather(
        say(visitor, there),
        say(service, back),
        heard(service, len(there)),
        heard(visitor, len(back)),
    )
    assert hashlib.sha256(got_there).digest() == hashlib.sha256(there).digest()
    assert hashlib.sha256(got_back).digest() == hashlib.sha256(back).digest()


async def test_a_service_that_takes_nothing_stops_the_visitor(way: Way) -> None:
    visitor, service = way.visit()
    block = b"x" * (64 * MIB)
    sending = asyncio.create_task(say(visitor, block))
    await until(lambda: way.home._plain_pending and way.relay._seal_pending)
    assert not sending.done()
    assert len(await heard(service, len(block))) == len(block)
    await sending


async def test_a_visitor_that_is_reset_is_cut_at_the_service(way: Way) -> None:
    visitor, service = way.visit()
    await converse(visitor, service)
    visitor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    visitor.close()
    with pytest.raises(ConnectionResetError):
        await heard(service, 1)
    assert way.relay.was_closed
    assert way.home.was_closed


async def test_a_channel_that_is_cut_in_the_middle_resets_the_visitor(way: Way) -> None:
    visitor, service = way.visit()
    await converse(visitor, service)
    way.home.close()
    with pytest.raises(ConnectionResetError):
        await heard(visitor, 1)
    assert way.relay.was_closed


async def test_a_stream_that_ended_one_way_only_is_cut_too(way: Way) -> None:
    visitor, service = way.visit()
    await converse(visitor, service)
    service.shutdown(socket.SHUT_WR)
    assert await heard(visitor, 1) == b""
    way.home.close()
    await until(lambda: way.relay.was_closed)
    assert visitor.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


async def test_a_free_channel_ends_without_noise(way: Way) -> None:
    visitor, service = way.visit()
    await converse(visitor, service)
    await hang_up(visitor, service)
    await until(lambda: way.relay.ends)
    way.home.close()
    await until(lambda: way.relay.was_closed)


async def test_noise_on_the_channel_closes_it(way: Way) -> None:
    visitor, service = way.visit()
    await converse(visitor, service)
    way.path[0].send(bytes(100))  # behind the back of the relay's end
    await until(lambda: way.home.was_closed)
    with pytest.raises(ConnectionResetError):
        await heard(service, 1)


async def test_bytes_of_no_stream_close_the_channel(way: Way) -> None:
    way.relay.say(FrameKind.DATA, b"x")
    await until(lambda: way.home.was_closed)


async def test_a_second_stream_at_once_closes_the_channel(way: Way) -> None:
    visitor, service = way.visit()
    await converse(visitor, service)
    way.relay.say(FrameKind.OPEN, b"another")
    await until(lambda: way.home.was_closed)


async def test_what_follows_an_open_waits_until_its_service_is_there(way: Way) -> None:
    visitor, door = way.pair()
    inside, service = way.pair()
    first = way.relay._sealer.seal(FrameKind.OPEN, b"who")
    await say(visitor, b"question")
    visitor.shutdown(socket.SHUT_WR)
    way.relay.carry(door, first)
    await until(lambda: way.home.opens)
    way.home.carry(inside)
    way.home.go_on()
    assert await heard(service, 9) == b"question"


async def test_an_end_and_the_next_open_may_come_together(way: Way) -> None:
    _, service = way.visit()
    service.shutdown(socket.SHUT_WR)
    await until(lambda: way.relay.got_end)
    seal = way.relay._sealer.seal
    way.path[0].sendmsg([*seal(FrameKind.END), *seal(FrameKind.OPEN, b"next")])
    await until(lambda: way.home.opens == [b"who", b"next"])


async def test_the_next_visitor_may_come_while_the_last_bytes_wait(way: Way) -> None:
    """The relay is through once both ends were said; the service may be slower."""
    visitor, service = way.visit()
    service.shutdown(socket.SHUT_WR)
    assert await heard(visitor, 1) == b""
    block = b"x" * (8 * MIB)
    sending = asyncio.create_task(say(visitor, block))
    await until(lambda: way.home._plain_pending)
    got = asyncio.create_task(heard(service, len(block)))
    await sending
    visitor.shutdown(socket.SHUT_WR)
    await until(lambda: way.relay.ends)
    other, next_service = way.visit()
    await converse(other, next_service)
    assert len(await got) == len(block)
