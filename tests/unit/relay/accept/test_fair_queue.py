"""Newcomers who cost much are served one by one, and each address in its turn."""

import asyncio
from collections.abc import Iterator
import contextlib
import socket

import pytest

from hearthgate.relay.accept.fair_queue import FairQueue
from hearthgate.wire.proxy import Endpoint


class Line:
    """FairQueue, and what they have served."""

    def __init__(self) -> None:
        self.served: list[Endpoint] = []
        self.turns = FairQueue(self._serve)
        self._others = contextlib.ExitStack()

    def _serve(self, sock: socket.socket, peer: Endpoint) -> None:
        sock.close()
        self.served.append(peer)

    def enter(self, *peers: Endpoint) -> None:
        for peer in peers:
            ours, theirs = socket.socketpair()
            self._others.callback(theirs.close)
            self.turns.enter(ours, peer)

    def close(self) -> None:
        self.turns.close()
        self._others.close()


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


async def test_one_is_served_in_each_turn_of_the_loop(line: Line) -> None:
    line.enter(*[("192.0.2.1", port) for port in range(5)])
    assert line.served == []
    for turn in range(1, 6):
        await asyncio.sleep(0)
        assert len(line.served) == turn
    assert len(line.turns) == 0


async def test_an_address_with_many_does_not_keep_another_waiting(line: Line) -> None:
    line.enter(*[("192.0.2.1", port) for port in range(100)])
    line.enter(("198.51.100.7", 1))
    for _ in range(2):
        await asyncio.sleep(0)
    assert line.served == [("192.0.2.1", 0), ("198.51.100.7", 1)]


async def test_a_household_of_ipv6_stands_in_one_line(line: Line) -> None:
    line.enter(*[(f"2001:db8::{host:x}", 1) for host in range(1, 100)])
    line.enter(("2001:db8:0:1::1", 1))
    for _ in range(2):
        await asyncio.sleep(0)
    assert line.served[1] == ("2001:db8:0:1::1", 1)


async def test_the_end_closes_who_waits_and_serves_nobody(line: Line) -> None:
    line.enter(("192.0.2.1", 1), ("192.0.2.1", 2), ("198.51.100.7", 3))
    assert {port for _, port in line.turns.close()} == {1, 2, 3}
    await asyncio.sleep(0)
    assert line.served == []


async def test_who_comes_after_the_line_was_empty_is_served_too(line: Line) -> None:
    for port in range(3):
        line.enter(("192.0.2.1", port))
        await asyncio.sleep(0)
    assert [port for _, port in line.served] == [0, 1, 2]


async def test_somebody_who_cannot_be_served_holds_up_nobody() -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    served = []

    def serve(sock: socket.socket, peer: Endpoint) -> None:
        sock.close()
        served.append(peer)
        if peer[1] == 1:
            raise RuntimeError("a bug")

    turns = FairQueue(serve)
    with contextlib.ExitStack() as others:
        for port in (1, 2):
            ours, theirs = socket.socketpair()
            others.callback(theirs.close)
            turns.enter(ours, ("192.0.2.1", port))
        for _ in range(2):
            await asyncio.sleep(0)
    assert [port for _, port in served] == [1, 2]
