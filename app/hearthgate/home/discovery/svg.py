"""Tell whether bytes are an SVG that only draws.

    bytes ──▶ UTF-8 ──▶ tokens of a small part of XML ──▶ only what is on a list?

An SVG can carry script, ask for pages, and draw itself a billion times. Allowed is what
icons are made of; whatever is not known here is refused, and nothing is mended, because
sanitisers get bypassed. Read is a part of XML in which no two readers differ: quotes
around each value, no document type of its own, no entities but the five of XML. Each
token is looked at once, so the work grows with the size and no faster. Pure; draws
nothing.
"""

from collections.abc import Iterator
import re

__all__ = ["is_plain_svg"]

_TOKENS_MAX = 8000  # elements, texts and comments; a detailed logo has 2,000
_DEPTH_MAX = 64
# `use` draws again what may hold `use` itself: eight of them draw at most 18 times.
_USES_MAX = 8
# Each draws a mask or pattern as a whole, which may be most of the file.
_REFERENCES_MAX = 200
_SVG = "http://www.w3.org/2000/svg"
# Only single characters repeat possessively: a group that does so is matched wrongly by
# Python before 3.11.5 (its issue 106052). What follows a group cannot begin like it, so
# that what is given up on the way back is looked at once.
_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*+(?::[A-Za-z_][A-Za-z0-9_.-]*+)?"
_BLANK = r"[\t\n\r ]"
_ENTITY = r"&(?:amp|lt|gt|quot|apos);"
_VALUE = rf"(?:\"[^\"<&]*+(?:{_ENTITY}[^\"<&]*+)*\"|'[^'<&]*+(?:{_ENTITY}[^'<&]*+)*')"
_PROLOG = re.compile(
    rf"(?:<\?xml{_BLANK}++version{_BLANK}*+={_BLANK}*+[\"']1\.0[\"']"
    rf"(?:{_BLANK}++encoding{_BLANK}*+={_BLANK}*+[\"'](?:utf-8|us-ascii)[\"'])?"
    rf"(?:{_BLANK}++standalone{_BLANK}*+={_BLANK}*+{_VALUE})?{_BLANK}*+\?>)?",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    rf"(?P<text>(?:[^<&]|{_ENTITY})[^<&]*+(?:{_ENTITY}[^<&]*+)*)"
    r"|<!--(?P<comment>[^-]*+(?:-[^-]++)*)-->"
    r"|<!\[CDATA\[(?P<data>[^\]]*+(?:\](?!\]>)[^\]]*+)*)\]\]>"
    rf"|<!DOCTYPE{_BLANK}++(?P<doctype>svg(?:{_BLANK}++(?:PUBLIC{_BLANK}++{_VALUE}|SYSTEM)"
    rf"{_BLANK}++{_VALUE})?){_BLANK}*+>"
    rf"|</(?P<end>{_NAME}){_BLANK}*+>"
    rf"|<(?P<start>{_NAME})"
    rf"(?P<attributes>(?:{_BLANK}++{_NAME}{_BLANK}*+={_BLANK}*+{_VALUE})*)"
    rf"{_BLANK}*+(?P<empty>/?)>"
)
_ATTRIBUTE = re.compile(rf"({_NAME}){_BLANK}*+={_BLANK}*+({_VALUE})")
_DRAWN = frozenset(
    {"svg", "g", "defs", "title", "desc", "metadata", "style", "path", "rect", "use"}
    | {"circle", "ellipse", "line", "polyline", "polygon", "text", "tspan", "stop"}
    | {"linearGradient", "radialGradient"}
)
# Drawn by those who refer to them. They may not refer further, or three lines of ten
# references each would draw a thousand times.
_REFERRED = frozenset({"clipPath", "mask", "pattern", "symbol", "filter"})
_EFFECTS = frozenset(
    {"feBlend", "feColorMatrix", "feComposite", "feFlood", "feGaussianBlur"}
    | {"feMerge", "feMergeNode", "feOffset"}
)
_ELEMENTS = _DRAWN | _REFERRED | _EFFECTS
# Elements of these are notes of drawing programs, which no browser acts on.
_NOTES = {
    "cc": {"http://creativecommons.org/ns#", "http://web.resource.org/cc/"},
    "dc": {"http://purl.org/dc/elements/1.1/"},
    "inkscape": {"http://www.inkscape.org/namespaces/inkscape"},
    "rdf": {"http://www.w3.org/1999/02/22-rdf-syntax-ns#"},
    "serif": {"http://www.serif.com/"},
    "sketch": {"http://www.bohemiancoding.com/sketch/ns"},
    "sodipodi": {"http://sodipodi.sourceforge.net/DTD/sodipodi-0.dtd"},
}
_NAMESPACES = {
    **_NOTES,
    "svg": {_SVG},
    "xlink": {"http://www.w3.org/1999/xlink"},
}
_PREFIXES = {"xml", *_NAMESPACES}
_REACHES_OUT = re.compile(
    r"\\|javascript:|expression\(|image\(|image-set\(|cross-fade\(|src\("
    rf"|url\((?!{_BLANK}*+[\"']?+#)",
    re.IGNORECASE,
)
_AT_RULE = re.compile(r"@(?!media[\t\n\r (])", re.IGNORECASE)  # but dark and light
_REFERS = re.compile(r"url\(", re.IGNORECASE)


