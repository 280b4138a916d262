"""Own a folder, make private ones in it, and remove them.

    data_folder(path) ──▶ the root: may be a link, since the user has named it
      private_folder(root / "edge") ──▶ 0700, a folder itself and no link to one

Everything below the root is ours, but may come from a backup that somebody else has
made: so links are never followed, neither to make nor to clean, and folders in folders
without end make nothing recursive. See private_files.py for what is in them.

All of it blocks: run it in a thread.
"""

from collections.abc import Iterator, Mapping
import contextlib
import fcntl
import logging
import os
from pathlib import Path
import secrets
import stat

from hearthgate.shared.storage.private_files import (
    TEMPORARY_SUFFIX,
    NotOursError,
    StateError,
    StateNotWritableError,
    kind_of,
    open_folder,
    reason_of,
)

_LOGGER = logging.getLogger(__name__)

_LOCK_NAME = ".hearthgate.lock"
_OTHERS = 0o077  # the bits of a mode that let other users in
# Where we leave half-written files: certificates/DIRECTORY/live is the deepest.
_DEPTH_MAX = 4


class DataFolderInUseError(StateError):
    """Raise if another process owns the data folder."""

    code = "data_folder_in_use"
    message = "Another Hearthgate (process {process}) is using {folder}."
    hint = "Stop it first, or give this one its own data folder."


def data_folder(path: Path) -> Path:
    """Make the root and its parents unless they exist; return it without links.

    Raises StateNotWritableError, NotOursError.
    """
    try:
        if not path.is_dir():
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.resolve(strict=True)
    except FileExistsError as err:
        raise NotOursError(
            path=path, found=kind_of(path.lstat().st_mode), wanted="a folder"
        ) from err
    except (OSError, RuntimeError) as err:  # RuntimeError: links in a circle
        reason = reason_of(err) if isinstance(err, OSError) else str(err)
        raise StateNotWritableError(path=path, reason=reason) from err


def private_folder(path: Path) -> Path:
    """Make a folder in one of ours unless it exists, close it to others, return it.

    Raises StateNotWritableError, and NotOursError if something else is there.
    """
    try:
        with open_folder(path.parent) as parent, contextlib.suppress(FileExistsError):
            os.mkdir(path.name, 0o700, dir_fd=parent)
        with open_folder(path) as folder:
            info = os.fstat(folder)
            if info.st_mode & _OTHERS and info.st_uid == os.geteuid():
                os.fchmod(folder, stat.S_IMODE(info.st_mode) & ~_OTHERS)
    except OSError as err:
        raise StateNotWritableError(path=path, reason=reason_of(err)) from err
    return path


