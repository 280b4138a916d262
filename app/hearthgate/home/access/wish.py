"""The door for a name and a password that a user typed.

{"username", "password"} ─▶ ACCESS_SCHEMA ─▶ make_access ─▶ Access
"""

from typing import Final
import unicodedata

import voluptuous as vol

from hearthgate.home.access.errors import AccessError
from hearthgate.home.access.hashing import hash_password
from hearthgate.home.model import Access

USERNAME_MAX: Final = 64
# NIST SP 800-63B asks for at least 8 and says not to cut below 64.
PASSWORD_MIN: Final = 8
PASSWORD_MAX: Final = 128


def _text(value: object) -> str:
    """Normalise as RFC 7617 §2.1 asks, so that every browser sends the same bytes."""
    if not isinstance(value, str):
        raise vol.Invalid("this must be text")
    value = unicodedata.normalize("NFC", value)
    try:
        value.encode()
    except UnicodeEncodeError as err:
        raise vol.Invalid("this is not valid text") from err
    return value


def _username(value: object) -> str:
    name = _text(value)
    if not 0 < len(name) <= USERNAME_MAX:
        raise vol.Invalid(f"a name has 1 to {USERNAME_MAX} characters")
    if ":" in name:
        raise vol.Invalid("a name cannot contain a colon")  # RFC 7617 §2
    if not name.isprintable() or name != name.strip():
        raise vol.Invalid("a name cannot begin or end with a blank, or hide characters")
    return name


def _password(value: object) -> str:
    password = _text(value)
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise vol.Invalid(f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters")
    if any(unicodedata.category(character) == "Cc" for character in password):
        raise vol.Invalid("a password cannot contain control characters")
    return password


ACCESS_SCHEMA: Final = vol.Schema(
    {vol.Required("username"): _username, vol.Required("password"): _password}
)


def make_access(username: str, password: str) -> Access:
    """Return the policy with the password hashed. Blocking: run in a thread.

    Raises AccessError with the reason if one of them cannot be used.
    """
    try:
        wish = ACCESS_SCHEMA({"username": username, "password": password})
    except vol.MultipleInvalid as err:
        raise AccessError(reason=err.errors[0].msg) from err
    return Access(wish["username"], hash_password(wish["password"]))
