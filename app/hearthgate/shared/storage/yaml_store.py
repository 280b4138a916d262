"""Keep state in one YAML file that a human can read, and never lose it.

    read:   name.yaml ──parse──▶ migrate ──▶ schema ──▶ load ──▶ value
               │ damaged: renamed to name.yaml.damaged-<time>
               ▼
            name.good.yaml (the last copy that could be read) ──▶ value

    write:  value ──dump──▶ text ──read back──▶ two temporary files ──rename──▶
            name.yaml, name.good.yaml

A file is only ever replaced by a complete one. What cannot be read is set aside, never
overwritten. To forget everything, delete both files.

Versions: reading writes nothing new, so a Hearthgate that does not get far after an
update leaves what the one before it reads. A file of an older version is kept as
name.yaml.version-<n> before the first write; one that can't be brought to this version
is left alone and refused, and so is one of a newer version.

Knows nothing of homes and relays, and holds no current value: that is its owner's.
All of it blocks: run it in a thread.
"""

from collections.abc import Callable, Mapping
import contextlib
from dataclasses import dataclass
import itertools
import logging
import os
from pathlib import Path
import threading
import time
from typing import Any, Generic, TypeVar

import voluptuous as vol

from hearthgate.errors import HearthgateError
from hearthgate.shared.storage.folders import (
    DataFolderInUseError,
    keep_lock,
    lock_folder,
    names_in,
    private_folder,
)
from hearthgate.shared.storage.plain_yaml import PlainYamlError, dump_yaml, parse_yaml
from hearthgate.shared.storage.private_files import (
    NotAFileError,
    StateError,
    StateNotReadableError,
    StateNotWritableError,
    Temporary,
    read_capped,
    rename,
    status_of,
    write_private,
)

__all__ = [
    "STATE_MAX_BYTES",
    "Damage",
    "DataFolderInUseError",
    "StateError",
    "StateFromFutureError",
    "StateNotMigratedError",
    "StateNotReadableError",
    "StateNotWritableError",
    "StateTooLargeError",
    "YamlStore",
    "keep_lock",
    "lock_folder",
    "private_folder",
    "write_private",
]

_LOGGER = logging.getLogger(__name__)
T = TypeVar("T")

# A home with 500 exposures needs about 150 KB. Reading a megabyte takes PyYAML a few
# seconds, so a file that grew without bound must not keep the agent from starting.
STATE_MAX_BYTES = 1024 * 1024

# How a file that we wrote begins and ends. Most halves of a YAML file are YAML too, so
# without an end a torn file would pass for one with fewer services.
_MARK = "# Written by Hearthgate: "
_END = "...\n"


class StateFromFutureError(StateError):
    """Raise if a newer Hearthgate wrote the state."""

    code = "state_from_future"
    message = (
        "{path} was written by a newer Hearthgate: it has version {found}, this one "
        "reads up to version {known}. The file was left as it is."
    )
    hint = (
        "Install a Hearthgate that reads version {found}, or put back a copy that was "
        "made before the update{copies}. What has changed since is not in a copy."
    )


class StateNotMigratedError(StateError):
    """Raise if a file of an older version is refused by this one."""

    code = "state_not_migrated"
    message = (
        "{path} has version {found} and can't be brought to version {known}: "
        "{reason}. The file was left as it is."
    )
    hint = (
        "The Hearthgate that you had before the update reads it: go back to that one, "
        "and please report this."
    )


class StateTooLargeError(StateError):
    """Raise if the state would grow beyond what is read back at the next start."""

    code = "state_too_large"
    message = "{path} would have {size} bytes, more than the {limit} that are allowed."
    hint = "Remove services that you no longer need."
    status = 507


