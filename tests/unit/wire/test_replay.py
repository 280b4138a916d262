"""The replay window against a twin that simply remembers everything."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hearthgate.wire.replay import WINDOW, ReplayWindow


class SlowTwin:
    """Every number ever accepted, in a set."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def accept(self, number: int) -> bool:
        highest = max(self._seen, default=0)
        if number < 1 or number in self._seen or number <= highest - WINDOW:
            return False
        self._seen.add(number)
        return True


_NUMBERS = st.one_of(
    st.integers(-3, 40),
    st.integers(WINDOW - 5, WINDOW + 60),
    st.integers(2 * WINDOW - 5, 2 * WINDOW + 60),
    st.integers(0, (1 << 64) - 1),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(_NUMBERS, max_size=60))
def test_it_says_the_same_as_a_slow_twin(numbers: list[int]) -> None:
    window, twin = ReplayWindow(), SlowTwin()
    for number in numbers:
        assert window.accept(number) is twin.accept(number), number


@settings(max_examples=100, deadline=None)
@given(st.permutations(range(1, 60)))
def test_each_number_counts_once_in_any_order(numbers: list[int]) -> None:
    window = ReplayWindow()
    assert all(window.accept(number) for number in numbers)
    assert not any(window.accept(number) for number in numbers)


def test_the_window_reaches_back_so_far_and_no_further() -> None:
    window = ReplayWindow()
    assert window.accept(WINDOW + 10)
    assert window.accept(11)
    assert not window.accept(10)


def test_zero_and_less_are_no_numbers() -> None:
    window = ReplayWindow()
    assert not window.accept(0)
    assert not window.accept(-1)


def test_a_leap_forgets_the_rest_and_takes_no_memory() -> None:
    window = ReplayWindow()
    assert window.accept(1)
    assert window.accept((1 << 64) - 1)
    assert not window.accept(1)
    assert not window.accept((1 << 64) - 1)
    assert window._seen.bit_length() <= WINDOW
