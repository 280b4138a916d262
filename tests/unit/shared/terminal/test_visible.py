import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.shared.terminal.visible import (
    indented_lines,
    visible,
    visible_json,
    visible_lines,
)

# Each acts on a terminal or on what a reader believes to see.
ACTING = {
    "end of a line": "\n",
    "back to its start": "\r",
    "escape": "\x1b",
    "bell": "\x07",
    "backspace": "\x08",
    "tab": "\t",
    "NUL": "\0",
    "delete": "\x7f",
    "one-character CSI": "\x9b",
    "one-character OSC": "\x9d",
    "next line": "\x85",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "right to left from here": "\u202e",
    "isolate": "\u2066",
    "mark": "\u200f",
    "Arabic mark": "\u061c",
    "no width": "\u200b",
    "byte order mark": "\ufeff",
    "tag": "\U000e0041",
    "half of a pair": "\ud800",
    "private use": "\ue000",
}


@pytest.mark.parametrize("one", ACTING.values(), ids=ACTING)
def test_what_acts_is_shown_by_its_number(one: str) -> None:
    shown = visible(f"lamp{one}off")
    assert shown.startswith("lamp\\")
    assert shown.endswith("off")
    assert shown.isprintable()


@pytest.mark.parametrize(
    "text", ["", "Küche", "Привет", "温度", "日光 🔆", "a\\b", "█▀▄"]
)
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def test_the_numbers_are_those_that_python_writes() -> None:
    assert visible("\x1b[2J\n\x9b\u202e\U000e0041") == (
        r"\x1b[2J\n\x9b\u202e\U000e0041"
    )


@given(st.text(alphabet=st.characters()))
def test_nothing_that_acts_is_left_of_any_text(text: str) -> None:
    assert {unicodedata.category(one) for one in visible(text)}.isdisjoint(
        {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    )
    lines = visible_lines(text).split("\n")
    assert len(lines) == text.count("\n") + 1
    assert all(line.isprintable() for line in lines)
    assert all(line.startswith("  | ") for line in indented_lines(text).split("\n"))


@given(st.text(alphabet=st.characters()))
def test_json_says_the_same_and_hides_nothing(text: str) -> None:
    shown = visible_json(json.dumps({"message": text}, ensure_ascii=False))
    assert shown.isprintable()
    assert json.loads(shown) == {"message": text}
