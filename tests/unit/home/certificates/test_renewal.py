"""When to renew: pure functions over times."""

from dataclasses import replace
import random

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.home.certificates import renewal
from hearthgate.home.certificates.pem import Leaf
from hearthgate.home.certificates.state import HostState, Window

DAY = renewal.DAY
START = 1_800_000_000.0
SLACK = 0.03


def leaf(days: float) -> Leaf:
    return Leaf(START, START + days * DAY, "ab", "x.y")


def rng() -> random.Random:
    return random.Random(1)


def issued(days: float, now: float = START) -> HostState:
    return renewal.issued(leaf(days), now, rng())


@pytest.mark.parametrize(("days", "share"), [(90, 2 / 3), (10, 2 / 3), (6, 1 / 2)])
def test_the_backstop_leaves_a_third_or_half_of_a_short_life(
    days: float, share: float
) -> None:
    due = renewal.due(issued(days), leaf(days), START)
    assert (share - SLACK) * days * DAY <= due - START <= share * days * DAY


def test_a_suggestion_counts_while_it_is_fresh() -> None:
    state = issued(90)
    window = Window(START + 30 * DAY, START + 31 * DAY, None)
    heard = START + 29 * DAY
    suggestion = renewal.suggested(None, window, heard, rng())
    state = replace(state, suggestion=suggestion)
    due = renewal.due(state, leaf(90), heard)
    assert window.start <= due <= window.end
    late = renewal.due(state, leaf(90), heard + 3 * DAY)
    assert late == state.renew_at


def test_a_window_after_the_backstop_is_followed_but_not_for_ever() -> None:
    state = issued(90)
    for days, expected in ((62, 62), (200, None)):
        window = Window(START + days * DAY, START + days * DAY + 1, None)
        suggestion = renewal.suggested(None, window, START + 60 * DAY, rng())
        due = renewal.due(
            replace(state, suggestion=suggestion), leaf(90), START + 60 * DAY
        )
        if expected:
            assert due == pytest.approx(START + expected * DAY, abs=1)
        else:
            assert due < START + 76 * DAY


def test_the_same_window_keeps_its_moment() -> None:
    window = Window(START, START + DAY, None)
    random_source = rng()
    first = renewal.suggested(None, window, START, random_source)
    again = renewal.suggested(first, window, START + 60, random_source)
    assert again.renew_at == first.renew_at
    assert again.heard_at == START + 60
    other = Window(START, START + 2 * DAY, None)
    assert renewal.suggested(first, other, START, random_source) != first


def test_a_window_in_the_past_means_now_but_not_twice_in_a_day() -> None:
    window = Window(START - 9 * DAY, START - 8 * DAY, None)
    suggestion = renewal.suggested(None, window, START, rng())
    state = replace(issued(90), suggestion=suggestion)
    assert renewal.due(state, leaf(90), START) == START + DAY


def test_a_certificate_from_a_backup_is_due_at_once_if_it_is_old() -> None:
    now = START + 89 * DAY
    state = renewal.planned(HostState(), leaf(90), rng())
    assert renewal.due(state, leaf(90), now) < now


def test_back_off_grows_to_a_day_and_stays_there() -> None:
    state, waits = HostState(), []
    for _try in range(6):
        state = renewal.failed(state, START, None, rng())
        assert state.retry_at is not None
        waits.append(state.retry_at - START)
    expected = [60, 600, 6000, DAY, DAY, DAY]
    for wait, least in zip(waits, expected, strict=True):
        assert least <= wait <= least * 1.1


def test_a_pause_of_the_authority_is_longer_than_our_own() -> None:
    state = renewal.failed(HostState(), START, START + 7200, rng())
    assert renewal.due(state, None, START) == START + 7200
    again = renewal.failed(state, START + 7300, None, rng())
    assert again.held_until is None


def test_a_pause_from_a_wrong_clock_is_not_believed() -> None:
    state = replace(HostState(), retry_at=START + 999 * DAY, held_until=START * 2)
    assert renewal.due(state, None, START) == 0.0


@given(
    life=st.floats(60, 400 * DAY),
    now=st.floats(0, 800 * DAY),
    window=st.tuples(st.floats(-400 * DAY, 800 * DAY), st.floats(1, 90 * DAY)),
)
def test_a_new_certificate_is_never_due_at_once(
    life: float, now: float, window: tuple[float, float]
) -> None:
    """Whatever our clock and the authority say: that would be an order in a loop."""
    one = Leaf(START, START + life, "ab", None)
    state = renewal.issued(one, START + now, rng())
    start = START + window[0]
    asked = Window(start, start + window[1], None)
    suggestion = renewal.suggested(None, asked, START + now, rng())
    state = replace(state, suggestion=suggestion)
    soonest = START + now + min(DAY, life / 10)
    assert renewal.due(state, one, START + now) >= soonest - 0.001  # floats round


@pytest.mark.parametrize(
    ("retry_after_s", "least", "most"),
    [
        (None, 11 * 3600, 12 * 3600),
        (0, 60, 120),
        (21600, 21600, 21660),
        (1e9, DAY, DAY + 60),
    ],
)
def test_retry_after_is_clipped(
    retry_after_s: float | None, least: float, most: float
) -> None:
    wait = renewal.ask_again(START, retry_after_s, rng()) - START
    assert least <= wait <= most
