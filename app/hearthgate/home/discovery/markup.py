"""Find the tags of an HTML page, in time that grows with its length and no faster.

    text ──▶ Tag(name, attributes as written, what follows inside) for each start tag

Python's own html.parser looks at an unfinished tag again for each `<` in it (fixed in
3.13.6 and in security releases that many systems lack), so a quarter of a megabyte of
`<a<a<a…` costs it minutes. Here each expression is possessive, so that nothing is tried
twice, and what has no end ends the page, as the tokenizer of the HTML standard has it.
How many tags are looked at is bounded as well. Builds no tree. Pure.
"""

from collections.abc import Iterator
from dataclasses import dataclass
import html
import itertools
import re

__all__ = ["Tag", "start_tags"]

_ATTRIBUTES_MAX = 32  # of one tag; an icon's link has five
_ENTITY_CHARS_MAX = 2048  # longer values are data: URLs, which need no entities
_BLANK = r"[\t\n\f\r ]"
# The name may begin with anything, a quote and `=` included (HTML, 13.2.5.32 and .33).
_ATTRIBUTE = (
    rf"(?:{_BLANK}|/)*+"
    r"(?P<name>[^\t\n\f\r />][^\t\n\f\r />=]*+)"
    rf"(?:{_BLANK}*+={_BLANK}*+"
    r"(?P<value>\"[^\"]*+\"|'[^']*+'|[^\t\n\f\r >\"'][^\t\n\f\r >]*+|(?=>|\Z))"
    rf"|(?!{_BLANK}*+=))"
)
_ATTRIBUTES = re.compile(_ATTRIBUTE)
_NAMELESS = _ATTRIBUTE.replace("?P<name>", "?:").replace("?P<value>", "?:")
_TAG = re.compile(
    rf"<(?P<end>/?)(?P<tag>[A-Za-z][^\t\n\f\r />]*+)"
    rf"(?P<attributes>(?:{_NAMELESS})*+)(?:{_BLANK}|/)*+>"
)
_BEGINS_TAG = re.compile(r"</?[A-Za-z]")
# What is inside these is text, up to their end tag (HTML, 13.2.5.2 to .5).
_TEXT_ELEMENTS = {
    name: re.compile(rf"</{name}(?=[\t\n\f\r />])", re.IGNORECASE)
    for name in (
        *("title", "textarea", "script", "style"),
        *("xmp", "iframe", "noembed", "noframes"),
    )
}


@dataclass(frozen=True, slots=True)
class Tag:
    """A start tag."""

    name: str  # lower case
    inside: str  # the text of an element that only holds text, as written
    in_svg: bool  # whether it is inside a picture
    _attributes: str

    def attributes(self) -> dict[str, str]:
        """Return the attributes by lower-case name; the first of a name counts."""
        found: dict[str, str] = {}
        pieces = _ATTRIBUTES.finditer(self._attributes)
        for piece in itertools.islice(pieces, _ATTRIBUTES_MAX):
            value = piece["value"] or ""
            if value[:1] in {'"', "'"}:
                value = value[1:-1]
            found.setdefault(piece["name"].lower(), unescape(value))
        return found


def unescape(text: str) -> str:
    """Return text with its character references resolved, if it is not too long."""
    if len(text) > _ENTITY_CHARS_MAX:
        return text
    return html.unescape(text)


def start_tags(text: str, *, most: int) -> Iterator[Tag]:
    """Yield the start tags of a page, looking at no more than `most` pieces of it."""
    at = 0
    svg_depth = 0
    for _ in range(most):
        at = text.find("<", at)
        if at < 0:
            return
        match = _TAG.match(text, at)
        if match is None:
            after = _after_other(text, at)
            if after is None:
                return
            at = after
            continue
        at = match.end()
        name = match["tag"].lower()
        if match["end"]:
            svg_depth = max(0, svg_depth - (name == "svg"))
            continue
        inside = ""
        if name in _TEXT_ELEMENTS and not svg_depth:
            end = _TEXT_ELEMENTS[name].search(text, at)
            stop = end.start() if end else len(text)
            inside, at = text[at:stop], stop
        yield Tag(name, inside, svg_depth > 0, match["attributes"])
        svg_depth += name == "svg"
        if name == "plaintext":
            return


def _after_other(text: str, at: int) -> int | None:
    """Return where what is no tag ends: a comment, or a mere `<`. None: nowhere."""
    if text.startswith("<!--", at):
        end = text.find("-->", at + 2)  # `<!-->` is a whole comment
        return None if end < 0 else end + 3
    if text[at + 1 : at + 2] in {"!", "?", "/"} and not _BEGINS_TAG.match(text, at):
        end = text.find(">", at)
        return None if end < 0 else end + 1
    if _BEGINS_TAG.match(text, at):
        return None  # a tag without an end
    return at + 1
