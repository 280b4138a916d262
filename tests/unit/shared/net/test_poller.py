"""The poller with real sockets."""

import asyncio
from collections.abc import AsyncIterator, Iterator
import functools
import select
import socket

import pytest

from hearthgate.shared.net.poller import READABLE, WRITABLE, Poller

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    made = Poller(asyncio.get_running_loop())
    yield made
    made.close()


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    made = [socket.socketpair() for _ in range(8)]
    yield made
    for pair in made:
        for sock in pair:
            sock.close()


class Seen:
    """A handler that notes what it was told."""

    def __init__(self) -> None:
        self.events: list[int] = []
        self._came = asyncio.Event()

    def __call__(self, events: int) -> None:
        self.events.append(events)
        self._came.set()

    async def wait(self) -> None:
        await asyncio.wait_for(self._came.wait(), 20)
        self._came.clear()


async def test_a_handler_hears_of_its_own_socket(
    poller: Poller, pairs: list[Pair]
) -> None:
    (ours, theirs), (other, _) = pairs[:2]
    seen, unseen = Seen(), Seen()
    poller.add(ours.fileno(), READABLE, seen)
    poller.add(other.fileno(), READABLE, unseen)
    assert len(poller) == 2
    theirs.send(b"x")
    await seen.wait()
    assert seen.events[0] == READABLE
    assert unseen.events == []


async def test_it_tells_again_until_the_bytes_are_read(
    poller: Poller, pairs: list[Pair]
) -> None:
    ours, theirs = pairs[0]
    seen = Seen()
    poller.add(ours.fileno(), READABLE, seen)
    theirs.send(b"x")
    await seen.wait()
    await seen.wait()
    ours.recv(1)
    await asyncio.sleep(0)
    count = len(seen.events)
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(seen.events) <= count + 1


async def test_the_end_of_a_stream_is_told(poller: Poller, pairs: list[Pair]) -> None:
    ours, theirs = pairs[0]
    seen = Seen()
    poller.add(ours.fileno(), READABLE | select.EPOLLRDHUP, seen)
    theirs.close()
    await seen.wait()
    assert seen.events[0] & select.EPOLLRDHUP


async def test_handler_and_events_can_be_exchanged(
    poller: Poller, pairs: list[Pair]
) -> None:
    ours, _theirs = pairs[0]
    first, second = Seen(), Seen()
    poller.add(ours.fileno(), READABLE, first)
    poller.set_handler(ours.fileno(), second)
    poller.set_events(ours.fileno(), WRITABLE)
    await second.wait()
    assert second.events[0] == WRITABLE
    assert first.events == []


async def test_a_removed_socket_is_not_told_of_even_in_the_same_batch(
    poller: Poller, pairs: list[Pair]
) -> None:
    """A handler may close what is told of next."""
    (one, one_far), (two, two_far) = pairs[:2]
    called: list[str] = []

    def handler(name: str, other: socket.socket) -> None:
        called.append(name)
        for sock in (one, other):
            poller.remove(sock.fileno())
        poller.remove(two.fileno())

    poller.add(one.fileno(), READABLE, lambda _events: handler("one", two))
    poller.add(two.fileno(), READABLE, lambda _events: handler("two", one))
    one_far.send(b"x")
    two_far.send(b"x")
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(called) == 1
    assert len(poller) == 0


async def test_removing_twice_does_no_harm(poller: Poller, pairs: list[Pair]) -> None:
    ours, _ = pairs[0]
    poller.add(ours.fileno(), READABLE, Seen())
    poller.remove(ours.fileno())
    poller.remove(ours.fileno())
    poller.forget(ours.fileno())


async def test_what_is_forgotten_and_closed_is_out_and_its_number_can_come_again(
    poller: Poller, pairs: list[Pair]
) -> None:
    one, one_far = socket.socketpair()
    number, seen = one.fileno(), Seen()
    poller.add(number, READABLE, seen)
    one_far.send(b"x")
    poller.forget(number)
    one.close()
    ours, theirs = pairs[0]
    again = socket.fromfd(ours.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)
    assert again.fileno() == number
    fresh = Seen()
    poller.add(number, READABLE, fresh)
    theirs.send(b"y")
    await fresh.wait()
    assert seen.events == []
    poller.remove(number)
    again.close()
    one_far.close()


async def test_a_handler_that_fails_takes_down_its_own_socket_only(
    poller: Poller, pairs: list[Pair], caplog: pytest.LogCaptureFixture
) -> None:
    (bad, bad_far), (good, good_far) = pairs[:2]
    seen = Seen()

    def fail(_events: int) -> None:
        raise RuntimeError("a bug")

    poller.add(bad.fileno(), READABLE, fail)
    poller.add(good.fileno(), READABLE, seen)
    bad_far.send(b"x")
    good_far.send(b"x")
    await seen.wait()
    assert len(poller) == 1
    assert "a bug" in caplog.text
    assert bad.fileno() >= 0


async def test_many_sockets_at_once_are_all_told(
    poller: Poller, pairs: list[Pair]
) -> None:
    seen = [Seen() for _ in pairs]
    for (ours, theirs), one in zip(pairs, seen, strict=True):
        poller.add(ours.fileno(), READABLE, one)
        theirs.send(b"x")
    for one in seen:
        await one.wait()


async def test_closing_stops_telling_and_leaves_sockets_open(pairs: list[Pair]) -> None:
    poller = Poller(asyncio.get_running_loop())
    ours, theirs = pairs[0]
    seen = Seen()
    poller.add(ours.fileno(), READABLE, seen)
    poller.close()
    theirs.send(b"x")
    for _ in range(5):
        await asyncio.sleep(0)
    assert seen.events == []
    assert ours.recv(1) == b"x"


async def test_many_that_come_after_others_do_not_hold_them_up(
    poller: Poller, pairs: list[Pair]
) -> None:
    (ours, theirs), *_ = pairs
    strangers = [socket.socketpair() for _ in range(200)]
    after = Poller(asyncio.get_running_loop(), after_others=True)
    seen = Seen()
    looked_at: list[int] = []
    poller.add(ours.fileno(), READABLE, lambda _: seen(len(looked_at)))

    def look(fd: int, _events: int) -> None:
        if not looked_at:
            theirs.send(b"x")  # somebody else comes, when all of them are ready
        after.remove(fd)
        looked_at.append(fd)

    for one, other in strangers:
        other.send(b"x")
        fd = one.fileno()
        after.add(fd, READABLE, functools.partial(look, fd))
    await seen.wait()
    assert 0 < seen.events[0] < len(strangers) / 2
    async with asyncio.timeout(20):
        while len(looked_at) < len(strangers):  # noqa: ASYNC110  there is no event
            await asyncio.sleep(0)
    after.close()
    for pair in strangers:
        for sock in pair:
            sock.close()
