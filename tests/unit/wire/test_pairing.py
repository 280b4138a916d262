"""Pairing codes: what people do to them, and what they are told then."""

import base64
import string

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from hearthgate.wire.pairing import (
    PairingCode,
    PairingCodeError,
    PairingCodeMistypedError,
    PairingCodeTruncatedError,
    PairingCodeWrongError,
    read_pairing_code,
    write_pairing_code,
)

CODE = PairingCode(
    "relay.example.com", 8443, bytes(range(32)), bytes(16), 1_800_000_000
)
CODES = [
    CODE,
    PairingCode("203.0.113.5", 443, b"\xff" * 32, b"\xaa" * 16, 0),
    PairingCode("2001:db8::5", 1, b"\x00" * 32, b"\x55" * 16, (1 << 32) - 1),
    PairingCode("r.example", 65535, bytes(32), bytes(16), 1),
    PairingCode(".".join(["x" * 62] * 4), 443, bytes(32), bytes(16), 1),
]
ALPHABET = string.ascii_uppercase + "234567"

_LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
_HOSTS = st.one_of(
    st.ip_addresses().map(str),
    st.lists(_LABELS, min_size=1, max_size=4).map(
        lambda all_: ".".join([*all_, "test"])
    ),
)
_CODES = st.builds(
    PairingCode,
    host=_HOSTS,
    port=st.integers(1, 65535),
    fingerprint=st.binary(min_size=32, max_size=32),
    secret=st.binary(min_size=16, max_size=16),
    expires=st.integers(0, (1 << 32) - 1),
)


@settings(max_examples=200, deadline=None)
@given(_CODES)
def test_a_code_that_was_written_is_read_again(code: PairingCode) -> None:
    assert read_pairing_code(write_pairing_code(code)) == code


def test_the_layout_is_the_documented_one() -> None:
    text = write_pairing_code(CODE).replace("-", "").removeprefix("HG1")
    data = base64.b32decode(text + "=" * (-len(text) % 8))
    assert {
        "length": data[:2],
        "expiry": data[2:6],
        "secret": data[6:22],
        "fingerprint": data[22:54],
        "port": data[54:56],
        "host": data[56:-4],
    } == {
        "length": (77).to_bytes(2, "big"),
        "expiry": (1_800_000_000).to_bytes(4, "big"),
        "secret": bytes(16),
        "fingerprint": bytes(range(32)),
        "port": (8443).to_bytes(2, "big"),
        "host": b"relay.example.com",
    }
    assert len(data) == 77


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.host[:20])
def test_every_cut_end_is_called_cut_off(code: PairingCode) -> None:
    text = write_pairing_code(code)
    whole = text.replace("-", "")
    for size in range(3, len(whole)):
        with pytest.raises(PairingCodeTruncatedError) as caught:
            read_pairing_code(whole[:size])
        if size >= 7:
            assert caught.value.fields["missing"] == len(whole) - size
    for size in range(3):
        with pytest.raises(PairingCodeWrongError):
            read_pairing_code(text[:size])


@pytest.mark.parametrize("code", CODES[:4], ids=lambda code: code.host)
def test_every_changed_character_is_called_mistyped(code: PairingCode) -> None:
    """A change in the length used to be told as a cut, the last one not at all."""
    text = write_pairing_code(code).replace("-", "")
    for at in range(len(text)):
        others = ALPHABET if at < 8 or at > len(text) - 3 else "AQ7"
        expected = PairingCodeWrongError if at < 3 else PairingCodeMistypedError
        for other in set(others) - {text[at]}:
            with pytest.raises(expected):
                read_pairing_code(text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize("other", ["9", "!", "é", "ß", "—é", "\0", "=", "İ", "٣", "😀"])
def test_a_character_that_is_in_no_code_is_called_mistyped(other: str) -> None:
    """Letters beyond ASCII used to end in a ValueError."""
    text = write_pairing_code(CODE)
    for at in (4, 5, 10, len(text) - 1):
        with pytest.raises(PairingCodeMistypedError):
            read_pairing_code(text[:at] + other + text[at + 1 :])


def test_what_people_type_for_o_i_and_b_is_mended() -> None:
    text = write_pairing_code(CODES[1])
    head, rest = text[:4], text[4:]
    mistyped = rest.replace("O", "0").replace("I", "1").replace("B", "8")
    assert mistyped != rest
    assert read_pairing_code(head + mistyped) == CODES[1]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.host[:20])
def test_case_blanks_line_ends_and_dashes_do_not_matter(code: PairingCode) -> None:
    text = write_pairing_code(code)
    for noisy in (
        text.lower(),
        text.replace("-", ""),
        text.replace("-", " "),
        text.replace("-", "\u2013"),
        text.replace("-", " \u2014\n"),
        "\n\t " + "\n".join(text[at : at + 40] for at in range(0, len(text), 40)) + " ",
    ):
        assert read_pairing_code(noisy) == code


@pytest.mark.parametrize(
    "text", ["", " ", "HG", "HG2-AAAAA", "https://relay.example.com", "hello", "é"]
)
def test_other_text_is_called_no_pairing_code(text: str) -> None:
    with pytest.raises(PairingCodeWrongError):
        read_pairing_code(text)


def test_something_added_is_called_mistyped() -> None:
    text = write_pairing_code(CODE)
    for more in ("A", "-AAAAA", "A" * 800):
        with pytest.raises(PairingCodeMistypedError):
            read_pairing_code(text + more)


def test_two_characters_that_changed_places_are_called_mistyped() -> None:
    text = write_pairing_code(CODE).replace("-", "")
    for at in range(3, len(text) - 1):
        swapped = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        if swapped != text:
            with pytest.raises((PairingCodeMistypedError, PairingCodeTruncatedError)):
                read_pairing_code(swapped)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200), st.booleans())
def test_any_text_gives_a_code_or_an_error_with_words(text: str, begins: bool) -> None:
    said = ""
    try:
        read_pairing_code("HG1-" * begins + text)
    except PairingCodeError as err:
        said = f"{err} {err.advice}"
    assert said.endswith("paste it here.")


def test_the_secret_is_not_shown() -> None:
    code = PairingCode("relay.example.com", 443, bytes(32), b"very secret now.", 1)
    assert "secret now" not in repr(code)


def test_the_address_is_shown_as_a_person_writes_it() -> None:
    assert [code.address for code in CODES[:3]] == [
        "relay.example.com:8443",
        "203.0.113.5",
        "[2001:db8::5]:1",
    ]
