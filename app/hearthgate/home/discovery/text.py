"""Make text from the network fit to be shown, and names fit to be an id.

    instance name ──clean_text──▶ a line without tricks ──▶ Service.name
    (type, instance) ──service_id──▶ Service.id

Pure. Knows no mDNS and no HTML; escaping is the page's job (it uses textContent).
"""

import hashlib
import re
import unicodedata

__all__ = ["clean_name", "clean_text", "service_id"]

# Cc controls, Cf format (bidi overrides and isolates, zero-width, tags), Cs halves of a
# pair, Co and Cn have no picture. Without Cf emoji sequences lose their joiner: fine.
_UNSHOWABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_MAX_COMBINING = 2  # per letter; more is "zalgo" that paints over the neighbours
_SPACES = re.compile(r"\s+")
_NOT_SLUG = re.compile(r"[^a-z0-9]+")
_MAC_TAIL = re.compile(
    r"\s*[\[(](?:[0-9a-f]{2}[:-]?){5}[0-9a-f]{2}[\])]$", re.IGNORECASE
)
_OPAQUE = re.compile(r"[0-9a-f-]{16,}", re.IGNORECASE)
_SLUG_CHARS = 40


def clean_text(raw: str, max_chars: int) -> str:
    """Return one line that is safe to show; empty if nothing is left.

    Spaces are joined, controls and direction overrides dropped, stacked accents
    limited, and what is too long ends in an ellipsis.
    """
    text = unicodedata.normalize("NFC", raw[: max_chars * 8])
    text = _SPACES.sub(" ", text).strip()
    shown: list[str] = []
    combining = 0
    for char in text:
        category = unicodedata.category(char)
        combining = combining + 1 if category.startswith("M") else 0
        if category not in _UNSHOWABLE and combining <= _MAX_COMBINING:
            shown.append(char)
    text = _SPACES.sub(" ", "".join(shown)).strip()
    return text if len(text) <= max_chars else text[: max_chars - 1].rstrip() + "…"


def clean_name(instance: str, max_chars: int) -> str:
    """Return an instance name as people would write it.

    Drops a MAC address in brackets at the end. A name that is only a serial number
    or a UUID says nothing: the answer is empty, so that a title can stand in.
    """
    text = _MAC_TAIL.sub("", clean_text(instance, max_chars))
    return "" if _OPAQUE.fullmatch(text) else text


def service_id(instance: str, service_type: str) -> str:
    """Return the id of an instance: a slug to read and a hash to be unique.

    Names are compared as DNS does it (RFC 6762 §16: ASCII case is ignored), and the
    address takes no part, so an id survives restarts and address changes.
    """
    identity = f"{instance}\0{service_type}".encode("utf-8", "surrogatepass").lower()
    digest = hashlib.sha256(identity).hexdigest()[:10]
    plain = unicodedata.normalize("NFKD", instance).lower()
    slug = _NOT_SLUG.sub("-", plain)[:_SLUG_CHARS].strip("-")
    return f"{slug}-{digest}" if slug else f"service-{digest}"
