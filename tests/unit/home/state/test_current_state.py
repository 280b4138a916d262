"""The owner of the state: memory and file are the same thing at every moment."""

import asyncio
from dataclasses import replace
from pathlib import Path
import threading

import pytest

from hearthgate.home.model import Origin, Scheme, Service, Target
from hearthgate.home.state.current_state import HomeStore
from hearthgate.home.state.state import HomeState
from hearthgate.home.state.state_file import home_state_store
from hearthgate.shared.storage.yaml_store import StateNotWritableError, YamlStore


def service(number: int) -> Service:
    target = Target(Scheme.HTTP, "192.168.1.20", 1 + number)
    return Service(f"s-{number}", f"Service {number}", Origin.MANUAL, target)


async def test_a_change_is_on_disk_when_the_caller_goes_on(tmp_path: Path) -> None:
    store = HomeStore(home_state_store(tmp_path))
    await store.read()
    changed = await store.update(lambda state: state.with_service(service(1)))
    assert store.value == changed == home_state_store(tmp_path).read()


async def test_changes_at_the_same_moment_all_count(tmp_path: Path) -> None:
    store = HomeStore(home_state_store(tmp_path))
    await store.read()

    async def add(number: int) -> None:
        await store.update(lambda state: state.with_service(service(number)))

    await asyncio.gather(*map(add, range(20)))
    assert len(store.value.services) == 20
    assert home_state_store(tmp_path).read() == store.value


async def test_a_change_that_cannot_be_stored_did_not_happen(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    store = HomeStore(home_state_store(folder))
    await store.update(lambda state: state.with_service(service(1)))
    before = store.value
    folder.rename(tmp_path / "away")
    with pytest.raises(StateNotWritableError):
        await store.update(lambda state: state.with_service(service(2)))
    assert store.value == before
    (tmp_path / "away").rename(folder)
    await store.update(lambda state: state.with_service(service(3)))
    assert [one.id for one in store.value.services] == ["s-1", "s-3"]


async def test_a_change_that_fails_reaches_the_caller_and_changes_nothing(
    tmp_path: Path,
) -> None:
    store = HomeStore(home_state_store(tmp_path))

    def refuse(_state: HomeState) -> HomeState:
        raise LookupError("no such service")

    with pytest.raises(LookupError):
        await store.update(refuse)
    assert store.value == HomeState()
    assert list(tmp_path.iterdir()) == []


async def test_nothing_changed_writes_nothing(tmp_path: Path) -> None:
    store = HomeStore(home_state_store(tmp_path))
    await store.update(replace)
    assert list(tmp_path.iterdir()) == []


class SlowStore(YamlStore[HomeState]):
    """The real store, which waits before it writes until it is told to go on."""

    begun: threading.Event
    go_on: threading.Event

    def write(self, value: HomeState) -> None:
        self.begun.set()
        self.go_on.wait(30)
        super().write(value)


async def test_a_caller_that_gives_up_leaves_memory_and_file_the_same(
    tmp_path: Path,
) -> None:
    """Without the shield the file changes and the memory does not."""
    slow = home_state_store(tmp_path)
    slow.__class__ = SlowStore
    assert isinstance(slow, SlowStore)
    slow.begun, slow.go_on = threading.Event(), threading.Event()
    store = HomeStore(slow)
    caller = asyncio.create_task(
        store.update(lambda state: state.with_service(service(1)))
    )
    await asyncio.to_thread(slow.begun.wait, 30)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert store.value == HomeState()
    slow.go_on.set()
    await store.close()
    assert store.value.service("s-1") is not None
    assert home_state_store(tmp_path).read() == store.value


async def test_a_store_without_room_says_so_before_anything_is_changed(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    store = HomeStore(home_state_store(folder))
    await store.update(lambda state: state.with_service(service(1)))
    await store.check_room()
    assert home_state_store(folder).read() == store.value
    folder.rename(tmp_path / "away")
    with pytest.raises(StateNotWritableError):
        await store.check_room()
