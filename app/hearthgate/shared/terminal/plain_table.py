"""Print a table in a terminal whose cells are what they say, whatever stands in them.

    cells ──visible.py──▶ rich, without its markup ──▶ standard output

Apart from `terminal`, because rich is large and a running relay prints no table.
"""

from collections.abc import Container, Iterable

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from hearthgate.shared.terminal.visible import visible

Cell = str | Iterable[str]  # several: a line each


class PlainTable:
    """Rows of text. Without titles, rows of a name and a value.

    Nothing is cut off: what is too wide goes on in the next line. Columns in `whole`
    are narrowed last, because their cells are there to be copied.
    """

    def __init__(self, *titles: str, whole: Container[str] = ()) -> None:
        columns = [
            Column(title, overflow="fold", no_wrap=title in whole) for title in titles
        ]
        self._table = Table(*columns, show_header=bool(titles))

    def add_row(self, *cells: Cell) -> None:
        """Add a row."""
        if not self._table.columns:
            for _ in cells:
                self._table.add_column(overflow="fold")
        self._table.add_row(*map(_text, cells))

    def show(self) -> None:
        """Print what was added."""
        Console(markup=False, highlight=False, emoji=False).print(self._table)


def _text(cell: Cell) -> Text:
    lines = [cell] if isinstance(cell, str) else cell
    return Text("\n".join(map(visible, lines)))
