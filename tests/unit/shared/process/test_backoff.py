"""Waiting after failures, with a clock that is turned by hand."""

import random

import pytest

from hearthgate.shared.process.backoff import Backoff


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Middle(random.Random):
    """Always the middle of the range: no jitter."""

    def random(self) -> float:
        return 0.5


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make(clock: Clock, rng: random.Random) -> Backoff:
    return Backoff(first_s=0.5, most_s=30.0, holds_after_s=60.0, clock=clock, rng=rng)


def test_each_failure_doubles_the_delay_up_to_the_most(clock: Clock) -> None:
    backoff = make(clock, Middle())
    assert [backoff.delay() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_success_that_is_lost_at_once_resets_nothing(clock: Clock) -> None:
    backoff = make(clock, Middle())
    delays = []
    for _ in range(4):
        delays.append(backoff.delay())
        backoff.succeeded()
        clock.now += 59.9
    assert delays == [0.5, 1, 2, 4]


def test_it_resets_only_after_the_connection_held_for_a_minute(clock: Clock) -> None:
    backoff = make(clock, Middle())
    for _ in range(5):
        backoff.delay()
    backoff.succeeded()
    clock.now += 60.0
    assert [backoff.delay(), backoff.delay()] == [0.5, 1]


def test_an_old_success_counts_once(clock: Clock) -> None:
    backoff = make(clock, Middle())
    backoff.succeeded()
    clock.now += 3600.0
    assert [backoff.delay(), backoff.delay(), backoff.delay()] == [0.5, 1, 2]


def test_a_person_in_a_hurry_begins_again(clock: Clock) -> None:
    backoff = make(clock, Middle())
    for _ in range(5):
        backoff.delay()
    backoff.reset()
    assert backoff.delay() == 0.5


def test_jitter_spreads_delays_over_half_to_one_and_a_half(clock: Clock) -> None:
    delays = [make(clock, random.Random(seed)).delay() for seed in range(300)]
    assert 0.25 <= min(delays) < 0.28
    assert 0.72 < max(delays) < 0.75
