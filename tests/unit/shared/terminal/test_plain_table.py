"""Tables in a terminal: nothing that a person wants to copy is cut off."""

import pytest

from hearthgate.shared.terminal.plain_table import PlainTable

ID = "living-room-television-0a33a5594d"
LONG = "https://photos-of-the-last-forty-years.home.example.com:8443/"


def _cells(shown: str, column: int) -> list[str]:
    rows = [line.split("│")[1:-1] for line in shown.splitlines() if line[0] == "│"]
    return [row[column].strip() for row in rows]


def test_what_is_too_wide_goes_on_in_the_next_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = PlainTable("Name", "Public")
    table.add_row("Photos", LONG)
    table.show()
    assert "".join(_cells(capsys.readouterr().out, 1)) == LONG


def test_so_it_does_in_a_table_without_titles(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    table = PlainTable()
    table.add_row("Address", LONG)
    table.show()
    assert "".join(_cells(capsys.readouterr().out, 1)) == LONG


def test_a_cell_that_is_there_to_be_copied_stays_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = PlainTable("Service", "Id", "Address", "Public", whole={"Id"})
    table.add_row("Living room television", ID, "http://192.168.1.20:8080/", LONG)
    table.show()
    assert ID in _cells(capsys.readouterr().out, 1)
