"""The folder of icons stays small, and keeps what is shown."""

from pathlib import Path

from hearthgate.home.discovery.icons import IconStore
from hearthgate.home.discovery.limits import DiscoveryLimits
from tests.support.pictures import png

DAY = 24 * 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def store(folder: Path, clock: Clock, **limits: int) -> IconStore:
    return IconStore(folder, DiscoveryLimits(**limits), clock=clock)


def test_an_icon_is_named_by_its_content_and_kept_once(tmp_path: Path) -> None:
    icons = store(tmp_path / "icons", Clock())
    first, second = icons.save(png(8, 8)), icons.save(png(8, 8))
    assert first == second
    assert names(tmp_path / "icons") == {first}
    assert (tmp_path / "icons" / str(first)).read_bytes() == png(8, 8)


def test_what_is_no_picture_or_too_large_leaves_no_file(tmp_path: Path) -> None:
    icons = store(tmp_path, Clock(), icon_max_bytes=100)
    assert icons.save(b"<html>") is None
    assert icons.save(png(8, 8) + bytes(100)) is None
    assert names(tmp_path) == set()


def test_unused_icons_go_after_a_week_unless_saved_again(tmp_path: Path) -> None:
    clock = Clock()
    icons = store(tmp_path, clock)
    shown, old, again = (icons.save(png(8, side)) for side in (1, 2, 3))
    clock.now += 6 * DAY
    icons.save(png(8, 3))
    clock.now += 2 * DAY
    icons.clean({str(shown)})
    assert names(tmp_path) == {shown, again}
    assert old not in names(tmp_path)


def test_beyond_the_limit_the_oldest_unused_go(tmp_path: Path) -> None:
    clock = Clock()
    icons = store(tmp_path, clock, icons=3)
    saved = []
    for side in range(1, 7):
        clock.now += 1
        saved.append(str(icons.save(png(8, side))))
    icons.clean({saved[0]})
    assert names(tmp_path) == {saved[0], *saved[-2:]}


def test_strange_files_stay_and_leftovers_go(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".new-abc").write_text("half")
    store(tmp_path, Clock()).clean(set())
    assert names(tmp_path) == {"notes.txt"}


def test_many_new_icons_ask_for_a_cleaning(tmp_path: Path) -> None:
    icons = store(tmp_path, Clock(), icons_new=2)
    icons.save(png(1, 1))
    assert not icons.crowded
    icons.save(png(1, 2))
    assert icons.crowded
    icons.clean(set())
    assert not icons.crowded


def test_cleaning_a_folder_that_is_not_there_yet_is_fine(tmp_path: Path) -> None:
    store(tmp_path / "later", Clock()).clean(set())