class _DamagedError(Exception):
    """What is wrong with one file, for the log."""

    older: int | None = None  # its version: an earlier Hearthgate may well read it


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that could not be used, as the page and the log tell it."""

    path: Path
    reason: str
    kept_as: Path | None  # None: it could not be renamed and is still in place
    used_instead: Path | None  # None: nothing was left, the state started empty


@dataclass(frozen=True, slots=True)
class _Read(Generic[T]):
    """A file that was read to its end."""

    value: T
    raw: bytes
    version: int


class YamlStore(Generic[T]):
    """Read and write one state file. Thread-safe; lock the folder before using it.

    `schema`, `load`, `dump` and the migrations see the data without its `version` key.
    `migrations[n]` turns version n into n + 1 and gets data that nobody checked yet.
    """

    def __init__(
        self,
        path: Path,
        *,
        version: int,
        schema: vol.Schema,
        load: Callable[[dict[str, Any]], T],
        dump: Callable[[T], dict[str, Any]],
        empty: Callable[[], T],
        migrations: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]],
        title: str = "state",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Refuse a set of migrations with a gap (ValueError); touch no file yet."""
        if set(migrations) != set(range(1, version)):
            raise ValueError(f"version {version} needs migrations 1 to {version - 1}")
        self.path = path
        self.good_path = path.with_suffix(f".good{path.suffix}")
        self.damage: Damage | None = None  # what the last read() had to set aside
        self._version = version
        self._schema = schema
        self._load = load
        self._dump = dump
        self._empty = empty
        self._migrations = migrations
        self._title = title
        self._clock = clock
        self._guard = threading.Lock()
        self._older: _Read[T] | None = None  # to be kept before the first write
        self._in_the_way: set[Path] = set()  # damaged, could not be renamed yet

    def step_back(self, found: StateFromFutureError) -> T:
        """Keep the files of a newer version under other names, and read again.

        For what can be made anew; see `read` for what it raises.
        """
        with self._guard:
            for path in (self.path, self.good_path):
                if status_of(path) is not None:
                    rename(path, _free_name(path, f"version-{found.fields['found']}"))
        _LOGGER.warning("%s Kept under another name, as it can be made anew", found)
        return self.read()

    def lock(self) -> contextlib.AbstractContextManager[int]:
        """Own the folder of this store; see lock_folder."""
        return lock_folder(self.path.parent)

    def read(self) -> T:
        """Return the stored value, from the good copy if need be, else an empty one.

        Raises StateFromFutureError, StateNotMigratedError and StateNotReadableError;
        damage is no error but logged, kept beside the file and told in `damage`.
        """
        with self._guard:
            self.damage = None
            self._older = None
            self._in_the_way.clear()
            try:
                found = self._read_file(self.path)
            except _DamagedError as err:
                return self._recover(err)
            if found is None:
                return self._recover(None)
            self._refresh_spare(found)
            return self._use(found)

    def write(self, value: T) -> None:
        """Replace the file by this value, all or nothing, readable by the owner only.

        Raises StateNotWritableError and StateTooLargeError, both with the old file
        intact. A value that its own schema refuses is a bug: vol.Invalid.
        """
        text = self._text(value)
        with self._guard:
            self._clear_the_way()
            with (
                Temporary(self.path, text) as main,
                Temporary(self.good_path, text) as good,
            ):
                main.replace()
                # The value is safe from here on; an old spare is no reason to fail.
                try:
                    good.replace()
                except StateNotWritableError as err:
                    _LOGGER.warning("%s", err)

    def _text(self, value: T) -> bytes:
        body = {"version": self._version, **self._dump(value)}
        comment = (
            f"{_MARK}{self._title}, version {self._version}. Stop Hearthgate before "
            "you edit, and leave the last line.\n"
        )
        text = (comment + dump_yaml(body) + _END).encode()
        if len(text) > STATE_MAX_BYTES:
            raise StateTooLargeError(
                path=self.path, size=len(text), limit=STATE_MAX_BYTES
            )
        # What we write we can read: a state that only fails at the next start is lost.
        back = parse_yaml(text)
        back.pop("version")
        self._load(self._schema(back))
        return text

    def _read_file(self, path: Path) -> _Read[T] | None:
        """Return a file that can be used, None if there is none."""
        try:
            raw = read_capped(path, STATE_MAX_BYTES)
            if raw is None:
                return None
            _refuse_half(raw)
            data = parse_yaml(raw)
        except (NotAFileError, PlainYamlError) as err:
            raise _DamagedError(str(err)) from err
        version = self._version_of(path, data)
        try:
            value = self._load(self._schema(self._migrate(data, version)))
        except (vol.Invalid, ValueError, HearthgateError) as err:
            raise self._wrong(version, f"it has a wrong value: {err}") from err
        return _Read(value, raw, version)

    def _wrong(self, version: int, reason: str) -> _DamagedError:
        wrong = _DamagedError(reason)
        wrong.older = version if version < self._version else None
        return wrong

    def _version_of(self, path: Path, data: dict[str, Any]) -> int:
        version = data.pop("version", None)
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            raise _DamagedError(f"its version is {version!r}, not a number from 1")
        if version > self._version:
            raise StateFromFutureError(
                path=path,
                found=version,
                known=self._version,
                copies=self._kept_of(self._version),
            )
        return version

    def _kept_of(self, version: int) -> str:
        """Return the names of the files that were kept of a version, for a hint."""
        try:
            found = names_in(self.path.parent)
        except OSError:
            return ""
        beginning = f"{self.path.name}.version-{version}"
        names = " or ".join(sorted(one for one in found if one.startswith(beginning)))
        return f", {names}" if names else ""

    def _migrate(self, data: dict[str, Any], version: int) -> dict[str, Any]:
        for step in range(version, self._version):
            try:
                data = self._migrations[step](data)
            except (LookupError, TypeError, AttributeError) as err:
                raise self._wrong(
                    version, f"version {step} can't be made {step + 1}: {err!r}"
                ) from err
        return data

    def _use(self, found: _Read[T]) -> T:
        """Return the value, and remember a file that the first write must keep."""
        self._older = found if found.version < self._version else None
        return found.value

    def _recover(self, wrong: _DamagedError | None) -> T:
        """Start from the spare; `wrong` says what the file has, None: it is gone."""
        try:
            spare = self._read_file(self.good_path)
        except _DamagedError as err:
            self._refuse_older(wrong, err)
            kept = self._set_aside(self.good_path)
            if wrong is None:
                return self._report(self.good_path, str(err), kept, None)
            wrong = _DamagedError(f"{wrong}; so is {self.good_path.name}: {err}")
            spare = None
        if wrong is not None:
            if spare is None:
                self._refuse_older(wrong)
            kept = self._set_aside(self.path)
            self._report(self.path, str(wrong), kept, spare)
        elif spare is not None:
            _LOGGER.warning("%s is missing, using %s", self.path, self.good_path)
        return self._empty() if spare is None else self._use(spare)

    def _refuse_older(self, *found: _DamagedError | None) -> None:
        """Touch nothing if an earlier Hearthgate may read what this one can't."""
        for wrong in found:
            if wrong is not None and wrong.older is not None:
                raise StateNotMigratedError(
                    path=self.path,
                    found=wrong.older,
                    known=self._version,
                    reason=wrong,
                )

    def _report(
        self, path: Path, reason: str, kept: Path | None, spare: _Read[T] | None
    ) -> T:
        used = None if spare is None else self.good_path
        self.damage = Damage(path, reason, kept, used)
        _LOGGER.error(
            "%s can't be used: %s. %s. %s.",
            path,
            reason,
            f"It is kept as {kept.name}" if kept else "It was left where it is",
            f"Using the last good copy {used.name}" if used else "Starting empty",
        )
        return self._empty()

    def _set_aside(self, path: Path) -> Path | None:
        """Rename a damaged file; None if that is impossible for now."""
        when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        kept = _free_name(path, f"damaged-{when}")
        try:
            rename(path, kept)
        except StateNotWritableError as err:
            _LOGGER.warning("%s", err)
            self._in_the_way.add(path)
            return None
        self._in_the_way.discard(path)
        return kept

    def _clear_the_way(self) -> None:
        """Make sure that the next write replaces nothing that is not kept elsewhere."""
        for path in sorted(self._in_the_way):
            if self._set_aside(path) is None:
                raise StateNotWritableError(
                    path=path, reason="it is damaged and can't be set aside"
                )
        if self._older is not None:
            kept = _free_name(self.path, f"version-{self._older.version}")
            write_private(kept, self._older.raw)
            self._older = None

    def _refresh_spare(self, found: _Read[T]) -> None:
        """Copy a file that could be read, if its spare is not the same already."""
        try:
            if self._spare_is_stale(found.raw):
                write_private(self.good_path, found.raw)
        except StateError as err:
            _LOGGER.warning("No fresh copy of %s: %s", self.path, err)

    def _spare_is_stale(self, raw: bytes) -> bool:
        try:
            spare = self._read_file(self.good_path)
        except (StateFromFutureError, _DamagedError) as err:
            _LOGGER.warning("Setting %s aside: %s", self.good_path, err)
            return self._set_aside(self.good_path) is not None
        return spare is None or spare.raw != raw


def _refuse_half(raw: bytes) -> None:
    """Refuse a file of ours that was cut short; one written by hand needs no end."""
    if raw.startswith(_MARK.encode()) and not raw.rstrip().endswith(b"\n..."):
        raise PlainYamlError('its last line, "...", is missing: it was cut short')


def _free_name(path: Path, label: str) -> Path:
    """Return a name beside path that nothing has yet."""
    names = itertools.chain(
        [path.with_name(f"{path.name}.{label}")],
        (path.with_name(f"{path.name}.{label}-{n}") for n in itertools.count(2)),
    )
    return next(name for name in names if not os.path.lexists(name))
