"""Who has not proved to be a home has a share of its own, and others wait for it."""

import asyncio
from collections.abc import Iterator
import contextlib
import socket

import pytest

from hearthgate.relay.accept.newcomers import Newcomers
from hearthgate.relay.counting.refusals import Counters
from hearthgate.wire.proxy import Endpoint
from tests.support.relay_parts import Clock, limits

HERE, THERE = "198.51.100.7", "203.0.113.9"


class Connection:
    """Somebody who is served."""

    def __init__(self, town: "Town", peer: Endpoint) -> None:
        self.town = town
        self.peer = peer
        self.is_out = False

    def abort(self) -> None:
        self.is_out = True
        self.town.newcomers.left(self)


class Town:
    """Newcomers, and who is served."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.served: list[Connection] = []
        self.counters = Counters(clock=self.clock, log_period_s=60.0)
        self.newcomers = Newcomers(
            self._serve,
            limits=limits(
                control_newcomers_max=5,
                control_newcomers_per_address_max=3,
                control_waiting_max=20,
                control_waiting_per_address_max=10,
                control_connections_max=6,
                control_connections_per_home_max=2,
                control_newcomer_patience_s=2.0,
            ),
            counters=self.counters,
            clock=self.clock,
        )
        self._others = contextlib.ExitStack()

    def _serve(self, sock: socket.socket, peer: Endpoint) -> None:
        sock.close()
        one = Connection(self, peer)
        self.served.append(one)
        self.newcomers.begin(one, peer[0])

    async def come(self, address: str, count: int = 1) -> list[Connection]:
        """Let some come; return those who are served then."""
        before = len(self.served)
        for port in range(count):
            ours, theirs = socket.socketpair()
            self._others.callback(theirs.close)
            self.newcomers.admit(ours, (address, port))
        await self.settle()
        return self.served[before:]

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    def close(self) -> None:
        self.newcomers.close()
        self._others.close()


@pytest.fixture
def town() -> Iterator[Town]:
    made = Town()
    yield made
    made.close()


async def test_one_address_has_a_share_and_the_others_wait(town: Town) -> None:
    assert len(await town.come(HERE, 8)) == 3
    assert len(await town.come(THERE)) == 1
    town.served[0].abort()
    await town.settle()
    assert len(town.served) == 5


async def test_who_waits_costs_a_bound_as_well(town: Town) -> None:
    await town.come(HERE, 30)
    assert len(town.newcomers) == 10  # three are served one by one, ten stand in line
    assert town.counters.refused["more connections than allowed from one address"] == 20


async def test_a_home_frees_its_place_as_soon_as_it_has_proved_itself(
    town: Town,
) -> None:
    """So that all homes behind one carrier's address get in."""
    await town.come(HERE, 6)
    for number in range(6):
        assert town.newcomers.proved(town.served[number], str(number))
        await town.settle()
    assert len(town.served) == 6
    assert not any(one.is_out for one in town.served)


async def test_the_slow_go_only_if_somebody_waits_for_their_place(town: Town) -> None:
    await town.come(HERE, 3)
    town.clock.now += 10.0
    town.newcomers.sweep()
    assert not any(one.is_out for one in town.served)
    assert await town.come(HERE) == []
    town.newcomers.sweep()
    await town.settle()
    assert [one.is_out for one in town.served] == [True, True, True, False]


async def test_who_waits_puts_out_nobody_of_another_address(town: Town) -> None:
    (other,) = await town.come(THERE)
    await town.come(HERE, 5)
    town.clock.now += 1.9
    town.newcomers.sweep()
    assert not any(one.is_out for one in town.served)
    town.clock.now += 0.2
    town.newcomers.sweep()
    assert not other.is_out
    assert sum(one.is_out for one in town.served) == 3


async def test_if_all_places_are_taken_the_slow_of_every_address_go(
    town: Town,
) -> None:
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"):
        await town.come(address)
    assert await town.come(HERE) == []
    town.clock.now += 2.1
    town.newcomers.sweep()
    await town.settle()
    assert town.served[-1].peer[0] == HERE


async def test_a_home_with_too_many_connections_loses_its_oldest(town: Town) -> None:
    ones = await town.come(HERE, 3)
    for one in ones:
        assert town.newcomers.proved(one, "cottage")
    assert [one.is_out for one in ones] == [True, False, False]
    (other,) = await town.come(HERE)
    assert town.newcomers.proved(other, "barn")
    assert len(town.newcomers) == 3


async def test_homes_have_a_total_which_strangers_do_not_touch(town: Town) -> None:
    for home in range(3):
        for one in await town.come(HERE, 2):
            assert town.newcomers.proved(one, str(home))
    (late,) = await town.come(HERE)
    assert not town.newcomers.proved(late, "late")


async def test_nothing_is_left_of_those_who_are_gone(town: Town) -> None:
    ones = await town.come(HERE, 3)
    town.newcomers.proved(ones[0], "cottage")
    for one in ones:
        town.newcomers.left(one)
        town.newcomers.left(one)
    assert len(town.newcomers) == 0
    assert not town.newcomers._count
    assert not town.newcomers._of_home
