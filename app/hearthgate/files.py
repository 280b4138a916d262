"""Write private files whole or not at all, and own a folder.

    data ──▶ temporary file in the same folder, mode 0600, fsync ──rename──▶ path

A reader sees the old file or the new one, never a part, also after a power cut. The
mode is there from the first moment, so no other user can open a key in between.

Knows nothing of what it writes. All of it blocks: run it in a thread.
"""

from collections.abc import Iterator
import contextlib
import errno
import fcntl
import logging
import os
from pathlib import Path
import secrets
import stat
from types import TracebackType
from typing import Self

from hearthgate.errors import HearthgateError

_LOGGER = logging.getLogger(__name__)

_TEMPORARY_SUFFIX = ".hgtmp"  # ours alone, so that sweeping cannot hit a user's file
_LOCK_NAME = ".hearthgate.lock"
# What open() says when the path leads to something that is no file with content.
_NOT_A_FILE = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV})


class StateError(HearthgateError):
    """Raise if the data folder cannot be used as it is."""

    code = "state"
    status = 500


class StateNotReadableError(StateError):
    """Raise if a file exists but the system does not let us read it."""

    code = "state_not_readable"
    message = "Hearthgate can't read {path}: {reason}."
    hint = "Check the owner and the permissions of the file, and the disk."


class StateNotWritableError(StateError):
    """Raise if a file could not be written. The old one, if any, is intact."""

    code = "state_not_writable"
    message = "Hearthgate can't write {path}: {reason}. Nothing was changed."
    hint = "Check the free space and the permissions of the data folder."
    status = 507


class DataFolderInUseError(StateError):
    """Raise if another process owns the data folder."""

    code = "data_folder_in_use"
    message = "Another Hearthgate (process {process}) is using {folder}."
    hint = "Stop it first, or give this one its own data folder."


class NotAFileError(Exception):
    """Raise if a path leads to a folder, a device, a loop or to too much content."""


def write_private(path: Path, data: bytes) -> None:
    """Replace path by data, all or nothing, readable by the owner only.

    The folder must exist (see private_folder). A symbolic link is replaced, not
    followed. Raises StateNotWritableError with the old file intact.
    """
    with Temporary(path, data) as temporary:
        temporary.replace()


def private_folder(path: Path) -> Path:
    """Make a folder and its parents with mode 0700 unless they exist; return it.

    Raises StateNotWritableError.
    """
    missing = [one for one in (path, *path.parents) if not one.is_dir()]
    try:
        for one in reversed(missing):
            one.mkdir(mode=0o700, exist_ok=True)
    except OSError as err:
        raise StateNotWritableError(path=path, reason=_reason(err)) from err
    return path


class Temporary:
    """A complete file that waits to take its place. Use as a context manager.

    Entering writes and syncs it, so that the disk has room for it before anything is
    replaced; leaving removes it if it was not needed.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        """Remember what to write; touch nothing yet."""
        self._path = path
        self._data = data
        self._temporary = path.with_name(
            f".{path.name[:100]}.{secrets.token_hex(8)}{_TEMPORARY_SUFFIX}"
        )

    def __enter__(self) -> Self:
        try:
            self._write()
        except OSError as err:
            self._remove()
            raise StateNotWritableError(path=self._path, reason=_reason(err)) from err
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._remove()

    def replace(self) -> None:
        """Take the place of path. Raises StateNotWritableError, the old one intact."""
        rename(self._temporary, self._path)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):  # a read-only disk refuses even this
            self._temporary.unlink(missing_ok=True)

    def _write(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._temporary, flags, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor, no path)
            file.write(self._data)
            file.flush()
            os.fsync(descriptor)


def rename(old: Path, new: Path) -> None:
    """Rename and make it last. Raises StateNotWritableError if nothing was renamed."""
    try:
        old.replace(new)
    except OSError as err:
        raise StateNotWritableError(path=new, reason=_reason(err)) from err
    try:
        _sync_folder(new.parent)
    except OSError as err:
        # The new name is there for everybody to see: saying "failed" would be wrong.
        _LOGGER.warning("%s may not survive a power cut: %s", new, _reason(err))


def read_capped(path: Path, max_bytes: int) -> bytes | None:
    """Return the content of a file, None if there is nothing at all at path.

    Raises NotAFileError if what is there can't be read as a file of at most max_bytes,
    StateNotReadableError if the system refuses.
    """
    try:
        # A FIFO would keep a plain open() waiting for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as err:
        if path.is_symlink():
            raise NotAFileError("it is a symbolic link to nothing") from err
        return None
    except OSError as err:
        if err.errno in _NOT_A_FILE:
            raise NotAFileError(_reason(err)) from err
        raise StateNotReadableError(path=path, reason=_reason(err)) from err
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotAFileError("it is not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    except OSError as err:
        raise StateNotReadableError(path=path, reason=_reason(err)) from err
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise NotAFileError(f"it has more than the {max_bytes} bytes that are allowed")
    return content


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[int]:
    """Own a folder until the context ends, or the process, however it ends.

    Gives the descriptor that holds the lock. It can be passed to another process, which
    then owns the folder too, and alone once this one has ended.
    Removes what a killed predecessor left half-written. Raises DataFolderInUseError if
    another process owns it, StateNotWritableError if it can't be locked.
    """
    path = private_folder(folder) / _LOCK_NAME
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as err:
        raise StateNotWritableError(path=path, reason=_reason(err)) from err
    try:
        _take(descriptor, path)
        for left in folder.rglob(f".*{_TEMPORARY_SUFFIX}"):
            left.unlink(missing_ok=True)
        yield descriptor
    finally:
        os.close(descriptor)  # which unlocks; the file stays, removing it would race


@contextlib.contextmanager
def keep_lock(descriptor: int) -> Iterator[int]:
    """Own a folder by a lock that another process has passed on."""
    try:
        _sign(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        process = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        raise DataFolderInUseError(
            process=process or "unknown", folder=path.parent
        ) from err
    except OSError as err:
        raise StateNotWritableError(path=path, reason=_reason(err)) from err
    _sign(descriptor)


def _sign(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a full disk: the number is a courtesy
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as err:
        if err.errno != errno.EINVAL:  # some network file systems can't, and say so
            raise
    finally:
        os.close(descriptor)


def _reason(err: OSError) -> str:
    return err.strerror or str(err)
