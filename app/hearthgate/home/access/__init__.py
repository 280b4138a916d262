"""A name and a password in front of an exposure: accept them, keep only a hash.

    what the user typed ─▶ ACCESS_SCHEMA ─▶ make_access ─▶ model.Access (hash only)
    what a visitor sent ─▶ PasswordChecks ─▶ Verdict, with wrong ones counted

The edge asks, and acts on the answer; this package sees no request. It stores nothing.
"""

from hearthgate.home.access.checks import CheckLimits, PasswordChecks, Verdict
from hearthgate.home.access.errors import AccessError, PasswordNotHashedError
from hearthgate.home.access.guesses import GuessLimits
from hearthgate.home.access.hashing import hash_password, matches
from hearthgate.home.access.wish import ACCESS_SCHEMA, make_access

__all__ = [
    "ACCESS_SCHEMA",
    "AccessError",
    "CheckLimits",
    "GuessLimits",
    "PasswordChecks",
    "PasswordNotHashedError",
    "Verdict",
    "hash_password",
    "make_access",
    "matches",
]
