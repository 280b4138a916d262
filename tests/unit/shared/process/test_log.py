"""What stands in the log and in the terminal, whatever strangers call themselves."""

from collections.abc import Callable, Iterator
import json
import logging
import re
import subprocess
import sys
from typing import Any

import pytest

from hearthgate.home import commands as home_commands
from hearthgate.relay.owner import tables
from hearthgate.shared.process.log import (
    PLAIN,
    JsonFormatter,
    LogFormat,
    LogLevel,
    TextFormatter,
    set_up_log,
)

FORGED = "lamp\n2026-11-28 12:00:00 INFO    relay: all is well\x1b[2J\u202e"
SHOWN = r"lamp\n2026-11-28 12:00:00 INFO    relay: all is well\x1b[2J\u202e"
# Where a line of the log begins.
LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ ", re.MULTILINE)


class ForeignError(Exception):
    """Quotes what a stranger has sent."""


def record(
    message: str, *arguments: object, name: str = "hearthgate.relay.doors.front_door"
) -> logging.LogRecord:
    return logging.LogRecord(
        name, logging.INFO, __file__, 1, message, arguments, exc_info=None
    )


def failed(message: str) -> logging.LogRecord:
    found = record("%s failed", message)
    with pytest.raises(ForeignError) as caught:
        raise ForeignError(message) from ValueError(message)
    found.exc_info = (caught.type, caught.value, caught.tb)
    return found


def test_a_name_in_the_log_forges_no_line_and_reaches_no_terminal() -> None:
    for one in (record("%s: Connected", FORGED), record(FORGED + ": Connected")):
        line = TextFormatter().format(one)
        assert line.endswith(f" INFO    relay.doors.front_door: {SHOWN}: Connected")
        assert line.isprintable()


def test_the_name_of_a_logger_forges_no_line_either() -> None:
    assert TextFormatter().format(record("hello", name=FORGED)).isprintable()


def test_a_traceback_that_quotes_a_stranger_forges_no_line() -> None:
    text = TextFormatter().format(failed(FORGED))
    first, *others = text.split("\n")
    assert first.endswith(f"{SHOWN} failed")
    assert len(LINE.findall(text)) == 1
    assert others
    assert all(line.startswith("  | ") and line.isprintable() for line in others)
    assert "  | Traceback (most recent call last):" in others


def test_a_traceback_that_another_formatter_has_left_is_not_taken_over() -> None:
    one = failed(FORGED)
    logging.Formatter().format(one)  # keeps its own in the record
    text = TextFormatter().format(one)
    assert len(LINE.findall(text)) == 1
    assert "\x1b" not in text


def test_a_stack_is_indented_as_well() -> None:
    one = record("%s", "here")
    one.stack_info = f"Stack (most recent call last):\n{FORGED}"
    assert len(LINE.findall(TextFormatter().format(one))) == 1


def test_json_says_what_was_said_in_one_printable_line() -> None:
    line = JsonFormatter().format(failed(FORGED))
    assert line.isprintable()
    said: dict[str, Any] = json.loads(line)
    assert said["message"] == f"{FORGED} failed"
    assert f"ForeignError: {FORGED}" in said["traceback"]


def test_a_long_text_of_a_stranger_is_cut_with_a_remark() -> None:
    line = TextFormatter().format(record("%s", "a" * 1_000_000))
    assert line.endswith("a… (992000 more characters)")
    said = json.loads(JsonFormatter().format(record("%s", "a" * 1_000_000)))
    assert said["message"].endswith("a… (992000 more characters)")


def test_a_picture_keeps_its_lines_and_nothing_else() -> None:
    one = record("%s", "█▀▄\n▄ █\x1b[2J", name=PLAIN)
    assert TextFormatter().format(one) == "█▀▄\n▄ █\\x1b[2J"


@pytest.fixture
def log_as_before() -> Iterator[None]:
    root, hook = logging.getLogger(), sys.excepthook
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    sys.excepthook = hook
    logging.captureWarnings(False)


@pytest.mark.usefixtures("log_as_before")
def test_both_formats_are_set_up_with_their_formatter() -> None:
    for style, formatter in (
        (LogFormat.TEXT, TextFormatter),
        (LogFormat.JSON, JsonFormatter),
    ):
        set_up_log(LogLevel.INFO, style)
        (handler,) = logging.getLogger().handlers
        assert isinstance(handler.formatter, formatter)


def test_a_crash_is_told_by_the_log_too() -> None:
    program = (
        "from hearthgate.shared.process.log import *;"
        "set_up_log(LogLevel.INFO, LogFormat.TEXT);"
        f"raise ValueError({FORGED!r})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert len(LINE.findall(ended.stderr)) == 1
    assert f"ValueError: {SHOWN.partition(chr(92))[0]}" in ended.stderr
    assert "\x1b" not in ended.stderr


# --- the terminal ---------------------------------------------------------------------

HOME = {
    "name": "[red]cottage[/red] :fire:",
    "state": "invited",
    "connected": True,
    "domains": ["[link=https://evil.example]x[/link]", FORGED],
    "hostnames": [FORGED],
    "tcp": [],
    "udp": [],
    "expires": 0,
}


@pytest.mark.parametrize(
    "show",
    [
        lambda: tables.show_home(HOME),
        lambda: tables.show_homes({"homes": [HOME], "invites": [HOME]}),
    ],
    ids=["one home", "all homes"],
)
def test_tables_show_what_a_name_is_and_obey_none_of_it(
    show: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    show()
    printed = capsys.readouterr().out
    assert "[red]cottage[/red] :fire:" in printed
    assert "[link=https://evil.example]x[/link]" in printed
    assert SHOWN in printed
    assert all(line.isprintable() for line in printed.split("\n"))


def test_what_a_relay_or_a_service_calls_itself_forges_no_line_of_a_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    problem = {"message": FORGED}
    state = {
        "relays": [{"host": FORGED, "state": "x", "problem": problem, "domains": []}],
        "services": [{"name": FORGED, "id": "a", "url": FORGED, "exposure": None}],
    }
    answers = {"/api/state": state, "/api/relays": {"host": FORGED, "name": FORGED}}
    monkeypatch.setattr(
        home_commands, "_ask", lambda _settings, _method, path, *_: answers[path]
    )
    for words in (["status"], ["pair", "HG1-CODE"]):
        home_commands.commands.main(words, standalone_mode=False)
        printed = capsys.readouterr().out
        assert SHOWN in printed
        assert all(line.isprintable() for line in printed.split("\n"))
