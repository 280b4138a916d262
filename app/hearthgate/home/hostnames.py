"""Read a public hostname as users type it.

    "Müller.Example.COM."  ──▶  "xn--mller-kva.example.com"      or an error

What comes out is what the home compares byte by byte: lower case, A-labels
(RFC 5890 §2.3.2.1), no trailing dot. Asks no DNS; whether a relay grants the name is
the business of the relay.
"""

import re

import idna

from hearthgate.errors import HearthgateError

_NAME_MAX = 253  # RFC 1035 §2.3.4: 255 octets on the wire, less the two lengths
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")  # RFC 1123 §2.1


class InvalidHostnameError(HearthgateError):
    """Raise if a text cannot be a public hostname."""

    code = "invalid_hostname"
    message = "{hostname} can't be a public hostname: {reason}."
    hint = "Use a name like cloud.example.com below a domain that points to the relay."


def read_hostname(text: str) -> str:
    """Return the hostname in its one stored form. Raises InvalidHostnameError."""
    name = text.strip().removesuffix(".")
    shown = name[:100]
    if "*" in name:
        raise InvalidHostnameError(hostname=shown, reason="it must be one single name")
    name = _as_ascii(name, shown)
    labels = name.split(".")
    if len(labels) < 2:  # noqa: PLR2004 (a name and a domain)
        raise InvalidHostnameError(hostname=shown, reason="it has no domain")
    if len(name) > _NAME_MAX:
        raise InvalidHostnameError(hostname=shown, reason="it is too long")
    if not all(map(_LABEL.fullmatch, labels)):
        raise InvalidHostnameError(
            hostname=shown,
            reason="each part has 1 to 63 letters, digits and inner hyphens",
        )
    if labels[-1].isdigit():
        raise InvalidHostnameError(hostname=shown, reason="it is an address, no name")
    return name


def is_stored_hostname(text: str) -> bool:
    """Tell whether a text is a hostname in its one stored form already."""
    try:
        return read_hostname(text) == text
    except InvalidHostnameError:
        return False


def _as_ascii(name: str, shown: str) -> str:
    lower = name.lower()
    if lower.isascii() and "xn--" not in lower:
        return lower
    try:
        return idna.encode(lower, uts46=True, transitional=False).decode("ascii")
    except idna.IDNAError as err:
        raise InvalidHostnameError(
            hostname=shown, reason=f"its letters are not allowed ({err})"
        ) from err