def is_plain_svg(data: bytes) -> bool:
    """Tell whether this is an SVG that shows without script, network or tricks."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return False
    try:
        return _Reader().fits(text)
    except _RefusedError:
        return False


class _RefusedError(Exception):
    """Raise if something is not on our list, or no XML of ours."""


class _Reader:
    """Walk through the tokens of one document."""

    def __init__(self) -> None:
        self._open: list[str] = []
        self._began = False
        self._uses = self._references = 0
        self._referred = self._inside_referred = 0
        self._style: list[str] = []  # texts of the style that is open
        self._style_refers = False

    def fits(self, text: str) -> bool:
        """Return True, or raise _RefusedError."""
        for token in _tokens(text):
            kind = token.lastgroup
            if token["start"]:
                self._start(token["start"], token["attributes"])
                if token["empty"]:
                    self._end(token["start"])
            elif kind == "end":
                self._end(token["end"])
            elif kind == "doctype":
                _need(not self._began)
            elif kind in {"text", "data"}:
                self._text(token[kind])
        # A style may refer for any number of elements, so only to colours.
        _need(not (self._style_refers and self._referred))
        return self._began and not self._open

    def _start(self, name: str, attributes: str) -> None:
        _need(bool(self._open) or not self._began)
        _need(not self._in_style())
        prefix, _, local = name.rpartition(":")
        self._uses += local == "use"
        if prefix not in _NOTES:
            _need(prefix in {"", "svg"} and local in _ELEMENTS)
            _need(local != "use" or not self._inside_referred)
        self._referred += local in _REFERRED
        self._inside_referred += local in _REFERRED
        references = _check_attributes(attributes)
        self._references += references
        _need(not (references and self._inside_referred))
        if not self._began:
            _need(local == "svg" and _declares(name, attributes))
        self._began = True
        self._open.append(name)
        _need(len(self._open) <= _DEPTH_MAX and self._uses <= _USES_MAX)
        _need(self._references <= _REFERENCES_MAX)

    def _end(self, name: str) -> None:
        if self._in_style():
            # Joined, as a browser does, whatever stands between the pieces.
            style, self._style = "".join(self._style), []
            _need(not _AT_RULE.search(style) and not _REACHES_OUT.search(style))
            self._style_refers |= _REFERS.search(style) is not None
        _need(bool(self._open) and self._open.pop() == name)
        self._inside_referred -= name.rpartition(":")[2] in _REFERRED

    def _text(self, text: str) -> None:
        if not self._open:
            _need(not text.strip("\t\n\r "))
        elif self._in_style():
            self._style.append(text)

    def _in_style(self) -> bool:
        return bool(self._open) and self._open[-1].rpartition(":")[2] == "style"


def _tokens(text: str) -> Iterator[re.Match[str]]:
    """Yield the tokens of a document. Raises _RefusedError for what is none of ours."""
    prolog = _PROLOG.match(text)
    at = prolog.end() if prolog else 0
    for _ in range(_TOKENS_MAX):
        if at == len(text):
            return
        token = _TOKEN.match(text, at)
        if token is None:
            raise _RefusedError
        yield token
        at = token.end()
    raise _RefusedError


def _check_attributes(attributes: str) -> int:
    """Return how many of them refer to another element of the picture by url()."""
    references = 0
    seen: set[str] = set()
    for name, quoted in _ATTRIBUTE.findall(attributes):
        value = quoted[1:-1].strip()
        prefix, _, local = name.rpartition(":")
        _need(name not in seen)
        seen.add(name)
        if name == "xmlns":
            _need(value == _SVG)
        elif prefix == "xmlns":
            _need(value in _NAMESPACES.get(local, ()))
        else:
            _need(not prefix or prefix in _PREFIXES)
            _need(not local.lower().startswith("on") and name != "xml:base")
            if prefix not in _NOTES:
                _need(not _REACHES_OUT.search(value))
            if local.lower() in {"href", "src"}:
                _need(value.startswith("#"))
            references += len(_REFERS.findall(value))
    return references


def _declares(name: str, attributes: str) -> bool:
    """Return whether the root says that it is SVG; else browsers show nothing."""
    wanted = "xmlns:svg" if name.startswith("svg:") else "xmlns"
    return any(name == wanted for name, _ in _ATTRIBUTE.findall(attributes))


def _need(condition: bool) -> None:  # noqa: FBT001 - reads like assert, which -O drops
    if not condition:
        raise _RefusedError
