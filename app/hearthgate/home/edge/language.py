"""Words of HAProxy's language that more than one module writes. Pure functions."""

from string import ascii_letters, digits
from typing import Final

HTML: Final = 'content-type "text/html; charset=utf-8" file'
NO_STORE: Final = "hdr Cache-Control no-store"

_PLAIN: Final = frozenset((ascii_letters + digits + "-_.").encode())


def page_file(status: int) -> str:
    """Return the file name of an error page in a generation's folder."""
    return f"{status}.html"


def escape(text: str) -> str:
    """Return the text as one word that HAProxy reads back as the same bytes.

    Everything but letters, digits, dash, dot and underscore becomes an escape.
    """
    return "".join(
        chr(byte) if byte in _PLAIN else f"\\x{byte:02x}" for byte in text.encode()
    )
