"""Which flow makes room for another."""

from hypothesis import given
from hypothesis import strategies as st

from hearthgate.relay.forwards.udp_flows import Flow, Table


def flow(number: int, last: float, *, proven: bool = False) -> Flow:
    made = Flow((3, ("192.0.2.7", number)), last)
    made.proofs = 2 if proven else 0
    return made


def table(*flows: Flow) -> Table[Flow]:
    made: Table[Flow] = Table()
    for one in flows:
        made.add(one)
    return made


def test_the_one_that_was_silent_for_longest_goes() -> None:
    one, other = flow(1, 10.0), flow(2, 20.0)
    found = table(one, other)
    assert found.most_idle(0.0) is one
    one.last = 30.0
    assert found.most_idle(0.0) is other


def test_a_proven_one_stays_while_there_is_another() -> None:
    proven, unproven = flow(1, 10.0, proven=True), flow(2, 99.0)
    assert table(proven, unproven).most_idle(100.0) is unproven


def test_a_proven_one_goes_only_after_a_while() -> None:
    found = table(flow(1, 10.0, proven=True), flow(2, 20.0, proven=True))
    assert found.most_idle(10.0) is None
    gone = found.most_idle(11.0)
    assert gone is not None
    assert gone.last == 10.0


def test_one_that_is_proven_later_changes_sides() -> None:
    one = flow(1, 10.0)
    found = table(one)
    one.proofs = 2
    assert found.most_idle(5.0) is None
    assert len(found) == 1
    found.remove(one)
    assert len(found) == 0
    assert found.most_idle(99.0) is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 50)), min_size=1))
def test_nobody_is_sent_away_before_one_that_is_forged(
    changes: list[tuple[bool, int]],
) -> None:
    flows = [flow(number, 0.0) for number in range(len(changes))]
    found = table(*flows)
    for one, (proven, last) in zip(flows, changes, strict=True):
        one.proofs = 2 if proven else 0
        one.last = float(last)
    gone = found.most_idle(51.0)
    assert gone is not None
    assert not gone.is_proven or all(one.is_proven for one in flows)
    assert len(found) == len(flows)
