"""Preambles and openings: whatever is changed, replayed or moved is refused."""

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from hearthgate.wire.channel import (
    OPENING_BYTES,
    PREAMBLE_BYTES,
    SERIAL_MAX,
    opening_is_authentic,
    opening_size,
    preamble_is_authentic,
    read_preamble,
    write_opening,
    write_preamble,
)
from hearthgate.wire.proxy import proxy_header

SESSION, OTHER_SESSION = b"s" * 16, b"t" * 16
KEY, OTHER_KEY = b"k" * 32, b"l" * 32
PROXY4 = proxy_header(("198.51.100.7", 50_000), ("203.0.113.5", 443))
PROXY6 = proxy_header(("2001:db8::7", 50_000), ("2001:db8::5", 443))


FLIGHT = b"as the visitor said."


def is_taken(preamble: bytes, key: bytes = KEY) -> bool:
    read = read_preamble(preamble)
    return read is not None and preamble_is_authentic(read, key)


def is_opened(
    opening: bytes, session: bytes = SESSION, serial: int = 7, key: bytes = KEY
) -> bool:
    size = opening_size(opening)
    return size == len(opening) and opening_is_authentic(opening, session, serial, key)


def test_a_preamble_has_the_documented_bytes() -> None:
    preamble = write_preamble(SESSION, 0x0102030405060708, KEY)
    assert len(preamble) == PREAMBLE_BYTES == 48
    assert {
        "magic": preamble[:4],
        "kind": preamble[4:5],
        "reserved": preamble[5:8],
        "session": preamble[8:24],
        "serial": preamble[24:32],
    } == {
        "magic": b"HGC1",
        "kind": b"\x01",
        "reserved": b"\0\0\0",
        "session": SESSION,
        "serial": b"\1\2\3\4\5\6\7\x08",
    }
    # BLAKE2b keyed, 16 bytes, of "hearthgate channel preamble" + bytes 0 to 31,
    # computed with OpenSSL's command line (BLAKE2BMAC).
    tag = write_preamble(bytes(16), 1, bytes(32))[32:]
    assert tag.hex() == "cb541b4c548e9097ae7d0ff0025c15cd"


def test_an_opening_has_the_documented_bytes() -> None:
    opening = write_opening(SESSION, 7, KEY, PROXY4, FLIGHT)
    assert len(opening) == OPENING_BYTES + 28 + len(FLIGHT) == 28 + 28 + len(FLIGHT)
    assert {
        "magic": opening[:4],
        "kind": opening[4:5],
        "reserved": opening[5:6],
        "proxy length": opening[6:8],
        "flight length": opening[8:10],
        "reserved too": opening[10:12],
        "proxy": opening[28:56],
        "flight": opening[56:],
    } == {
        "magic": b"HGO1",
        "kind": b"\x01",
        "reserved": b"\0",
        "proxy length": b"\0\x1c",
        "flight length": len(FLIGHT).to_bytes(2, "big"),
        "reserved too": b"\0\0",
        "proxy": PROXY4,
        "flight": FLIGHT,
    }
    tag = write_opening(bytes(16), 1, bytes(32), PROXY4, FLIGHT)[12:28]
    assert tag.hex() == "c76d9fde21dcade008d68e1e960498ef"


@pytest.mark.parametrize("serial", [1, 2, 1 << 53, SERIAL_MAX])
def test_a_preamble_is_read_again(serial: int) -> None:
    preamble = read_preamble(write_preamble(SESSION, serial, KEY))
    assert preamble is not None
    assert (preamble.session_id, preamble.serial) == (SESSION, serial)
    assert preamble_is_authentic(preamble, KEY)


def test_every_flipped_bit_of_a_preamble_is_refused() -> None:
    good = write_preamble(SESSION, 7, KEY)
    assert is_taken(good)
    for bit in range(len(good) * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert not is_taken(bytes(bad)), bit


def test_a_preamble_of_another_session_is_refused() -> None:
    assert not is_taken(write_preamble(SESSION, 7, OTHER_KEY))


def test_a_preamble_that_is_too_short_or_too_long_is_none() -> None:
    good = write_preamble(SESSION, 7, KEY)
    for size in range(PREAMBLE_BYTES):
        assert read_preamble(good[:size]) is None
    assert read_preamble(good + b"\0") is None


@pytest.mark.parametrize("proxy", [PROXY4, PROXY6], ids=["IPv4", "IPv6"])
def test_every_flipped_bit_of_an_opening_is_refused(proxy: bytes) -> None:
    good = write_opening(SESSION, 7, KEY, proxy, FLIGHT)
    assert is_opened(good)
    for bit in range(len(good) * 8):
        bad = bytearray(good)
        bad[bit // 8] ^= 1 << bit % 8
        assert not is_opened(bytes(bad)), bit


def test_an_opening_is_good_for_its_own_channel_only() -> None:
    good = write_opening(SESSION, 7, KEY, PROXY4, FLIGHT)
    assert is_opened(good)
    assert not is_opened(good, serial=8)
    assert not is_opened(good, session=OTHER_SESSION)
    assert not is_opened(good, key=OTHER_KEY)


def test_a_preamble_never_serves_as_an_opening_nor_the_other_way_round() -> None:
    assert opening_size(write_preamble(SESSION, 7, KEY)) is None
    opening = write_opening(SESSION, 7, KEY, PROXY4, FLIGHT)
    assert read_preamble(opening[:PREAMBLE_BYTES]) is None


def test_the_size_of_an_opening_is_known_from_its_first_bytes_on() -> None:
    for proxy in (PROXY4, PROXY6):
        opening = write_opening(SESSION, 7, KEY, proxy, FLIGHT)
        for size in range(OPENING_BYTES):
            assert opening_size(opening[:size]) is None
        assert opening_size(opening[:OPENING_BYTES]) == len(opening)
        assert opening_size(opening + b"the visitor") == len(opening)


@pytest.mark.parametrize("size", [0, 1, 27, 29, 51, 53, 65535])
def test_an_opening_with_another_length_is_none(size: int) -> None:
    opening = write_opening(SESSION, 7, KEY, bytes(size), FLIGHT)
    assert opening_size(opening) is None


@settings(max_examples=300)
@given(st.binary(max_size=120))
def test_no_bytes_make_a_reader_raise(data: bytes) -> None:
    assert not is_taken(data)
    assert not is_opened(data)
