"""An id that a home makes once and keeps in a file of its own.

entities-id   its entities in Home Assistant; part of a backup, so that a restored
home has the entities that it had
machine       this machine; in no backup, so that a relay tells a restored home
from its twin
"""

import logging
from pathlib import Path
import re
import secrets

from hearthgate.shared.storage.private_files import (
    NotAFileError,
    read_capped,
    rename,
    write_private,
)

_LOGGER = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{8}")
_FILE_MAX_BYTES = 64


def lasting_id(path: Path) -> str:
    """Return the id at path, or a new one that is kept there. Blocking.

    What is no file is set aside. Raises StateError.
    """
    found = _read(path)
    if not _ID.fullmatch(found):
        found = secrets.token_hex(4)
        write_private(path, f"{found}\n".encode())
    return found


def _read(path: Path) -> str:
    try:
        raw = read_capped(path, _FILE_MAX_BYTES) or b""
    except NotAFileError as err:
        kept = path.with_name(f"{path.name}.damaged-{secrets.token_hex(4)}")
        rename(path, kept)
        _LOGGER.error("%s can't be used: %s. Kept as %s", path, err, kept.name)  # noqa: TRY400 (the text says it all)
        return ""
    return raw.decode("ascii", "replace").strip()
