"""Read what a page says about itself in its head: a title and icons.

    body, Content-Type ──decode──▶ html.parser ──▶ Page(title, icons best first)

Whatever the bytes are, the answer is a Page, maybe an empty one. Pure: fetches nothing,
runs no script, and does not judge where an icon points; fetch.py does.
"""

import codecs
from dataclasses import dataclass
from html.parser import HTMLParser
import re
from urllib.parse import urljoin

from hearthgate.home.discovery.text import clean_text

__all__ = ["Page", "read_page"]

_META_BYTES = 1024  # HTML, "prescan a byte stream": where a charset may be declared
_META = re.compile(
    rb"""<meta[^>]{1,200}?charset\s*=\s*["']?\s*([\w.:-]{2,40})""", re.IGNORECASE
)
_HEADER = re.compile(r"""charset\s*=\s*["']?\s*([\w.:-]{2,40})""", re.IGNORECASE)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"))
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.IGNORECASE)
_ICONS = 16  # links looked at; real pages have five
_TITLE_RAW_CHARS = 2000
_URL_CHARS = 192 * 1024  # a data: URL of the largest icon
_BEST_SIDE = 192  # pixels: twice what the page shows, for sharp displays


@dataclass(frozen=True, slots=True)
class Page:
    """What a page says about itself."""

    title: str = ""
    icons: tuple[str, ...] = ()  # absolute URLs, or data: URLs; best first


class _Head(HTMLParser):
    """Collects the first title, the base and icon links. Ignores SVG's titles."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self.base = ""
        self.icons: list[tuple[float, str]] = []  # badness, href
        self._in_title = False
        self._titled = False
        self._svg_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        if tag == "svg":
            self._svg_depth += 1
        elif tag == "title" and not self._titled and not self._svg_depth:
            self._in_title = True
        elif tag == "base" and not self.base:
            self.base = values.get("href", "")
        elif tag == "link" and len(self.icons) < _ICONS:
            self._link(values)

    def handle_endtag(self, tag: str) -> None:
        if tag == "svg":
            self._svg_depth = max(0, self._svg_depth - 1)
        elif tag == "title" and self._in_title:
            self._in_title, self._titled = False, True

    def handle_data(self, data: str) -> None:
        if self._in_title and sum(map(len, self.title)) < _TITLE_RAW_CHARS:
            self.title.append(data[:_TITLE_RAW_CHARS])

    def _link(self, values: dict[str, str]) -> None:
        rels = set(values.get("rel", "").lower().split())
        href = values.get("href", "").strip()
        touch = bool(rels & {"apple-touch-icon", "apple-touch-icon-precomposed"})
        if not href or len(href) > _URL_CHARS or not (touch or "icon" in rels):
            return
        self.icons.append((_badness(values, touch=touch), href))


def _badness(values: dict[str, str], *, touch: bool) -> float:
    """Return how far an icon is from the size we want; too small is worse."""
    sizes = values.get("sizes", "").lower()
    kind = values.get("type", "").lower()
    if "any" in sizes.split() or "svg" in kind or ".svg" in values["href"].lower():
        return 0.0
    sides = [int(width) for width, _ in _SIZE.findall(sizes)]
    side = max(sides, default=180 if touch else 24)
    if side <= 0:
        return float(_BEST_SIDE)
    return _BEST_SIDE / side if side < _BEST_SIDE else side / _BEST_SIDE / 4


def read_page(body: bytes, content_type: str, url: str, *, max_chars: int) -> Page:
    """Return title and icons of a page at this URL. Never raises."""
    head = _Head()
    try:
        head.feed(_decode(body, content_type))
        head.close()
    except (AssertionError, ValueError, RecursionError):
        pass  # html.parser gives up on some broken markup: keep what came before
    title = clean_text("".join(head.title), max_chars)
    icons: list[str] = []
    for _, href in sorted(head.icons, key=lambda icon: icon[0]):
        absolute = _absolute(url, head.base, href)
        if absolute and absolute not in icons:
            icons.append(absolute)
    return Page(title, tuple(icons))


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
    meta = _META.search(body[:_META_BYTES])
    for name in (
        header.group(1) if header else "",
        meta.group(1).decode("ascii", "replace") if meta else "",
    ):
        text = _decode_as(body, name)
        if text is not None:
            return text
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as err:
        cut_short = err.start >= len(body) - 3  # the cap fell into a character
        return body.decode("utf-8" if cut_short else "windows-1252", "replace")


def _decode_as(body: bytes, name: str) -> str | None:
    """Return text by a declared encoding; None if there is no such text encoding."""
    name = {"iso-8859-1": "windows-1252", "latin1": "windows-1252"}.get(
        name.lower(), name
    )
    if not name:
        return None
    try:
        return body.decode(name, "replace")
    except (LookupError, ValueError, UnicodeError):  # "hex" and friends are no text
        return None
