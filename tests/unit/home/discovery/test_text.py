"""Names and titles from strangers, made fit to show."""

import re
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.home.discovery.text import clean_name, clean_text, service_id

ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("Living room", "Living room"),
        ("  two\n lines\t ", "two lines"),
        ("a\u202egnp.exe", "agnp.exe"),  # right-to-left override
        ("\u2066bank\u2069", "bank"),  # isolate
        ("nul\0bell\x07esc\x1b[31m", "nulbellesc[31m"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("e" + "\u0301" * 30 + "!", "é\u0301\u0301!"),
        ("\ud800broken", "broken"),
        ("\u200b \u200b", ""),
    ],
)
def test_what_could_deceive_a_reader_is_dropped(raw: str, shown: str) -> None:
    assert clean_text(raw, 80) == shown


def test_long_text_ends_in_an_ellipsis_within_the_limit() -> None:
    assert clean_text("x" * 500, 10) == "x" * 9 + "…"


@given(st.text(), st.integers(4, 100))
def test_cleaned_text_is_one_bounded_line_and_stays_as_it_is(raw: str, n: int) -> None:
    text = clean_text(raw, n)
    assert len(text) <= n
    assert text == text.strip()
    assert not any(unicodedata.category(char)[0] == "C" for char in text)
    assert clean_text(text, n) == text


@pytest.mark.parametrize(
    ("instance", "name"),
    [
        ("Brother HL-L2350DW [3c2af4aabbcc]", "Brother HL-L2350DW"),
        ("nas (00:11:22:33:44:55)", "nas"),
        ("8e6f0c52b0a94c7aa3d7b6c1d2e3f405", ""),
        ("4ad8e0a0-5b52-4d3c-9f57-6a7e2b8f1c11", ""),
        ("Fade", "Fade"),
    ],
)
def test_addresses_and_serial_numbers_are_no_names(instance: str, name: str) -> None:
    assert clean_name(instance, 80) == name


@given(st.text(), st.sampled_from(["_http._tcp", "_wled._tcp"]))
def test_every_instance_name_gives_a_valid_id(instance: str, kind: str) -> None:
    made = service_id(instance, kind)
    assert len(made) <= 64
    assert ID.fullmatch(made)


def test_an_id_is_the_same_after_a_restart_and_in_another_case() -> None:
    assert service_id("Living room", "_http._tcp") == "living-room-0a33a5594d"
    assert service_id("LIVING Room", "_http._tcp") == "living-room-0a33a5594d"


def test_name_and_type_both_make_the_id() -> None:
    ids = {
        service_id("a b", "_http._tcp"),
        service_id("a-b", "_http._tcp"),
        service_id("a b", "_wled._tcp"),
    }
    assert len(ids) == 3


@given(st.text(max_size=20), st.text(max_size=20))
def test_different_names_never_share_an_id(one: str, other: str) -> None:
    fold = [name.encode("utf-8", "surrogatepass").lower() for name in (one, other)]
    ids = [service_id(name, "_http._tcp") for name in (one, other)]
    assert (ids[0] == ids[1]) == (fold[0] == fold[1])
