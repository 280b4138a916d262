"""The door with plain socket pairs in HAProxy's place."""

import asyncio
from collections.abc import Iterator
import socket

import pytest

from hearthgate.home.edge import EdgeSettings
from hearthgate.home.edge.socket_passer import SocketPasser


class Room:
    """Take descriptors out of a pair, as HAProxy does."""

    def __init__(self) -> None:
        self.outside, self.inside = socket.socketpair()
        self.outside.setblocking(False)
        self.inside.setblocking(False)

    def take(self) -> list[bytes]:
        """Return what each visitor that lies here has to say."""
        said: list[bytes] = []
        while True:
            try:
                _, descriptors, _, _ = socket.recv_fds(self.inside, 1, 1)
            except BlockingIOError:
                return said
            with socket.socket(fileno=descriptors[0]) as visitor:
                said.append(visitor.recv(100))

    def close(self) -> None:
        self.outside.close()
        self.inside.close()


@pytest.fixture
def rooms() -> Iterator[list[Room]]:
    both = [Room(), Room()]
    yield both
    for room in both:
        room.close()


def visitor(word: bytes) -> socket.socket:
    near, far = socket.socketpair()
    near.sendall(word)
    near.close()
    return far


def make(now: list[float] | None = None, **settings: float) -> SocketPasser:
    clock = now or [0.0]
    door = SocketPasser(EdgeSettings(**settings), clock=lambda: clock[0])  # type: ignore[arg-type]
    door.open()
    return door


async def test_visitor_is_passed_and_our_copy_closed(rooms: list[Room]) -> None:
    door = make()
    door.turn(rooms[0].outside)
    far = visitor(b"hello")
    door.offer(far)
    assert far.fileno() == -1
    assert rooms[0].take() == [b"hello"]
    door.close()


async def test_closed_door_closes_visitors() -> None:
    door = SocketPasser(EdgeSettings(), clock=lambda: 0.0)
    far = visitor(b"hello")
    door.offer(far)
    assert far.fileno() == -1


async def test_visitors_wait_in_order_for_the_next_pair(rooms: list[Room]) -> None:
    door = make()
    for word in (b"one", b"two", b"three"):
        door.offer(visitor(word))
    door.turn(rooms[1].outside)
    assert rooms[1].take() == [b"one", b"two", b"three"]
    door.close()


async def test_full_pair_is_filled_again_when_there_is_room(rooms: list[Room]) -> None:
    door = make(queue_max=1000)
    door.turn(rooms[0].outside)
    words = [b"%d" % number for number in range(600)]
    for word in words:
        door.offer(visitor(word))
    said = rooms[0].take()
    assert 0 < len(said) < len(words)
    async with asyncio.timeout(20):
        while len(said) < len(words):
            await asyncio.sleep(0)
            said += rooms[0].take()
    assert said == words
    door.close()


async def test_queue_is_bounded_and_the_late_are_closed() -> None:
    door = make(queue_max=2)
    fars = [visitor(b"x") for _ in range(3)]
    for far in fars:
        door.offer(far)
    assert [far.fileno() >= 0 for far in fars] == [True, True, False]
    door.close()
    assert all(far.fileno() == -1 for far in fars)


async def test_visitor_that_waited_too_long_is_closed(rooms: list[Room]) -> None:
    now = [0.0]
    door = make(now, queue_deadline_s=10.0)
    late = visitor(b"late")
    door.offer(late)
    now[0] = 6.0
    door.offer(visitor(b"early"))
    now[0] = 11.0
    door.turn(rooms[0].outside)
    assert late.fileno() == -1
    assert rooms[0].take() == [b"early"]
    door.close()


async def test_dead_pair_makes_visitors_wait_for_a_live_one(rooms: list[Room]) -> None:
    door = make()
    door.turn(rooms[0].outside)
    rooms[0].inside.close()
    door.offer(visitor(b"patient"))
    door.turn(rooms[1].outside)
    assert rooms[1].take() == [b"patient"]
    door.close()


async def test_leaving_one_pair_does_not_leave_another(rooms: list[Room]) -> None:
    door = make()
    door.turn(rooms[1].outside)
    door.leave(rooms[0].outside)
    door.offer(visitor(b"still here"))
    assert rooms[1].take() == [b"still here"]
    door.leave(rooms[1].outside)
    door.offer(visitor(b"waits"))
    assert rooms[1].take() == []
    door.close()
