"""Read and write files of our own folder: whole, private, and never through a link.

    data ──▶ temporary file in the same folder, mode 0600, fsync ──rename──▶ path

A reader sees the old file or the new one, never a part, also after a power cut. The
mode is there from the first moment, so no other user can open a key in between.

What lies in the folder may come from a backup that somebody else has made. So nothing
is opened, changed or removed through a symbolic link, neither the file nor the folder
that it is in, and only regular files are read: a device or a named pipe is not even
opened. Folders are made and checked by folders.py; a path given here is in one of them.

Knows nothing of what it writes. All of it blocks: run it in a thread.
"""

from collections.abc import Iterator
import contextlib
import errno
import logging
import os
from pathlib import Path
import secrets
import stat
from types import TracebackType
from typing import Self

from hearthgate.errors import HearthgateError

_LOGGER = logging.getLogger(__name__)

TEMPORARY_SUFFIX = ".hgtmp"  # ours alone, so that sweeping cannot hit a user's file
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


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


class NotOursError(StateError):
    """Raise if something else is where a file, folder or socket of ours belongs."""

    code = "not_ours"
    message = "{path} is {found}, where Hearthgate keeps {wanted} of its own."
    hint = "Move it away and start Hearthgate again. What it leads to was not touched."


class NotAFileError(Exception):
    """Raise if a path leads to a folder, a device, a link or to too much content."""


def write_private(path: Path, data: bytes, *, lasting: bool = True) -> None:
    """Replace path by data, all or nothing, readable by the owner only.

    The folder must exist (see private_folder). A symbolic link is replaced, not
    followed. lasting: it outlives a power cut, for which the disk is waited for. Raises
    StateNotWritableError with the old file intact.
    """
    with Temporary(path, data, lasting=lasting) as temporary:
        temporary.replace()


