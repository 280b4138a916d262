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
import tempfile
import threading

from hearthgate.home.discovery.images import picture_type
from hearthgate.home.discovery.limits import DiscoveryLimits

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

        Saving what is there already renews its age. Raises OSError.
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
            if not path.exists():
                self._folder.mkdir(parents=True, exist_ok=True)
                self._write(path, data)
                self._new += 1
            os.utime(path, (now, now))
        return name

    def _write(self, path: Path, data: bytes) -> None:
        """Write so that a reader sees all or nothing. An icon is not worth an fsync."""
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=_TEMPORARY)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            Path(temporary).replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
            raise

    def clean(self, shown: Collection[str]) -> None:
        """Remove what is too old or too many; never what is shown. Raises OSError."""
        with self._lock:
            self._new = 0
            if self._folder.is_dir():
                self._clean(shown)

    def _clean(self, shown: Collection[str]) -> None:
        ages: list[tuple[float, Path]] = []
        for path in self._folder.iterdir():
            if path.name.startswith(_TEMPORARY):
                path.unlink(missing_ok=True)  # left by a crash
            elif _NAME.fullmatch(path.name) and path.name not in shown:
                ages.append((self._clock() - path.stat().st_mtime, path))
        ages.sort()
        room = max(0, self._limits.icons - len(shown))
        for place, (age, path) in enumerate(ages):
            if place >= room or age > self._limits.icons_keep_s:
                path.unlink(missing_ok=True)
