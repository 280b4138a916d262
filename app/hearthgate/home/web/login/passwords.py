"""Keep the page's password as a hash, and make one on the first start.

    password ──scrypt (RFC 7914)──▶ scrypt:15:8:1:salt:hash   in a file of mode 0600

The costs are stored with the hash, so that raising them later breaks no login. All of
it blocks, for about a tenth of a second: run it in a thread.
"""

import base64
import binascii
from dataclasses import dataclass, replace
import hashlib
import hmac
import logging
from pathlib import Path
import secrets
from typing import Self

from hearthgate.home.web.errors import WeakPasswordError
from hearthgate.shared.settings.kinds import Secret
from hearthgate.shared.storage.private_files import (
    NotAFileError,
    read_capped,
    rename,
    write_private,
)

_LOGGER = logging.getLogger(__name__)

PASSWORD_MIN = 8
PASSWORD_MAX = 1024
# 32 MiB and about a tenth of a second: enough that a stolen file is no password list,
# little enough that two logins at a time fit beside everything else.
_COST_LOG2, _BLOCK, _PARALLEL = 15, 8, 1
_MEMORY_MAX = 128 * 1024 * 1024  # of a cost found in the file, which someone may edit
_HASH_BYTES = 32
_FILE_MAX_BYTES = 1024
# Without the letters and digits that look alike on a screen: five bits each.
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


class _HashError(ValueError):
    """What is wrong with the file."""


@dataclass(frozen=True, slots=True)
class _Hash:
    cost_log2: int
    block: int
    parallel: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> Self:
        made = cls(_COST_LOG2, _BLOCK, _PARALLEL, secrets.token_bytes(16), b"")
        return replace(made, digest=made.compute(password))

    @classmethod
    def parse(cls, line: str) -> Self:
        try:
            word, cost, block, parallel, salt, digest = line.strip().split(":")
            found = cls(
                int(cost),
                int(block),
                int(parallel),
                base64.b64decode(salt, validate=True),
                base64.b64decode(digest, validate=True),
            )
        except (ValueError, binascii.Error) as err:
            raise _HashError("it is not a password hash") from err
        if word != "scrypt" or len(found.digest) != _HASH_BYTES or not found._fits():
            raise _HashError("it is not a password hash of ours")
        return found

    def _fits(self) -> bool:
        small = 10 <= self.cost_log2 <= 20 and 1 <= self.block <= 32  # noqa: PLR2004
        return (
            small
            and 1 <= self.parallel <= 4  # noqa: PLR2004
            and 128 * self.block * 2**self.cost_log2 <= _MEMORY_MAX
        )

    def compute(self, password: str) -> bytes:
        return hashlib.scrypt(
            password.encode(errors="surrogatepass"),  # wrong, but no crash
            salt=self.salt,
            n=2**self.cost_log2,
            r=self.block,
            p=self.parallel,
            maxmem=2 * _MEMORY_MAX,
            dklen=_HASH_BYTES,
        )

    def line(self) -> str:
        salt = base64.b64encode(self.salt).decode()
        digest = base64.b64encode(self.digest).decode()
        costs = f"{self.cost_log2}:{self.block}:{self.parallel}"
        return f"scrypt:{costs}:{salt}:{digest}\n"


class PasswordFile:
    """The one password of the page."""

    def __init__(self, path: Path) -> None:
        """Touch no file yet; call prepare() first."""
        self._path = path
        self._hash: _Hash | None = None

    def prepare(self, given: Secret | None) -> Secret | None:
        """Make sure that there is a password. Return it if it had to be made up.

        `given` wins over the file. A file that can't be used is set aside and a new
        password is made, because its owner could not log in with it anyway. Raises
        WeakPasswordError, StateNotReadableError and StateNotWritableError.
        """
        self._hash = self._read()
        if given is not None:
            if not self.matches(given):
                self.set(given)
            return None
        if self._hash is not None:
            return None
        made = Secret("-".join(_word(4) for _ in range(4)))
        self.set(made)
        return made

    def set(self, password: str) -> None:
        """Replace the password. Raises WeakPasswordError, StateNotWritableError."""
        if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
            raise WeakPasswordError(least=PASSWORD_MIN, most=PASSWORD_MAX)
        made = _Hash.of(password)
        write_private(self._path, made.line().encode())
        self._hash = made

    def matches(self, password: str) -> bool:
        """Compare in a time that does not depend on where the two differ."""
        if self._hash is None:
            return False
        return hmac.compare_digest(self._hash.compute(password), self._hash.digest)

    @property
    def stamp(self) -> str:
        """A text that changes with the password and gives nothing of it away."""
        line = "" if self._hash is None else self._hash.line()
        return hashlib.sha256(line.encode()).hexdigest()

    def _read(self) -> _Hash | None:
        try:
            raw = read_capped(self._path, _FILE_MAX_BYTES)
            return None if raw is None else _Hash.parse(raw.decode("ascii"))
        except (NotAFileError, _HashError, UnicodeDecodeError) as err:
            kept = self._path.with_name(
                f"{self._path.name}.damaged-{secrets.token_hex(4)}"
            )
            _LOGGER.error("%s: %s. Kept as %s.", self._path, err, kept.name)  # noqa: TRY400
            rename(self._path, kept)
            return None


def _word(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
