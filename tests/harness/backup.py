"""Back up an add-on's data and put it back, as Home Assistant's Supervisor does.

    data folder ──walk, without backup_exclude──▶ tar ──▶ an empty folder elsewhere

Follows the Supervisor's source (supervisor/apps/app.py, and the walk of its tar
library): while the add-on runs, file by file; a pattern is matched against the whole
path, so one without a slash against the last name at any depth; a folder that
matches is not entered. A file that is gone between the listing and the reading, or is
shorter by then, fails the whole backup: FailedBackupError.
What only a real one adds: its own facts of the add-on, encryption, and the image of an
add-on that was built at home. No pytest here.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
import tarfile

# Where the Supervisor sees the data of the add-on.
_SEEN_AT = PurePosixPath("/data/addons/data/0ab1cd2e_hearthgate")
_INSIDE = PurePosixPath("data")


class FailedBackupError(Exception):
    """Raise if the Supervisor would say that the backup has failed."""


def back_up(data: Path, tar: Path, exclude: Sequence[str]) -> list[str]:
    """Write the data folder of an add-on to a tar file; return the names in it.

    Raises FailedBackupError.
    """
    with tarfile.open(tar, "w") as archive:
        for path in _chosen(data, PurePosixPath(), exclude):
            inside = _INSIDE / path.relative_to(data)
            try:
                archive.add(path, arcname=str(inside), recursive=False)
            except (OSError, tarfile.TarError) as err:
                raise FailedBackupError(f"{path}: {err}") from err
    return names(tar)


def _chosen(
    folder: Path, below: PurePosixPath, exclude: Sequence[str]
) -> Iterator[Path]:
    yield folder
    for path in folder.iterdir():
        relative = below / path.name
        if any((_SEEN_AT / relative).match(pattern) for pattern in exclude):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _chosen(path, relative, exclude)
        else:
            yield path


def names(tar: Path) -> list[str]:
    """Return the files in a backup, without folders."""
    with tarfile.open(tar) as archive:
        return sorted(
            str(PurePosixPath(one.name).relative_to(_INSIDE))
            for one in archive
            if not one.isdir()
        )


def restore(tar: Path, data: Path) -> None:
    """Put a backup into a data folder that does not exist yet."""
    unpacked = data.with_name(f"{data.name}.unpacked")
    with tarfile.open(tar) as archive:
        archive.extractall(unpacked)  # ours; filter= came with Python 3.11.4
    (unpacked / _INSIDE).rename(data)
    unpacked.rmdir()
