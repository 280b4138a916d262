"""The ClientHello parser: known bytes, every prefix, and what it must never do."""

import pytest

from hearthgate.wire.hello import Hello, NeedMore, NotHello, read_hello
from tests.support import hellos
from tests.support.hellos import NAME

MAX = 32 * 1024
Outcome = Hello | NeedMore | NotHello

# Taken apart by hand from RFC 8446 §4.1.2, so that builder and parser cannot agree on
# the same mistake.
KNOWN = {
    "record: handshake": "16",
    "record: version": "03 01",
    "record: length 78": "00 4e",
    "message: client_hello": "01",
    "message: length 74": "00 00 4a",
    "legacy_version": "03 03",
    "random": "00" * 32,
    "legacy_session_id, empty": "00",
    "cipher_suites: length": "00 02",
    "cipher_suites: TLS_AES_128_GCM_SHA256": "13 01",
    "legacy_compression_methods: null": "01 00",
    "extensions: length 31": "00 1f",
    "server_name: type": "00 00",
    "server_name: length 16": "00 10",
    "server_name_list: length 14": "00 0e",
    "name_type: host_name": "00",
    "host_name: length 11": "00 0b",
    "host_name: a.Example.DE": "61 2e 45 78 61 6d 70 6c 65 2e 44",
    "alpn: type": "00 10",
    "alpn: length 7": "00 07",
    "alpn: list of 5": "00 05",
    "alpn: h2": "02 68 32",
    "alpn: x": "01 78",
}


def read(flight: bytes, max_bytes: int = MAX) -> Outcome:
    return read_hello(flight, max_bytes=max_bytes)


def looks(flight: bytes, step: int = 1) -> tuple[Outcome, int]:
    """Look as the front door does: again only once what was missing is there."""
    count, wanted = 0, step
    while True:
        outcome = read(flight[:wanted])
        count += 1
        if not isinstance(outcome, NeedMore):
            return outcome, count
        assert outcome.missing > 0
        assert wanted + outcome.missing <= len(flight), "more than the whole hello"
        wanted = min(wanted + max(outcome.missing, step), len(flight))


def test_known_bytes_are_read_field_by_field() -> None:
    flight = bytes.fromhex("".join(KNOWN.values()))
    assert len(flight) == 83
    assert read(flight) == Hello("a.example.d", (b"h2", b"x"), 83)


@pytest.mark.parametrize("flight", hellos.HELLOS.values(), ids=hellos.HELLOS)
def test_a_hello_gives_its_name_in_the_spelling_that_is_compared(flight: bytes) -> None:
    outcome = read(flight)
    assert isinstance(outcome, Hello)
    assert outcome.server_name == NAME
    assert outcome.size == len(flight)


@pytest.mark.parametrize("flight", hellos.NAMELESS.values(), ids=hellos.NAMELESS)
def test_a_hello_without_a_name_is_a_hello_without_a_name(flight: bytes) -> None:
    outcome = read(flight)
    assert isinstance(outcome, Hello)
    assert outcome.server_name is None


@pytest.mark.parametrize("flight", hellos.BROKEN.values(), ids=hellos.BROKEN)
def test_a_broken_hello_is_never_a_hello_without_a_name(flight: bytes) -> None:
    assert isinstance(read(flight), NotHello)


@pytest.mark.parametrize("flight", hellos.STRANGERS.values(), ids=hellos.STRANGERS)
def test_what_is_not_tls_is_no_hello_from_its_first_byte(flight: bytes) -> None:
    assert isinstance(read(flight[:1]), NotHello)
    assert isinstance(read(flight), NotHello)


@pytest.mark.parametrize("flight", [*hellos.HELLOS.values(), *hellos.NAMELESS.values()])
def test_every_prefix_needs_more_and_never_more_than_there_is(flight: bytes) -> None:
    step = 1 if len(flight) < 4000 else 97
    for size in range(0, len(flight), step):
        outcome = read(flight[:size])
        assert isinstance(outcome, NeedMore)
        assert 0 < outcome.missing <= len(flight) - size


