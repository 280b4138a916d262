"""Print a table in a terminal whose cells are what they say, whatever stands in them.

    cells ──visible.py──▶ rich, without its markup ──▶ standard output

Apart from `terminal`, because rich is large and a running relay prints no table.
"""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hearthgate.shared.terminal.visible import visible

Cell = str | Iterable[str]  # several: a line each


class PlainTable:
    """Rows of text. Without titles, rows of a name and a value."""

    def __init__(self, *titles: str) -> None:
        self._table = Table(*titles, show_header=bool(titles))

    def add_row(self, *cells: Cell) -> None:
        """Add a row."""
        self._table.add_row(*map(_text, cells))

    def show(self) -> None:
        """Print what was added."""
        Console(markup=False, highlight=False, emoji=False).print(self._table)


def _text(cell: Cell) -> Text:
    lines = [cell] if isinstance(cell, str) else cell
    return Text("\n".join(map(visible, lines)))
