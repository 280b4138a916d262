"""The ClientHello parser against anything, and against OpenSSL."""

import random
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from hearthgate.wire.hello import Hello, NeedMore, NotHello, read_hello
from tests.support import hellos

FLIGHTS = [
    *hellos.HELLOS.values(),
    *hellos.NAMELESS.values(),
    *hellos.BROKEN.values(),
]
BOUNDS = st.sampled_from([64, 200, 1024, 32 * 1024])
FRAGMENTS = st.integers(1, 400)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FLIGHTS), st.data(), st.binary(max_size=300), BOUNDS)
def test_any_prefix_and_any_bytes_give_one_of_three_outcomes(
    flight: bytes, data: st.DataObject, noise: bytes, bound: int
) -> None:
    prefix = flight[: data.draw(st.integers(0, len(flight)))]
    outcome = read_hello(prefix + noise, max_bytes=bound)
    if isinstance(outcome, NeedMore):
        assert 0 < outcome.missing <= bound - len(prefix + noise)
    else:
        assert isinstance(outcome, Hello | NotHello)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FLIGHTS), st.data(), st.binary(max_size=99), BOUNDS)
def test_an_outcome_never_changes_with_what_comes_later(
    flight: bytes, data: st.DataObject, later: bytes, bound: int
) -> None:
    prefix = flight[: data.draw(st.integers(0, len(flight)))]
    outcome = read_hello(prefix, max_bytes=bound)
    if not isinstance(outcome, NeedMore):
        after = read_hello(prefix + later, max_bytes=bound)
        assert type(after) is type(outcome)
        assert outcome == after or isinstance(outcome, NotHello)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FLIGHTS), st.data(), BOUNDS)
def test_one_changed_byte_never_raises(
    flight: bytes, data: st.DataObject, bound: int
) -> None:
    changed = bytearray(flight)
    at = data.draw(st.integers(0, min(len(flight), 400) - 1))
    changed[at] = data.draw(st.integers(0, 255))
    outcome = read_hello(bytes(changed), max_bytes=bound)
    assert isinstance(outcome, Hello | NeedMore | NotHello)


@settings(max_examples=200, deadline=None)
@given(st.lists(FRAGMENTS, min_size=1, max_size=40), BOUNDS)
def test_records_of_any_size_carry_the_same_hello(sizes: list[int], bound: int) -> None:
    whole = hellos.message(hellos.body([hellos.server_name(hellos.NAME)]))
    flight, at = b"", 0
    for size in [*sizes, len(whole)]:
        if at < len(whole):
            flight += hellos.record(whole[at : at + size])
            at += size
    outcome = read_hello(flight, max_bytes=bound)
    if len(flight) <= bound:
        assert outcome == Hello(hellos.NAME, (), len(flight))
    else:
        assert isinstance(outcome, NotHello)


def test_hellos_of_openssl_give_the_names_that_it_was_told() -> None:
    rng = random.Random(7)
    alphabet = string.ascii_lowercase + string.digits
    for _ in range(60):
        labels = [
            "".join(rng.choices(alphabet, k=rng.randint(1, 40)))
            for _ in range(rng.randint(2, 5))
        ]
        name = ".".join(labels)
        protocols = rng.sample(["h2", "http/1.1", "dot", "x" * 30], rng.randint(0, 3))
        flight = hellos.openssl_hello(name, protocols)
        expected = tuple(one.encode() for one in protocols)
        assert read_hello(flight, max_bytes=32768) == Hello(name, expected, len(flight))
