"""Sealed datagrams: what is written is read once, and nothing else is."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.wire.datagrams import (
    FLOW_BYTES,
    HEAD_BYTES,
    SEAL_BYTES,
    Kind,
    Opener,
    Sealer,
    datagram_keys,
    read_flow,
    read_open,
    runs,
    session_tag,
    tag_of,
    write_flow,
    write_open,
)

CHANNEL_KEY = bytes(range(32))
TAG = session_tag(bytes(range(16)))


@pytest.fixture
def sealer() -> Sealer:
    return Sealer(datagram_keys(CHANNEL_KEY)[0], TAG)


@pytest.fixture
def opener() -> Opener:
    return Opener(datagram_keys(CHANNEL_KEY)[0])


def test_a_datagram_has_its_parts_where_they_are_documented(sealer: Sealer) -> None:
    datagram = sealer.seal(b"hello")
    assert datagram[:1] == b"H"
    assert datagram[1:8] == bytes(range(7))
    assert datagram[8:16] == b"\0\0\0\0\0\0\0\1"
    assert len(datagram) == SEAL_BYTES + 5
    assert tag_of(datagram) == TAG


@given(message=st.binary(min_size=1, max_size=1500))
def test_what_is_sealed_is_opened(message: bytes) -> None:
    key, _ = datagram_keys(CHANNEL_KEY)
    assert Opener(key).open(Sealer(key, TAG).seal(message)) == message


def test_a_replayed_datagram_counts_once(sealer: Sealer, opener: Opener) -> None:
    first, second = sealer.seal(b"a"), sealer.seal(b"b")
    assert opener.open(second) == b"b"
    assert opener.open(first) == b"a"
    assert not opener.is_newest(first)
    assert opener.is_newest(second)
    assert opener.open(first) is None
    assert opener.open(second) is None
    assert (opener.replayed, opener.forged) == (2, 0)


def test_a_changed_bit_anywhere_is_a_forgery(sealer: Sealer, opener: Opener) -> None:
    datagram = sealer.seal(b"hello")
    for place in range(len(datagram)):
        changed = bytearray(datagram)
        changed[place] ^= 1
        assert opener.open(bytes(changed)) is None
    assert opener.forged == len(datagram)
    assert opener.open(datagram) == b"hello"  # none of them moved the window


def test_every_prefix_is_refused(sealer: Sealer, opener: Opener) -> None:
    datagram = sealer.seal(b"hello")
    for size in range(len(datagram)):
        assert opener.open(datagram[:size]) is None


def test_one_direction_cannot_be_sent_back_as_the_other(sealer: Sealer) -> None:
    towards_home = Opener(datagram_keys(CHANNEL_KEY)[1])
    assert towards_home.open(sealer.seal(b"hello")) is None


@pytest.mark.parametrize("visitor", [("203.0.113.9", 4000), ("2001:db8::9", 65535)])
def test_an_open_says_who_the_visitor_is(visitor: tuple[str, int]) -> None:
    opened = read_open(write_open(7, 51820, visitor, b"payload"))
    assert opened is not None
    assert (opened.flow, opened.port, opened.visitor) == (7, 51820, visitor)
    assert opened.payload == b"payload"
    assert read_open(write_open(7, 51820, visitor, b"")[:-1]) is None


def test_a_flow_has_a_number_and_a_payload() -> None:
    message = write_flow(Kind.DATA, 0xFFFFFFFF, b"payload")
    assert read_flow(message) == 0xFFFFFFFF
    assert message[FLOW_BYTES:] == b"payload"
    assert read_flow(message[: FLOW_BYTES - 1]) is None


@pytest.mark.parametrize("data", [b"", b"H", b"H" * HEAD_BYTES, b"G" * 100])
def test_what_is_no_datagram_has_no_tag(data: bytes) -> None:
    assert tag_of(data) is None


@given(sizes=st.lists(st.integers(min_value=1, max_value=1500), max_size=200))
def test_runs_cover_all_in_order_and_fit_into_a_call(sizes: list[int]) -> None:
    datagrams = [bytes(size) for size in sizes]
    found = runs(datagrams, 60_000)
    assert [one for start, end in found for one in range(start, end)] == list(
        range(len(sizes))
    )
    for start, end in found:
        run = sizes[start:end]
        assert len(run) <= 64
        assert sum(run) <= 60_000
        assert set(run[:-1]) <= {run[0]}
        assert run[-1] <= run[0]
