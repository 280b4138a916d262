"""A name and a password in front of an exposure: accept them, keep only a hash.

    what the user typed ─▶ ACCESS_SCHEMA ─▶ make_access ─▶ model.Access (hash only)

The edge compares; this package never sees a visitor. It stores nothing.
"""

from hearthgate.home.access.errors import AccessError, PasswordNotHashedError
from hearthgate.home.access.hashing import hash_password, matches
from hearthgate.home.access.wish import ACCESS_SCHEMA, make_access

__all__ = [
    "ACCESS_SCHEMA",
    "AccessError",
    "PasswordNotHashedError",
    "hash_password",
    "make_access",
    "matches",
]
