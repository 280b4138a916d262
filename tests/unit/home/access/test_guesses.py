"""How many wrong passwords are too many, and from whom."""

import pytest

from hearthgate.home.access import guesses
from hearthgate.home.access.guesses import Guesses, GuessLimits

PERIOD_S = 300.0
LIMITS = GuessLimits(PERIOD_S, per_policy_max=3, per_address_max=5)
HERE, THERE = "198.51.100.7", "192.0.2.9"


class Time:
    """A clock that stands still until it is set."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def guess(
    counted: Guesses, number: int, policy: str = "door", address: str = HERE
) -> bool:
    """Try a wrong password; tell whether it was looked at."""
    attempt = counted.begin(address, policy, f"wrong {number}")
    if attempt is not None:
        attempt.end(wrong=True)
    return attempt is not None


def test_only_so_many_are_wrong_in_any_period_and_each_makes_room_when_it_is_old() -> (
    None
):
    clock = Time()
    counted = Guesses(LIMITS, clock=clock)
    for number in range(3):
        assert guess(counted, number)
        clock.now += 10
    assert not guess(counted, 3)
    assert guess(counted, 3, address=THERE)
    clock.now = 1000 + PERIOD_S - 1
    assert not guess(counted, 4)
    clock.now = 1000 + PERIOD_S
    assert guess(counted, 5)
    assert not guess(counted, 6)
    clock.now += 10
    assert guess(counted, 7)


def test_waiting_visitors_who_try_on_do_not_wait_longer() -> None:
    clock = Time()
    counted = Guesses(LIMITS, clock=clock)
    assert [guess(counted, number) for number in range(5)] == [True] * 3 + [False] * 2
    for _ in range(100):
        clock.now += PERIOD_S / 101
        assert not guess(counted, 9)
    clock.now = 1000 + PERIOD_S
    assert guess(counted, 9)


def test_same_wrong_password_counts_each_time() -> None:
    counted = Guesses(LIMITS, clock=Time())
    assert [guess(counted, 0) for _ in range(4)] == [True, True, True, False]


def test_policies_count_each_and_together() -> None:
    counted = Guesses(LIMITS, clock=Time())
    assert [guess(counted, n, "door") for n in range(4)] == [True] * 3 + [False]
    assert [guess(counted, n, "gate") for n in range(3)] == [True] * 2 + [False]
    assert not guess(counted, 0, "cellar")


def test_attempts_under_way_count_once_for_each_password() -> None:
    counted = Guesses(LIMITS, clock=Time())
    running = [counted.begin(HERE, "door", f"wrong {n}") for n in range(3)]
    assert None not in running
    assert counted.begin(HERE, "door", "another") is None
    same = [counted.begin(HERE, "door", "wrong 0") for _ in range(50)]
    assert None not in same
    for attempt in (*running, *same):
        assert attempt is not None
        attempt.end(wrong=False)
    assert [guess(counted, number) for number in range(4)] == [True] * 3 + [False]


def test_right_one_takes_nothing_back() -> None:
    counted = Guesses(LIMITS, clock=Time())
    guess(counted, 0)
    guess(counted, 1)
    right = counted.begin(HERE, "door", "right")
    assert right is not None
    right.end(wrong=False)
    assert guess(counted, 2)
    assert not guess(counted, 3)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:198.51.100.7", "198.51.100.7", True),
        ("::ffff:198.51.100.7", "::ffff:198.51.100.8", False),
        ("198.51.100.7", "198.51.100.8", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
    ],
)
def test_one_household_is_one_guesser(one: str, other: str, *, same: bool) -> None:
    counted = Guesses(LIMITS, clock=Time())
    for number in range(3):
        assert guess(counted, number, address=one)
    assert guess(counted, 3, address=other) is not same


def test_what_is_remembered_is_bounded_and_the_oldest_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guesses, "_RECORDS_MAX", 20)
    counted = Guesses(LIMITS, clock=Time())
    for number in range(3):
        guess(counted, number)
    for stranger in range(200):
        guess(counted, 0, address=f"192.0.2.{stranger}")
        assert len(counted._records) <= 20
    assert guess(counted, 0)


def test_no_record_grows_with_what_is_tried() -> None:
    counted = Guesses(LIMITS, clock=Time())
    many = [counted.begin(HERE, "door", "same") for _ in range(1000)]
    for attempt in many:
        assert attempt is not None
        attempt.end(wrong=True)
    assert all(
        len(one.wrong) <= 5 and not one.pending for one in counted._records.values()
    )