def fresh_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """Make a folder with these files, in place of what is there. Raises OSError.

    Modes 0700 and 0600 are there from the first moment.
    """
    remove_tree(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    with open_folder(path.parent) as parent:
        os.mkdir(path.name, 0o700, dir_fd=parent)
    with open_folder(path) as folder:
        for name, content in contents.items():
            descriptor = os.open(name, flags, 0o600, dir_fd=folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)


def let_through(path: Path, gid: int) -> None:
    """Let a group reach what it knows the name of in a folder. Raises OSError.

    A folder that a group has rights in already is left as it is.
    """
    with open_folder(path) as folder:
        mode = stat.S_IMODE(os.fstat(folder).st_mode)
        if not mode & (stat.S_IRWXG | stat.S_IXOTH):
            os.fchown(folder, -1, gid)
            os.fchmod(folder, mode | stat.S_IXGRP)


def share_folder(path: Path, gid: int) -> None:
    """Let a group read the files of a folder, and make more in it. Raises OSError.

    Files and sockets stay ours: the group can write to the sockets, but neither change
    nor remove anything (the sticky bit, unlink(2)).
    """
    with open_folder(path) as folder:
        for name in _names(folder):
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISREG(mode) or stat.S_ISSOCK(mode):
                os.chown(name, -1, gid, dir_fd=folder, follow_symlinks=False)
                os.chmod(name, 0o640 if stat.S_ISREG(mode) else 0o660, dir_fd=folder)
        os.fchown(folder, -1, gid)
        os.fchmod(folder, 0o1770)


def remove_tree(path: Path) -> None:
    """Remove what is at path: a folder with all that is in it, or a link itself.

    That there is nothing is fine. Raises OSError, with a part removed perhaps.
    """
    with contextlib.suppress(FileNotFoundError), open_folder(path.parent) as parent:
        _remove(parent, path.name)


def _remove(parent: int, name: str) -> None:
    """Empty folders one by one; those within move up first, so that none is deep."""
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if not _unlink(one, parent):
            continue
        folder = os.open(
            one, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent
        )
        try:
            for entry in _names(folder):
                if _unlink(entry, folder):
                    fresh = f".{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
                    os.rename(entry, fresh, src_dir_fd=folder, dst_dir_fd=parent)
                    waiting.append(fresh)
        finally:
            os.close(folder)
        os.rmdir(one, dir_fd=parent)


def _unlink(name: str, folder: int) -> bool:
    """Remove all but a folder; tell whether it is one. A link to one is none."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        return True
    return False


def names_in(path: Path) -> list[str]:
    """Return the names of all that is in a folder of ours. Raises OSError."""
    with open_folder(path) as folder:
        return _names(folder)


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [one.name for one in entries]


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[int]:
    """Own a folder until the context ends, or the process, however it ends.

    Gives the descriptor that holds the lock. It can be passed to another process, which
    then owns the folder too, and alone once this one has ended.
    Removes what a killed predecessor left half-written. Raises DataFolderInUseError if
    another process owns it, StateNotWritableError if it can't be locked, NotOursError
    if the lock is no file.
    """
    root = data_folder(folder)
    path = root / _LOCK_NAME
    try:
        with open_folder(root) as descriptor:
            lock = _open_lock(descriptor, path)
    except OSError as err:
        raise StateNotWritableError(path=path, reason=reason_of(err)) from err
    try:
        _take(lock, path)
        with open_folder(root) as descriptor:
            _sweep(descriptor, _DEPTH_MAX)
        yield lock
    finally:
        os.close(lock)  # which unlocks; the file stays, removing it would race


@contextlib.contextmanager
def keep_lock(descriptor: int) -> Iterator[int]:
    """Own a folder by a lock that another process has passed on."""
    try:
        _sign(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _open_lock(folder: int, path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        info = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
        if not stat.S_ISREG(info.st_mode):
            raise NotOursError(path=path, found=kind_of(info.st_mode), wanted="a file")
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    return os.open(path.name, flags, 0o600, dir_fd=folder)


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        process = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        raise DataFolderInUseError(
            process=process or "unknown", folder=path.parent
        ) from err
    except OSError as err:
        raise StateNotWritableError(path=path, reason=reason_of(err)) from err
    _sign(descriptor)


def _sign(descriptor: int) -> None:
    """Write the number of this process, for whoever finds the folder in use."""
    if os.fstat(descriptor).st_nlink != 1:
        return  # the file has a name elsewhere: its content is not ours to change
    with contextlib.suppress(OSError):  # a full disk: the number is a courtesy
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def _sweep(folder: int, depth: int) -> None:
    """Remove half-written files of ours in a folder and those in it."""
    for name in _names(folder):
        try:
            if name.startswith(".") and name.endswith(TEMPORARY_SUFFIX):
                _remove(folder, name)
            elif depth and _is_folder(name, folder):
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                inner = os.open(name, flags, dir_fd=folder)
                try:
                    _sweep(inner, depth - 1)
                finally:
                    os.close(inner)
        except OSError as err:  # no reason not to start
            _LOGGER.warning("Can't clean up %s: %s", name, reason_of(err))


def _is_folder(name: str, folder: int) -> bool:
    info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return stat.S_ISDIR(info.st_mode)
