"""Write the list of packages and modules into docs/architecture.md.

    python -m tests.tools.modules

    first line of each docstring ──▶ a line each, between two marks of the document

The docstrings are the source, so no line of the list is written by hand. A test of
tests/unit/test_architecture.py fails until the list is as the code is.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
import textwrap

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "app" / "hearthgate"
DOCUMENT = ROOT / "docs" / "architecture.md"
BEGIN = "<!-- written by: python -m tests.tools.modules -->\n"
END = "<!-- until here -->\n"
_COLUMNS = 90


def listing() -> str:
    """Return the list as Markdown: every package, and below it its modules."""
    return "".join(_package(PACKAGE))


def _package(folder: Path) -> Iterator[str]:
    """List a package, its modules, then the packages in it."""
    name = folder.relative_to(PACKAGE.parent).as_posix()
    yield _line("- ", f"**`{name}/`** {_says(folder / '__init__.py')}")
    for module in sorted(folder.glob("*.py")):
        if module.stem != "__init__":
            yield _line("  - ", f"`{module.name}` {_says(module)}")
    for below in sorted(folder.iterdir()):
        if (below / "__init__.py").exists():
            yield from _package(below)


def _says(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text())) or ""
    return docstring.partition("\n")[0]


def _line(mark: str, text: str) -> str:
    return (
        textwrap.fill(
            text,
            _COLUMNS,
            initial_indent=mark,
            subsequent_indent=" " * len(mark),
            break_long_words=False,
            break_on_hyphens=False,
        )
        + "\n"
    )


def parts(document: str) -> tuple[str, str, str]:
    """Split the document: what is before the list, the list, what follows."""
    before, begin, rest = document.partition(BEGIN)
    found, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{DOCUMENT.name} has no place for the list")
    return before + begin, found, end + after


def main() -> None:
    """Write the list anew."""
    before, _, after = parts(DOCUMENT.read_text())
    DOCUMENT.write_text(before + listing() + after)


if __name__ == "__main__":
    main()
