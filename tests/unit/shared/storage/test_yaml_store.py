"""State files over updates, and back: whatever a version can't do, nothing is lost."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import voluptuous as vol

from hearthgate.shared.storage.yaml_store import (
    StateFromFutureError,
    StateNotMigratedError,
    YamlStore,
)

Data = dict[str, Any]
Migration = Callable[[Data], Data]


def open_store(
    folder: Path, version: int, migrations: Mapping[int, Migration] | None = None
) -> YamlStore[Data]:
    return YamlStore(
        folder / "state.yaml",
        version=version,
        schema=vol.Schema({vol.Required("lamps"): [str]}),
        load=dict,
        dump=dict,
        empty=lambda: {"lamps": []},
        migrations=migrations or {one: lambda data: data for one in range(1, version)},
    )


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Give a folder that version 1 has written."""
    open_store(tmp_path, 1).write({"lamps": ["hall"]})
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def one_more(data: Data) -> Data:
    return {"lamps": [*data["lamps"], "new"]}


def raises(error: type[Exception]) -> Migration:
    def migrate(_data: Data) -> Data:
        raise error("a bug")

    return migrate


def forgets(_data: Data) -> Data:
    return {}


def test_reading_an_older_state_writes_nothing(old: Path) -> None:
    """A version that ends before anybody wished for anything leaves no trace."""
    before = content(old)
    assert open_store(old, 2, {1: one_more}).read() == {"lamps": ["hall", "new"]}
    assert content(old) == before
    assert open_store(old, 1).read() == {"lamps": ["hall"]}


def test_the_older_state_is_kept_by_its_version_before_the_first_write(
    old: Path,
) -> None:
    before = (old / "state.yaml").read_bytes()
    store = open_store(old, 2, {1: one_more})
    store.write(store.read())
    store.write({"lamps": []})
    assert (old / "state.yaml.version-1").read_bytes() == before
    with pytest.raises(StateFromFutureError) as refused:
        open_store(old, 1).read()
    assert "state.yaml.version-1" in refused.value.advice
    (old / "state.yaml.version-1").replace(old / "state.yaml")
    (old / "state.good.yaml").unlink()
    assert open_store(old, 1).read() == {"lamps": ["hall"]}


@pytest.mark.parametrize(
    "migration",
    [raises(KeyError), raises(TypeError), raises(ValueError), forgets],
    ids=["KeyError", "TypeError", "ValueError", "result refused"],
)
def test_a_migration_that_fails_leaves_all_to_the_version_before(
    old: Path, migration: Migration
) -> None:
    """It used to pass for damage: both files were renamed, and the state was empty."""
    before = content(old)
    with pytest.raises(StateNotMigratedError, match="version 1") as refused:
        open_store(old, 2, {1: migration}).read()
    assert "go back" in refused.value.advice
    assert content(old) == before
    assert open_store(old, 1).read() == {"lamps": ["hall"]}


@pytest.mark.parametrize("missing", ["state.yaml", "state.good.yaml"])
def test_one_file_alone_is_left_to_the_version_before_as_well(
    old: Path, missing: str
) -> None:
    (old / missing).unlink()
    before = content(old)
    with pytest.raises(StateNotMigratedError):
        open_store(old, 2, {1: raises(KeyError)}).read()
    assert content(old) == before


def test_an_older_file_that_is_damaged_gives_way_to_its_good_copy(old: Path) -> None:
    (old / "state.yaml").write_text("version: 1\nlamps: 7\n")
    store = open_store(old, 2, {1: one_more})
    assert store.read() == {"lamps": ["hall", "new"]}
    assert store.damage is not None


def test_a_newer_state_is_left_alone(tmp_path: Path) -> None:
    open_store(tmp_path, 3).write({"lamps": ["hall"]})
    before = content(tmp_path)
    with pytest.raises(StateFromFutureError) as refused:
        open_store(tmp_path, 2).read()
    assert "version 3" in str(refused.value)
    assert ".version-" not in refused.value.advice
    assert content(tmp_path) == before


def test_what_can_be_made_anew_steps_back_and_keeps_the_newer_files(
    tmp_path: Path,
) -> None:
    open_store(tmp_path, 3).write({"lamps": ["hall"]})
    before = content(tmp_path)
    store = open_store(tmp_path, 2)
    with pytest.raises(StateFromFutureError) as refused:
        store.read()
    assert store.step_back(refused.value) == {"lamps": []}
    assert content(tmp_path) == {
        f"{name}.version-3": data for name, data in before.items()
    }
