r"""Make what others have written visible: it cannot act where it is shown.

    lamp, ESC, [2J, LF, 2026-11-28 12:00  ──▶  lamp\x1b[2J\n2026-11-28 12:00

A name from the network, an answer of a relay or a line of HAProxy may hold line breaks
(they forge a line of the log), escape sequences (a terminal obeys them) and characters
that turn the direction of writing (they show something else than what is there).
What counts is what Python calls printable: letters, marks, digits, signs and the plain
blank. Anything else is shown by its number, as Python writes it.
"""

import re
from typing import Final

_CUT: Final = "… ({} more characters)"
_INDENT: Final = "  | "


def visible(text: str) -> str:
    """Return the text as one line in which nothing is hidden."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else _number(one) for one in text)


def visible_lines(text: str) -> str:
    """Return several lines in which nothing but their ends is hidden.

    For text whose lines are ours; those of others go through `visible` first.
    """
    return "\n".join(map(visible, text.split("\n")))


def indented_lines(text: str) -> str:
    """Return several lines of which none can be taken for the start of a log line."""
    return "\n".join(_INDENT + visible(line) for line in text.split("\n"))


def shortened(text: str, most: int) -> str:
    """Return the text, cut with a remark if it is longer than that."""
    if len(text) <= most:
        return text
    return text[:most] + _CUT.format(len(text) - most)


def visible_json(dumped: str) -> str:
    """Return JSON that says the same and has nothing hidden in it.

    What is not printable can only stand within its strings.
    """
    return re.sub(r"[^\x20-\x7e]", _escape, dumped)


def _escape(found: re.Match[str]) -> str:
    one = found[0]
    if one.isprintable():
        return one
    units = one.encode("utf-16-be", "surrogatepass").hex()  # as JSON counts (RFC 8259)
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _number(one: str) -> str:
    return repr(one)[1:-1]
