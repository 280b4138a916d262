"""Own the home's current state: one value in memory that is always on disk as well.

    update(change) ──▶ change(value) ──▶ write in a thread ──▶ value is the new one

A write that fails leaves value and file as they were. Decides nothing about content.
"""

import asyncio
from collections.abc import Callable
import logging

from hearthgate.home.state.state import HomeState
from hearthgate.shared.storage.yaml_store import Damage, YamlStore

_LOGGER = logging.getLogger(__name__)


class HomeStore:
    """Hold the state for one event loop. Changes happen one after the other."""

    def __init__(self, store: YamlStore[HomeState]) -> None:
        """Start with an empty state; call read() before anything else."""
        self._store = store
        self._value = HomeState()
        self._lock = asyncio.Lock()
        self._writing: set[asyncio.Task[HomeState]] = set()

    @property
    def value(self) -> HomeState:
        """The state that is on disk."""
        return self._value

    @property
    def damage(self) -> Damage | None:
        """What read() had to set aside, for telling the user."""
        return self._store.damage

    async def read(self) -> HomeState:
        """Read the file. Raises what YamlStore.read raises."""
        self._value = await asyncio.to_thread(self._store.read)
        return self._value

    async def update(self, change: Callable[[HomeState], HomeState]) -> HomeState:
        """Replace the state by change(state) and return it once it is on disk.

        `change` must not wait; what it raises reaches the caller and nothing changes.
        Raises what YamlStore.write raises. A caller that is cancelled does not stop a
        write that has begun: file and memory stay the same thing.
        """
        task = asyncio.create_task(self._apply(change), name="write home state")
        self._writing.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def check_room(self) -> None:
        """Write the state as it is. Raises what YamlStore.write raises.

        For what cannot be taken back elsewhere once it turns out that the disk is full.
        """
        async with self._lock:
            await asyncio.to_thread(self._store.write, self._value)

    async def close(self) -> None:
        """Wait for writes that have begun."""
        while self._writing:
            await asyncio.wait(self._writing)

    async def _apply(self, change: Callable[[HomeState], HomeState]) -> HomeState:
        async with self._lock:
            changed = change(self._value)
            if changed != self._value:
                await asyncio.to_thread(self._store.write, changed)
                self._value = changed
            return changed

    def _ended(self, task: asyncio.Task[HomeState]) -> None:
        self._writing.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _LOGGER.debug("The state stays as it was", exc_info=task.exception())
