"""Hash passwords with crypt(3), the system's own function for that.

Python's own `crypt` module ended with 3.12, and passlib is no longer looked after. The
system's libcrypt.so.1 is there wherever HAProxy is, because HAProxy is linked to it.
SHA-512 (`$6$`) is known to every libcrypt; its default of 5,000 rounds takes 2 to
20 ms. Blocking for that long, but not holding the interpreter's lock.
"""

import ctypes
import functools
import hmac
import secrets
import string
from typing import Any, Final

from hearthgate.home.access.errors import PasswordNotHashedError

# crypt(5): 16 characters of this alphabet are 96 random bits, the most SHA-crypt takes.
_SALT_ALPHABET: Final = "./" + string.digits + string.ascii_letters
_SALT_LENGTH: Final = 16
# struct crypt_data is 32 KiB in libxcrypt and 128 KiB in glibc's former libcrypt.
_CRYPT_DATA_BYTES: Final = 128 * 1024 + 512
_PREFIX: Final = "$6$"


def hash_password(password: str) -> str:
    """Return a salted hash in crypt(3) format. Raises PasswordNotHashedError."""
    salt = "".join(secrets.choice(_SALT_ALPHABET) for _ in range(_SALT_LENGTH))
    hashed = _crypt(password, _PREFIX + salt)
    if not hashed.startswith(_PREFIX + salt + "$"):
        raise PasswordNotHashedError(reason="crypt(3) does not know SHA-512")
    return hashed


def matches(password: str, password_hash: str) -> bool:
    """Tell whether a password belongs to a hash, in constant time."""
    try:
        hashed = _crypt(password, password_hash)
    except (PasswordNotHashedError, UnicodeEncodeError):
        return False
    return hmac.compare_digest(hashed.encode(), password_hash.encode())


def _crypt(password: str, setting: str) -> str:
    """Call crypt_r(3), which is safe beside threads."""
    if "\0" in password or "\0" in setting:
        raise PasswordNotHashedError(reason="it contains a NUL")
    scratch = ctypes.create_string_buffer(_CRYPT_DATA_BYTES)
    answer = _libcrypt().crypt_r(password.encode(), setting.encode(), scratch)
    # Failure is a null pointer, or a "failure token" that begins with an asterisk.
    if answer is None or answer.startswith(b"*"):
        raise PasswordNotHashedError(reason="crypt(3) refused")
    return bytes(answer).decode("ascii")


@functools.cache
def _libcrypt() -> Any:  # noqa: ANN401 - ctypes has no types for functions in a library
    try:
        library = ctypes.CDLL("libcrypt.so.1", use_errno=True)
    except OSError as err:
        raise PasswordNotHashedError(reason="libcrypt.so.1 is missing") from err
    library.crypt_r.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
    library.crypt_r.restype = ctypes.c_char_p
    return library
