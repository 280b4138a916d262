"""How much goes back to addresses that may be forged."""

from hypothesis import given
from hypothesis import strategies as st

from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.forwards.reply_budgets import ReplyBudgets
from tests.support.relay_parts import Clock, limits

WINDOW_S = 30.0
BASE = 4_000
OF_HOME = 65_536


class Scene:
    """Budgets with a clock to turn."""

    def __init__(self, addresses_max: int = 100) -> None:
        self.clock = Clock()
        self.counters = Counters(clock=self.clock, log_period_s=60)
        bounds = limits(
            unproven_reply_max=BASE,
            unproven_reply_window_s=WINDOW_S,
            unproven_replies_per_home_max_bytes=OF_HOME,
            unproven_addresses_max=addresses_max,
        )
        self.budgets = ReplyBudgets(bounds, self.counters, clock=self.clock)

    def ask(self, address: str, question: int, answer: int, home: str = "a") -> bool:
        """Tell whether the answer to a question may go back."""
        budget = self.budgets.of(address)
        self.budgets.heard(budget, question)
        return self.budgets.spend(budget, answer, home_id=home, home=home)


def test_an_address_gets_three_times_what_it_sent_and_a_base() -> None:
    scene = Scene()
    assert scene.ask("192.0.2.1", 100, BASE + 300)
    assert not scene.ask("192.0.2.1", 0, 1)
    assert scene.ask("192.0.2.1", 1, 3)
    assert scene.counters.refused["an answer to an unproven visitor"] == 1


def test_a_refused_answer_takes_nothing() -> None:
    scene = Scene()
    assert not scene.ask("192.0.2.1", 0, BASE + 1)
    assert scene.ask("192.0.2.1", 0, BASE)


def test_the_base_comes_back_in_time_and_not_beyond() -> None:
    scene = Scene()
    assert scene.ask("192.0.2.1", 0, BASE)
    scene.clock.now += WINDOW_S / 2
    assert not scene.ask("192.0.2.1", 0, BASE // 2 + 1)
    assert scene.ask("192.0.2.1", 0, BASE // 2)
    scene.clock.now += WINDOW_S * 100
    assert scene.ask("192.0.2.1", 0, BASE)
    assert not scene.ask("192.0.2.1", 0, 1)


def test_a_clock_that_steps_back_gives_nothing() -> None:
    scene = Scene()
    assert scene.ask("192.0.2.1", 0, BASE)
    scene.clock.now -= 1_000
    assert not scene.ask("192.0.2.1", 0, 1)


def test_an_ipv6_network_is_one_address_and_its_neighbour_another() -> None:
    scene = Scene()
    assert scene.ask("2001:db8:0:1::1", 0, BASE)
    assert not scene.ask("2001:db8:0:1:ffff::2", 0, 1)
    assert scene.ask("2001:db8:0:2::1", 0, BASE)


def test_who_forges_a_hundred_thousand_addresses_is_bounded() -> None:
    """In what is sent and in what is remembered; another home notices nothing."""
    scene = Scene(addresses_max=1_000)
    got = 0
    for number in range(100_000):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        got += 1_000 * scene.ask(address, 1, 1_000)
    assert got <= OF_HOME
    assert len(scene.budgets) == 1_000
    refused = scene.counters.refused
    assert refused["more answers to unproven visitors than allowed"] > 99_000
    assert refused["an address with a budget that made room for another"] == 99_000
    assert scene.ask("192.0.2.1", 1, 1_000, home="b")
    # What is earned does not depend on the others.
    assert scene.ask("192.0.2.2", 400, 1_200)
    scene.clock.now += WINDOW_S
    assert scene.ask("192.0.2.3", 1, 1_000)


def test_who_is_quiet_is_forgotten_once_its_base_is_whole() -> None:
    scene = Scene()
    quiet, active = "192.0.2.1", "192.0.2.2"
    for address in (quiet, active):
        assert scene.ask(address, 0, BASE)
    scene.clock.now += WINDOW_S / 2
    scene.budgets.heard(scene.budgets.of(active), 10)
    scene.clock.now += WINDOW_S / 2
    scene.budgets.sweep()
    assert len(scene.budgets) == 1
    scene.clock.now += WINDOW_S
    scene.budgets.sweep()
    assert len(scene.budgets) == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.integers(0, 2_000), st.floats(0, 10)),
        max_size=60,
    )
)
def test_no_order_of_questions_gets_more(rounds: list[tuple[int, int, float]]) -> None:
    scene = Scene()
    began = scene.clock.now
    sent = got = 0
    for question, answer, pause_s in rounds:
        sent += question
        got += answer * scene.ask("192.0.2.1", question, answer)
        elapsed = scene.clock.now - began
        assert got <= 3 * sent + BASE * (1 + elapsed / WINDOW_S) + 1
        scene.clock.now += pause_s
