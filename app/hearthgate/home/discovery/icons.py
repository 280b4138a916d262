"""Keep icons as files named by what is in them.

    bytes ──picture_type──▶ icons/<32 hex digits>.png     the name is the version tag

Bounded in number and in age; what is shown stays. Blocking: run in a thread. Does not
fetch, and does not know whose icon a file is.
"""

from collections.abc import Callable, Collection
import contextlib
import hashlib
import os
from pathlib import Path
import re
import stat
import threading

from hearthgate.home.discovery.images import picture_type
from hearthgate.home.discovery.limits import DiscoveryLimits
from hearthgate.shared.storage.folders import names_in, private_folder
from hearthgate.shared.storage.private_files import (
    remove_file,
    status_of,
    write_private,
)

__all__ = ["IconStore"]

_NAME = re.compile(r"[0-9a-f]{32}\.(?:png|gif|jpg|webp|ico|svg)")
_TEMPORARY = ".new-"


class IconStore:
    """A folder of icons. One owner; others only read."""

    def __init__(
        self, folder: Path, limits: DiscoveryLimits, *, clock: Callable[[], float]
    ) -> None:
        """Take the folder; it is made when the first icon comes."""
        self._folder = folder
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()  # threads of several probes
        self._new = 0  # files since the last cleaning

    @property
    def crowded(self) -> bool:
        """Whether cleaning is worth it before its time."""
        return self._new >= self._limits.icons_new

    def save(self, data: bytes) -> str | None:
        """Keep a picture and return its file name; None if it is not one we show.

        Saving what is there already renews its age. Raises OSError, StateError.
        """
        if len(data) > self._limits.icon_max_bytes:
            return None
        ending = picture_type(data, max_side=self._limits.icon_max_pixels)
        if ending is None:
            return None
        name = f"{hashlib.sha256(data).hexdigest()[:32]}.{ending}"
        path = self._folder / name
        now = self._clock()
        with self._lock:
            if not _is_ours(path):
                # An icon is not worth waiting for the disk.
                write_private(private_folder(self._folder) / name, data, lasting=False)
                self._new += 1
            os.utime(path, (now, now), follow_symlinks=False)
        return name

    def clean(self, shown: Collection[str]) -> None:
        """Remove what is too old or too many; never what is shown.

        Raises OSError, StateError.
        """
        with self._lock:
            self._new = 0
            with contextlib.suppress(FileNotFoundError):  # no icon came yet
                self._clean(shown)

    def _clean(self, shown: Collection[str]) -> None:
        ages: list[tuple[float, Path]] = []
        for name in names_in(self._folder):
            path = self._folder / name
            if name.startswith(_TEMPORARY):
                remove_file(path)  # left by a crash of version 0.1.0
            elif _NAME.fullmatch(name) and name not in shown:
                info = status_of(path)
                if info is not None and not stat.S_ISDIR(info.st_mode):
                    ages.append((self._clock() - info.st_mtime, path))
        ages.sort()
        room = max(0, self._limits.icons - len(shown))
        for place, (age, path) in enumerate(ages):
            if place >= room or age > self._limits.icons_keep_s:
                remove_file(path)


def _is_ours(path: Path) -> bool:
    """Tell a file that nothing else has as well; a link to one is none."""
    info = status_of(path)
    return info is not None and stat.S_ISREG(info.st_mode) and info.st_nlink == 1
