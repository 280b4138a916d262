"""A clock that never runs back."""

from hearthgate.shared.process.clock import ForwardClock


class Hand:
    """A clock to turn."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_it_tells_the_time_of_the_wall_as_long_as_that_goes_on() -> None:
    wall, monotonic = Hand(1000.0), Hand(5.0)
    clock = ForwardClock(wall, monotonic=monotonic)
    assert clock() == 1000.0
    wall.now = 2000.0  # set forward, as after a start without a clock of its own
    assert clock() == 2000.0


def test_it_goes_on_while_the_wall_is_set_back() -> None:
    wall, monotonic = Hand(1000.0), Hand(5.0)
    clock = ForwardClock(wall, monotonic=monotonic)
    clock()
    wall.now, monotonic.now = 10.0, 8.0
    assert clock() == 1003.0
    monotonic.now = 108.0
    assert clock() == 1103.0
    wall.now = 1104.0
    assert clock() == 1104.0


def test_it_begins_at_what_was_seen_before() -> None:
    wall, monotonic = Hand(1000.0), Hand(5.0)
    clock = ForwardClock(wall, monotonic=monotonic)
    clock.seen(900.0)
    assert clock() == 1000.0
    clock.seen(5000.0)
    monotonic.now = 6.0
    assert clock() == 5001.0
