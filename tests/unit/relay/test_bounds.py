"""What counts and bounds on a relay: addresses, rates, answers, refusals."""

import logging
import random

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from hearthgate.relay.accept.connection_limiter import ConnectionLimiter
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.homes import rate_limit as rate
from hearthgate.relay.homes.challenge_responses import Answers
from hearthgate.relay.homes.rate_limit import RateLimit
from tests.support.relay_parts import BARN, COTTAGE, SMALL, Clock

# --- addresses ------------------------------------------------------------------------


def test_one_address_cannot_take_all() -> None:
    limiter = ConnectionLimiter(total_max=10, per_address_max=2)
    assert [limiter.enter("203.0.113.5") for _ in range(3)] == [
        "",
        "",
        "more connections than allowed from one address",
    ]
    assert limiter.enter("203.0.113.6") == ""
    limiter.leave("203.0.113.5")
    assert limiter.enter("203.0.113.5") == ""


def test_a_household_of_ipv6_counts_as_one_address() -> None:
    limiter = ConnectionLimiter(total_max=10, per_address_max=2)
    assert limiter.enter("2001:db8:0:1::1") == ""
    assert limiter.enter("2001:db8:0:1:ffff::2%eth0") == ""
    assert limiter.enter("2001:db8:0:1::3") != ""
    assert limiter.enter("2001:db8:0:2::1") == ""


def test_there_is_a_total() -> None:
    limiter = ConnectionLimiter(total_max=2, per_address_max=2)
    assert limiter.enter("203.0.113.5") == limiter.enter("203.0.113.6") == ""
    assert limiter.enter("203.0.113.7") == "more connections than allowed in total"
    limiter.leave("203.0.113.5")
    assert limiter.enter("203.0.113.7") == ""


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_book_says_the_same_as_a_list(rng: random.Random) -> None:
    limiter = ConnectionLimiter(total_max=6, per_address_max=2)
    inside: list[str] = []
    for _ in range(60):
        address = f"203.0.113.{rng.randint(1, 4)}"
        if inside and rng.random() < 0.4:
            limiter.leave(inside.pop(rng.randrange(len(inside))))
        else:
            allowed = len(inside) < 6 and inside.count(address) < 2
            assert (limiter.enter(address) == "") is allowed
            inside += [address] * allowed
        assert limiter.total == len(inside)
    for address in inside:
        limiter.leave(address)
    assert limiter.total == len(limiter._counts) == 0


# --- rates ----------------------------------------------------------------------------


def test_a_burst_is_allowed_and_then_a_steady_rate() -> None:
    clock = Clock()
    limit = RateLimit(30, clock=clock)
    assert [limit.allow("a") for _ in range(31)] == [True] * 30 + [False]
    assert limit.allow("b")
    clock.now += 2.0
    assert limit.allow("a")
    assert not limit.allow("a")
    clock.now += 3600.0
    assert [limit.allow("a") for _ in range(31)] == [True] * 30 + [False]


def test_who_keeps_asking_is_not_kept_out_for_ever() -> None:
    clock = Clock()
    limit = RateLimit(60, clock=clock)
    allowed = 0
    for _ in range(1200):  # ten minutes, twice as often as allowed
        allowed += limit.allow("a")
        clock.now += 0.5
    assert 655 <= allowed <= 661


def test_what_costs_more_counts_more() -> None:
    clock = Clock()
    limit = RateLimit(100, clock=clock, period_s=3600.0)
    assert limit.allow("a", 60)
    assert not limit.allow("a", 41)
    assert limit.allow("a", 40)  # what was refused has cost nothing
    clock.now += 360.0
    assert limit.allow("a", 10)
    assert not limit.allow("a")


def test_many_keys_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "_KEYS_MAX", 100)
    clock = Clock()
    limit = RateLimit(10, clock=clock)
    assert sum(limit.allow(str(key)) for key in range(1000)) == 110
    assert len(limit._buckets) <= 101
    clock.now += 61.0
    assert limit.allow("fresh")
    assert len(limit._buckets) == 1


# --- ACME answers ---------------------------------------------------------------------


def test_an_answer_is_shown_for_its_hostname_and_token_until_it_expires() -> None:
    clock = Clock()
    answers = Answers(SMALL, clock=clock)
    assert answers.put(COTTAGE.id, "a.cottage.example.com", "t", "t.key")
    assert answers.get("a.cottage.example.com", "t") == "t.key"
    assert answers.get("b.cottage.example.com", "t") is None
    assert answers.get("a.cottage.example.com", "u") is None
    clock.now += SMALL.answer_lifetime_s
    assert answers.get("a.cottage.example.com", "t") is None


