"""A backup for Home Assistant to take in: a real one, of any size, made on the way.

    backup.json ─┐
    big member  ─┴─▶ tar ─▶ one part of a multipart body ─▶ blocks of 1 MiB

Each block of the big member differs, so that what arrives can be compared.
"""

from collections.abc import AsyncIterator, Iterator
import hashlib
import io
import json
import tarfile

MIB = 1024 * 1024
BOUNDARY = "a-backup-of-hearthgates-tests"
_HEAD = (
    f"--{BOUNDARY}\r\n"
    'Content-Disposition: form-data; name="file"; filename="big.tar"\r\n'
    "Content-Type: application/x-tar\r\n\r\n"
).encode()
_TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


class Backup:
    """A backup whose big member has so many MiB."""

    def __init__(self, backup_id: str, mib: int) -> None:
        self.backup_id = backup_id
        self._mib = mib
        told = {
            "slug": backup_id,
            "name": "Big",
            "date": "2026-11-01T00:00:00+00:00",
            "version": 2,
            "type": "partial",
            "folders": [],
            "homeassistant": {"version": "2026.11.0", "exclude_database": True},
            "compressed": True,
            "protected": False,
        }
        self._facts = json.dumps(told).encode()
        self.size = sum(len(one) for one in self._parts(0)) + mib * MIB
        self.content_type = f"multipart/form-data; boundary={BOUNDARY}"
        self.body_size = len(_HEAD) + self.size + len(_TAIL)

    def _parts(self, mib: int) -> Iterator[bytes]:
        facts = tarfile.TarInfo("./backup.json")
        facts.size = len(self._facts)
        big = tarfile.TarInfo("./homeassistant.tar.gz")
        big.size = self._mib * MIB
        yield facts.tobuf() + self._facts + bytes(-len(self._facts) % tarfile.BLOCKSIZE)
        yield big.tobuf()
        for number in range(mib):
            yield number.to_bytes(8, "big") + bytes(MIB - 8)
        yield bytes(2 * tarfile.BLOCKSIZE)

    def digest(self) -> str:
        """Return the SHA-256 of the file."""
        digest = hashlib.sha256()
        for part in self._parts(self._mib):
            digest.update(part)
        return digest.hexdigest()

    async def body(self) -> AsyncIterator[bytes]:
        """Give what is uploaded."""
        yield _HEAD
        for part in self._parts(self._mib):
            yield part
        yield _TAIL


def digest(file: io.BufferedReader) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.file_digest(file, "sha256").hexdigest()
