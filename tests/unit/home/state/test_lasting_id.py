"""An id that is made once survives whatever a backup puts in its place."""

from collections.abc import Callable
import os
from pathlib import Path

import pytest

from hearthgate.home.state.lasting_id import lasting_id


def pipe(path: Path) -> None:
    os.mkfifo(path)  # reading it would wait for ever


def link(path: Path) -> None:
    (path.parent / "elsewhere").write_text("0123abcd")
    path.symlink_to(path.parent / "elsewhere")


def folder(path: Path) -> None:
    path.mkdir()


def large(path: Path) -> None:
    path.write_bytes(b"0123abcd" * 1000)


def test_an_id_is_made_once_and_stays(tmp_path: Path) -> None:
    made = lasting_id(tmp_path / "entities-id")
    assert lasting_id(tmp_path / "entities-id") == made


@pytest.mark.parametrize("make", [pipe, link, folder, large])
def test_what_is_no_file_of_ours_is_set_aside(
    tmp_path: Path, make: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "entities-id"
    make(path)
    made = lasting_id(path)
    assert made != "0123abcd"
    assert path.read_text() == f"{made}\n"
    (kept,) = tmp_path.glob("entities-id.damaged-*")
    assert f"{path} can't be used: it " in caplog.text
    assert kept.name in caplog.text


@pytest.mark.parametrize("text", ["", "ABCDEF01", "0123abc", "\u00ff", "../../x"])
def test_what_is_no_id_is_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "entities-id"
    path.write_text(text)
    made = lasting_id(path)
    assert made != text
    assert lasting_id(path) == made
