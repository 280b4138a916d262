"""Certificates and their keys on disk, one folder for each ACME directory.

    <folder>/<host of the directory>-<digest>/
        account.pem      the account key; made once
        state.yaml       see state.py
        live/<hostname>.pem   leaf, chain, key: what the edge reads

A file is replaced whole (shared/storage/private_files.py) and is 0600 from its first
moment. One that cannot be used is set aside, not removed. Blocking: run in a thread;
`get` alone is cheap enough for the event loop, it reads a file only when that changed.
"""

from collections.abc import Callable
from dataclasses import dataclass
import logging
import os
from pathlib import Path
import stat

from hearthgate.errors import HearthgateError
from hearthgate.home.certificates.pem import (
    PEM_MAX_BYTES,
    Leaf,
    UnfitError,
    read_combined,
)
from hearthgate.shared.storage.folders import private_folder
from hearthgate.shared.storage.private_files import (
    NotAFileError,
    Temporary,
    read_capped,
    rename,
    status_of,
    write_private,
)

_LOGGER = logging.getLogger(__name__)

_ROOM_BYTES = 16 * 1024  # about three times a leaf with its chain and key


@dataclass(frozen=True, slots=True)
class Certificate:
    """A usable certificate with its key, on disk."""

    hostname: str
    path: Path  # leaf, chain and private key; mode 0600
    not_before: float  # Unix time
    not_after: float  # Unix time


@dataclass(frozen=True, slots=True)
class Stored:
    """A certificate, and what renewing it needs to know."""

    certificate: Certificate
    leaf: Leaf


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a file held when it looked like this."""

    mark: tuple[int, int, int]  # inode, size, time of change
    stored: Stored


class CertificateStore:
    """The certificates of one ACME directory. Not thread-safe, except put()."""

    def __init__(self, folder: Path, *, clock: Callable[[], float]) -> None:
        """Create the folder if need be. Raises StateNotWritableError."""
        self._live = private_folder(folder / "live")
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._told_expired: set[str] = set()  # serials, so that each is told once

    def get(self, hostname: str) -> Stored | None:
        """Return a certificate that can be served now, None if there is none."""
        stored = self._read(hostname)
        if stored is None or stored.leaf.not_after > self._clock():
            return stored
        if stored.leaf.serial not in self._told_expired:
            self._told_expired.add(stored.leaf.serial)
            _LOGGER.warning("%s: the certificate on disk has expired", hostname)
        return None

    def put(self, hostname: str, combined: bytes) -> Stored:
        """Replace the certificate of a hostname, all or nothing.

        Raises UnfitError if it is not one for this hostname, StateNotWritableError if
        the disk refuses; both leave the old one in place.
        """
        leaf = read_combined(combined, hostname)
        path = self._path(hostname)
        write_private(path, combined)
        return Stored(_certificate(hostname, path, leaf), leaf)

    def check_room(self, hostname: str) -> None:
        """Raise StateNotWritableError if a new certificate could not be stored."""
        with Temporary(self._path(hostname), bytes(_ROOM_BYTES)):
            pass

    def _path(self, hostname: str) -> Path:
        return self._live / f"{hostname}.pem"

    def _read(self, hostname: str) -> Stored | None:
        path = self._path(hostname)
        try:
            found = status_of(path)
        except OSError:
            found = None
        if found is None:
            self._seen.pop(hostname, None)
            return None
        mark = (found.st_ino, found.st_size, found.st_mtime_ns)
        seen = self._seen.get(hostname)
        if seen is not None and seen.mark == mark:
            return seen.stored
        stored = self._load(hostname, path, found)
        if stored is not None:
            self._seen[hostname] = _Seen(mark, stored)
        return stored

    def _load(self, hostname: str, path: Path, found: os.stat_result) -> Stored | None:
        try:
            data = read_capped(path, PEM_MAX_BYTES) or b""
            leaf = read_combined(data, hostname)
        except (UnfitError, NotAFileError) as err:
            set_aside(path, str(err))
            return None
        except HearthgateError as err:
            _LOGGER.error("%s: %s", hostname, err)  # noqa: TRY400 (the text says it all)
            return None
        if stat.S_IMODE(found.st_mode) & 0o077:
            _LOGGER.warning("%s: closing %s to other users", hostname, path)
            write_private(path, data)  # this name alone, not what else has the file
        return Stored(_certificate(hostname, path, leaf), leaf)


def set_aside(path: Path, reason: str) -> None:
    """Rename a file that cannot be used, over an older such file; never fails."""
    kept = path.with_name(f"{path.name}.damaged")
    try:
        rename(path, kept)
    except HearthgateError as err:
        _LOGGER.error("%s can't be used: %s; nor set aside: %s", path, reason, err)  # noqa: TRY400
    else:
        _LOGGER.error("%s can't be used: %s. Kept as %s", path, reason, kept.name)


def _certificate(hostname: str, path: Path, leaf: Leaf) -> Certificate:
    return Certificate(hostname, path, leaf.not_before, leaf.not_after)
