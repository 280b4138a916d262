"""A small disk of its own for the data of one process: it can be full and read-only.

    mounted() ──▶ fill() ──▶ empty()          a tmpfs; mounting needs root

Knows no process; whoever uses it stops the process before the disk goes.
"""

from collections.abc import Iterator
import contextlib
from pathlib import Path
import subprocess


class Disk:
    """A small file system of our own below the data folder of a process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def mounted(self) -> Iterator[None]:
        """Be there, empty."""
        self._folder.mkdir(mode=0o700)
        self._mount("-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs")
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", self._folder], check=True)

    def _mount(self, *arguments: str) -> None:
        subprocess.run(["mount", *arguments, self._folder], check=True)

    def fill(self) -> None:
        """Leave not one block."""
        with (self._folder / "ballast").open("wb", buffering=0) as file:
            for size in (1024 * 1024, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def empty(self) -> None:
        """Make room again."""
        (self._folder / "ballast").unlink()

    def read_only(self) -> None:
        """Refuse every write."""
        self._mount("-o", "remount,ro")

    def writable(self) -> None:
        """Take writes again."""
        self._mount("-o", "remount,rw")
