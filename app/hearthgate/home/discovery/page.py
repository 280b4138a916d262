"""Read what a page says about itself in its head: a title and icons.

    body, Content-Type ──decode──▶ start_tags ──▶ Page(title, icons best first)

Whatever the bytes are, the answer is a Page, maybe an empty one, and it comes in time
that grows with their number and no faster. Pure: fetches nothing, runs no script, and
does not judge where an icon points; fetch.py does.
"""

import codecs
from dataclasses import dataclass
from encodings import normalize_encoding
from encodings.aliases import aliases
import re
from urllib.parse import urljoin

from hearthgate.home.discovery.markup import start_tags, unescape
from hearthgate.home.discovery.text import clean_text

__all__ = ["Page", "read_page"]

_META_BYTES = 1024  # HTML, "prescan a byte stream": where a charset may be declared
# Possessive: two runs of blanks side by side can share out eight kilobytes of them in
# eight thousand ways, and each would be tried.
_CHARSET = r"""charset[ \t\n\r]*+=[ \t\n\r]*+["']?+[ \t\n\r]*+([\w.:-]{2,40})"""
_META = re.compile(r"<meta[^>]{1,200}?" + _CHARSET, re.IGNORECASE | re.ASCII)
_HEADER = re.compile(_CHARSET, re.IGNORECASE | re.ASCII)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# What the Encoding standard lets a page be written in, as Python's modules call it. Of
# Python's other ones some are no text, and `punycode` takes minutes for a page.
_ENCODINGS = frozenset(
    {"utf_8", "utf_16_le", "utf_16_be", "cp866", "koi8_r", "koi8_u", "mac_roman"}
    | {f"iso8859_{part}" for part in (*range(2, 9), 10, 11, *range(13, 17))}
    | {f"cp{page}" for page in (874, *range(1250, 1259))}
    | {"gb18030", "gbk", "big5", "euc_jp", "iso2022_jp", "shift_jis", "euc_kr"}
)
# What the standard reads as another encoding than Python does.
_READ_AS = {
    "latin_1": "cp1252",
    "ascii": "cp1252",
    "gb2312": "gbk",
    "utf_16": "utf_16_le",
    "tis_620": "cp874",
}
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.IGNORECASE | re.ASCII)
_SIZES_CHARS = 200
_TAGS_MAX = 4000  # tags and comments looked at; the fattest head seen has 400
_ICONS = 16  # links looked at; real pages have five
_TITLE_RAW_CHARS = 2000
_LINK_CHARS = 2048
_DATA_URL_CHARS = 192 * 1024  # a data: URL of the largest icon
_BEST_SIDE = 192  # pixels: twice what the page shows, for sharp displays


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says about itself."""

    title: str = ""
    icons: tuple[str, ...] = ()  # absolute URLs, or data: URLs; best first


def read_page(body: bytes, content_type: str, url: str, *, max_chars: int) -> Page:
    """Return title and icons of a page at this URL. Never raises.

    The work is bounded by the size of the body, whatever is in it: run it in a thread.
    """
    title: str | None = None
    base = ""
    links: list[tuple[float, str]] = []  # badness, href
    for tag in start_tags(_decode(body, content_type), most=_TAGS_MAX):
        if tag.name == "title" and title is None and not tag.in_svg:
            title = tag.inside
        elif tag.name == "base" and not base:
            base = tag.attributes().get("href", "")[:_LINK_CHARS]
        elif tag.name == "link" and len(links) < _ICONS:
            links += _icon(tag.attributes())
    shown = clean_text(unescape((title or "")[:_TITLE_RAW_CHARS]), max_chars)
    icons: list[str] = []
    for _, href in sorted(links, key=lambda icon: icon[0]):
        absolute = _absolute(url, base, href)
        if absolute and absolute not in icons:
            icons.append(absolute)
    return Page(shown, tuple(icons))


def _icon(values: dict[str, str]) -> list[tuple[float, str]]:
    """Return how bad the icon behind a link is, and where it is; nothing if none."""
    rels = set(values.get("rel", "").lower().split())
    href = values.get("href", "").strip()
    touch = bool(rels & {"apple-touch-icon", "apple-touch-icon-precomposed"})
    if not href or not (touch or "icon" in rels):
        return []
    if len(href) > (_DATA_URL_CHARS if href.startswith("data:") else _LINK_CHARS):
        return []
    return [(_badness(values, href, touch=touch), href)]


def _badness(values: dict[str, str], href: str, *, touch: bool) -> float:
    """Return how far an icon is from the size we want; too small is worse."""
    sizes = values.get("sizes", "").lower()[:_SIZES_CHARS]
    kind = values.get("type", "").lower()
    if "any" in sizes.split() or "svg" in kind or ".svg" in href[:_LINK_CHARS].lower():
        return 0.0
    sides = [int(width) for width, _ in _SIZE.findall(sizes)]
    side = max(sides, default=180 if touch else 24)
    if side <= 0:
        return float(_BEST_SIDE)
    return _BEST_SIDE / side if side < _BEST_SIDE else side / _BEST_SIDE / 4


def _absolute(url: str, base: str, href: str) -> str | None:
    try:
        return href if href.startswith("data:") else urljoin(urljoin(url, base), href)
    except ValueError:
        return None


def _decode(body: bytes, content_type: str) -> str:
    """Return text: mark first, then header, then meta, then UTF-8 or Windows-1252."""
    for mark, encoding in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(encoding, "replace")
    header = _HEADER.search(content_type)
    meta = _META.search(body[:_META_BYTES].decode("ascii", "replace"))
    for declared in (header, meta):
        name = _encoding(declared.group(1)) if declared else None
        if name:
            return body.decode(name, "replace")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as err:
        cut_short = err.start >= len(body) - 3  # the cap fell into a character
        return body.decode("utf-8" if cut_short else "cp1252", "replace")


def _encoding(label: str) -> str | None:
    """Return the encoding that a page declares; None if pages can't be in it."""
    # Without codecs.lookup, which imports by name and remembers each name for ever.
    name = normalize_encoding(label.lower())
    name = aliases.get(name, name)
    name = _READ_AS.get(name, name)
    return name if name in _ENCODINGS else None