@pytest.mark.parametrize("flight", hellos.HELLOS.values(), ids=hellos.HELLOS)
@pytest.mark.parametrize("step", [1, 7, 1400])
def test_waiting_for_what_is_missing_finds_the_hello_in_few_looks(
    flight: bytes, step: int
) -> None:
    outcome, count = looks(flight, step)
    assert isinstance(outcome, Hello)
    # 25 records, and for records of one byte each a fifth of the rest at a time.
    assert count <= 45


def test_records_of_one_byte_cannot_make_a_look_for_every_byte() -> None:
    """Each header used to be told apart from its fragment, at a look for each."""
    flight = hellos.hello(NAME, more=[hellos.key_share()], fragment=1)
    _, count = looks(flight, 1)
    assert count <= 60 < len(flight) // 100


@pytest.mark.parametrize(
    "trailing", [b"\0", b"\x16\x03\x01", b"GET / HTTP/1.1", b"x" * 999]
)
def test_what_follows_a_hello_changes_nothing(trailing: bytes) -> None:
    for flight in hellos.HELLOS.values():
        assert read(flight + trailing) == read(flight)


@pytest.mark.parametrize("pieces", range(1, 30))
def test_a_hello_over_n_records_needs_more_until_its_last_byte(pieces: int) -> None:
    whole = hellos.message(hellos.body([hellos.server_name(NAME)]))
    flight = hellos.records(whole, -(-len(whole) // pieces))
    assert isinstance(read(flight[:-1]), NeedMore)
    assert read(flight) == Hello(NAME, (), len(flight))


def test_a_second_message_in_the_same_record_is_left_alone() -> None:
    whole = hellos.message(hellos.body([hellos.server_name(NAME)]))
    flight = hellos.record(whole + b"\x01\x00\x00\x01x")
    assert read(flight) == Hello(NAME, (), len(flight))


def test_an_address_as_name_is_read_and_for_the_caller_to_refuse() -> None:
    outcome = read(hellos.hello("203.0.113.5"))
    assert isinstance(outcome, Hello)
    assert outcome.server_name == "203.0.113.5"


def test_only_one_trailing_dot_is_stripped() -> None:
    outcome = read(hellos.hello(NAME + ".."))
    assert isinstance(outcome, Hello)
    assert outcome.server_name == NAME + "."


def test_protocols_come_in_the_visitors_order() -> None:
    outcome = read(hellos.hello(NAME, more=[hellos.alpn(b"acme-tls/1", b"h2")]))
    assert isinstance(outcome, Hello)
    assert outcome.protocols == (b"acme-tls/1", b"h2")


@pytest.mark.parametrize("field", hellos.lies(), ids=str)
@pytest.mark.parametrize("by", [-1, 1, 2, 50])
def test_a_length_that_lies_is_found_out(field: str, by: int) -> None:
    outcome = read(hellos.lies()[field](by))
    if field == "message" and by > 0:
        assert outcome == NeedMore(by + 5)  # it may still be on its way
    else:
        assert isinstance(outcome, NotHello)


def test_a_hello_of_exactly_the_bound_is_read_and_a_longer_one_is_not() -> None:
    flight = hellos.HELLOS["with a post-quantum key"]
    assert isinstance(read(flight, len(flight)), Hello)
    assert isinstance(read(flight, len(flight) - 1), NotHello)


def test_a_hello_beyond_the_bound_is_refused_from_its_header_on() -> None:
    assert isinstance(read(b"\x16\x03\x01\x40\x00", 4096), NotHello)
    told = hellos.record(b"\x01\x00\x20\x00")  # a message of 8 KiB
    assert isinstance(read(told, 4096), NotHello)


def test_refused_for_its_size_stays_refused_whatever_record_comes_next() -> None:
    """The next header, once whole, used to turn the answer back into NeedMore."""
    flight = hellos.record(b"\x01\x00\x01\x00" + b"x" * 100)  # 156 of 260 to come
    bound = len(flight) + 5 + 155
    assert isinstance(read(flight, bound), NotHello)
    assert isinstance(read(flight + b"\x16\x03\x01\x00\x01", bound), NotHello)


def test_records_of_tls_1_0_to_1_3_are_read() -> None:
    plain = hellos.hello(NAME)
    for minor in range(5):
        assert isinstance(read(plain[:2] + bytes((minor,)) + plain[3:]), Hello)