def test_a_home_shows_so_many_answers_and_no_more() -> None:
    clock = Clock()
    answers = Answers(SMALL, clock=clock)
    for token in "abc":
        assert answers.put(COTTAGE.id, "a.cottage.example.com", token, "x.y")
    assert not answers.put(COTTAGE.id, "a.cottage.example.com", "d", "x.y")
    assert answers.put(COTTAGE.id, "a.cottage.example.com", "a", "new.y")
    assert answers.get("a.cottage.example.com", "a") == "new.y"
    assert answers.put(BARN.id, "a.barn.example.com", "d", "x.y")
    answers.drop(COTTAGE.id, "a.cottage.example.com", "a")
    assert answers.put(COTTAGE.id, "a.cottage.example.com", "d", "x.y")
    clock.now += SMALL.answer_lifetime_s
    assert answers.put(COTTAGE.id, "a.cottage.example.com", "e", "x.y")
    assert len(answers._answers) == 1


def test_a_home_drops_its_own_answers_only() -> None:
    answers = Answers(SMALL, clock=Clock())
    answers.put(COTTAGE.id, "a.cottage.example.com", "t", "t.key")
    answers.put(BARN.id, "a.barn.example.com", "t", "t.key")
    answers.drop(BARN.id, "a.cottage.example.com", "t")
    answers.drop(BARN.id, "a.cottage.example.com", "never shown")
    assert answers.get("a.cottage.example.com", "t") == "t.key"
    answers.drop_all(COTTAGE.id)
    assert answers.get("a.cottage.example.com", "t") is None
    assert answers.get("a.barn.example.com", "t") == "t.key"


def test_answers_for_a_domain_that_was_taken_away_are_not_shown() -> None:
    answers = Answers(SMALL, clock=Clock())
    answers.put(BARN.id, "a.barn.example.com", "t", "t.key")
    answers.put(BARN.id, "a.barn.example.net", "t", "t.key")
    answers.put(COTTAGE.id, "a.cottage.example.com", "t", "t.key")
    answers.keep(BARN.id, lambda hostname: hostname.endswith(".com"))
    assert answers.get("a.barn.example.com", "t") == "t.key"
    assert answers.get("a.barn.example.net", "t") is None
    assert answers.get("a.cottage.example.com", "t") == "t.key"
    assert [one[0] for one in answers.all()] == [
        "a.barn.example.com",
        "a.cottage.example.com",
    ]


def test_an_answer_that_changes_hands_counts_for_who_has_it() -> None:
    """As after a domain went from one home to another."""
    answers = Answers(SMALL, clock=Clock())
    answers.put(BARN.id, "a.example.com", "t", "old.key")
    answers.put(COTTAGE.id, "a.example.com", "t", "new.key")
    answers.drop_all(BARN.id)
    assert answers.get("a.example.com", "t") == "new.key"
    answers.drop(BARN.id, "a.example.com", "t")
    assert answers.get("a.example.com", "t") == "new.key"
    answers.drop_all(COTTAGE.id)
    assert not answers._answers
    assert not answers._of_home


def test_an_answer_that_was_taken_over_lives_no_longer_for_it() -> None:
    clock = Clock()
    answers = Answers(SMALL, clock=clock)
    soon = clock.now + 5.0
    assert answers.put(BARN.id, "a.barn.example.com", "t", "k.k", expires=soon)
    late = clock.now + 1e9
    assert answers.put(BARN.id, "b.barn.example.com", "t", "k.k", expires=late)
    clock.now += 5.0
    assert answers.get("a.barn.example.com", "t") is None
    clock.now += SMALL.answer_lifetime_s
    assert answers.get("b.barn.example.com", "t") is None


# --- refusals -------------------------------------------------------------------------


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counters(clock: Clock, caplog: pytest.LogCaptureFixture) -> Counters:
    caplog.set_level(logging.WARNING, "hearthgate.relay.counting.refusals")
    return Counters(clock=clock, log_period_s=60.0)


def test_a_cause_is_counted_each_time_and_logged_once_per_period(
    counters: Counters, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        counters.refuse("a broken hello", "203.0.113.5")
    assert counters.refused["a broken hello"] == 5
    assert caplog.messages == ["Refused: a broken hello, 203.0.113.5"]
    clock.now += 60.0
    counters.refuse("a broken hello", "203.0.113.6")
    assert caplog.messages[1:] == [
        "Refused: a broken hello, 203.0.113.6 (4 more since the last line)"
    ]
    clock.now += 60.0
    counters.refuse("a broken hello")
    assert caplog.messages[2:] == ["Refused: a broken hello"]


def test_each_home_has_its_own_line(
    counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    for home in ("cottage", "barn", "cottage"):
        counters.refuse("a hostname", home=home)
    assert caplog.messages == [
        "cottage: Refused: a hostname",
        "barn: Refused: a hostname",
    ]
    assert counters.refused["a hostname"] == 3


def test_many_sources_take_bounded_memory(counters: Counters) -> None:
    for number in range(5000):
        counters.refuse("a hostname", home=str(number))
    assert len(counters._logged) <= 1000