@contextlib.contextmanager
def open_folder(path: Path) -> Iterator[int]:
    """Give a descriptor of a folder of ours, by which its files are reached.

    Raises NotOursError if it is a link or no folder, OSError for all else.
    """
    try:
        descriptor = os.open(path, _FOLDER)
    except OSError as err:
        if err.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        # A link says "not a folder" here. The path may also go through a file.
        info = status_of(path)
        if info is None or stat.S_ISDIR(info.st_mode):
            raise
        raise NotOursError(
            path=path, found=kind_of(info.st_mode), wanted="a folder"
        ) from err
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def status_of(path: Path) -> os.stat_result | None:
    """Return what the system knows of the thing at path, be it a link, or None."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def kind_of(mode: int) -> str:
    """Return what a file of this mode is, in words."""
    return next((name for is_one, name in _KINDS if is_one(mode)), "something unknown")


class Temporary:
    """A complete file that waits to take its place. Use as a context manager.

    Entering writes and syncs it, so that the disk has room for it before anything is
    replaced; leaving removes it if it was not needed.
    """

    def __init__(self, path: Path, data: bytes, *, lasting: bool = True) -> None:
        """Remember what to write; touch nothing yet."""
        self._path = path
        self._data = data
        self._lasting = lasting
        self._name = f".{path.name[:100]}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
        self._open = contextlib.ExitStack()
        self._folder = -1

    def __enter__(self) -> Self:
        try:
            self._folder = self._open.enter_context(open_folder(self._path.parent))
            self._write()
        except OSError as err:
            self._leave()
            raise StateNotWritableError(path=self._path, reason=reason_of(err)) from err
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()

    def replace(self) -> None:
        """Take the place of path. Raises StateNotWritableError, the old one intact."""
        _rename(self._folder, self._name, self._path, lasting=self._lasting)

    def _leave(self) -> None:
        if self._folder >= 0:
            with contextlib.suppress(OSError):  # missing, or a read-only disk
                os.unlink(self._name, dir_fd=self._folder)
            self._folder = -1
        self._open.close()

    def _write(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._name, flags, 0o600, dir_fd=self._folder)
        with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor, no path)
            file.write(self._data)
            file.flush()
            if self._lasting:
                os.fsync(descriptor)


def rename(old: Path, new: Path) -> None:
    """Rename within a folder and make it last, whatever is there, also a link.

    Raises StateNotWritableError if nothing was renamed.
    """
    try:
        with open_folder(new.parent) as folder:
            _rename(folder, old.name, new, lasting=True)
    except OSError as err:
        raise StateNotWritableError(path=new, reason=reason_of(err)) from err


def _rename(folder: int, old: str, new: Path, *, lasting: bool) -> None:
    try:
        os.rename(old, new.name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as err:
        raise StateNotWritableError(path=new, reason=reason_of(err)) from err
    if not lasting:
        return
    try:
        os.fsync(folder)
    except OSError as err:
        if err.errno != errno.EINVAL:  # some network file systems can't, and say so
            # The new name is there for everybody to see: "failed" would be wrong.
            _LOGGER.warning("%s may not survive a power cut: %s", new, reason_of(err))


def remove_file(path: Path) -> None:
    """Remove a file, or a link itself; that there is none is fine.

    Raises StateNotWritableError.
    """
    try:
        with open_folder(path.parent) as folder, contextlib.suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=folder)
    except FileNotFoundError:
        return  # not even its folder is there
    except OSError as err:
        raise StateNotWritableError(path=path, reason=reason_of(err)) from err


def read_capped(path: Path, max_bytes: int) -> bytes | None:
    """Return the content of a file of ours, None if there is nothing at all at path.

    Raises NotAFileError if what is there can't be read as a file of at most max_bytes,
    a symbolic link included; StateNotReadableError if the system refuses, NotOursError
    if the folder is none.
    """
    try:
        with open_folder(path.parent) as folder:
            return _read(path.name, path, max_bytes, folder)
    except FileNotFoundError:
        return None  # not even its folder is there
    except OSError as err:
        raise StateNotReadableError(path=path, reason=reason_of(err)) from err


def read_given(path: Path, max_bytes: int) -> bytes | None:
    """Return the content of a file that the user has named, also through links.

    Raises what read_capped raises, but NotOursError.
    """
    content = _read(path, path, max_bytes, None)
    if content is None and path.is_symlink():
        raise NotAFileError("it is a symbolic link to nothing")
    return content


def _read(
    place: str | Path, path: Path, max_bytes: int, folder: int | None
) -> bytes | None:
    """Read at place, in the folder if there is one; links are followed if not."""
    is_given = folder is None
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        # Opening alone would set off some devices, and wait for the writer of a pipe.
        _refuse_special(os.stat(place, dir_fd=folder, follow_symlinks=is_given))
        descriptor = os.open(
            place, flags | (0 if is_given else os.O_NOFOLLOW), dir_fd=folder
        )
    except FileNotFoundError:
        return None
    except OSError as err:
        if err.errno == errno.ELOOP:
            raise NotAFileError("it is a symbolic link") from err
        raise StateNotReadableError(path=path, reason=reason_of(err)) from err
    try:
        _refuse_special(os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(max_bytes + 1)
    except OSError as err:
        raise StateNotReadableError(path=path, reason=reason_of(err)) from err
    finally:
        os.close(descriptor)
    if len(content) > max_bytes:
        raise NotAFileError(f"it has more than the {max_bytes} bytes that are allowed")
    return content


def _refuse_special(info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        raise NotAFileError(f"it is {kind_of(info.st_mode)}")


def check_socket(path: Path) -> bool:
    """Tell whether there is a socket to connect to. Raises NotOursError.

    A link could lead whoever asks us to somebody else's.
    """
    info = status_of(path)
    if info is not None and not stat.S_ISSOCK(info.st_mode):
        raise NotOursError(path=path, found=kind_of(info.st_mode), wanted="a socket")
    return info is not None


def clear_socket(path: Path) -> None:
    """Make room for a socket that we bind: what a killed process left is removed.

    Only for who has locked the folder. Raises NotOursError, StateNotWritableError.
    """
    if check_socket(path):
        remove_file(path)


def reason_of(err: OSError) -> str:
    """Return why the system refused, in its own words."""
    return err.strerror or str(err)
