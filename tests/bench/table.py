"""Show results on a terminal: values, ratios, memory, targets."""

from rich.console import Console
from rich.table import Table

from tests.bench.results import Results, Spread
from tests.bench.rows import ROWS, Row
from tests.bench.ways import WayName

__all__ = ["show"]

_MIB = 1024


def _value(spread: Spread | None, row: Row, errors: int) -> str:
    if spread is None:
        return "[red]failed[/]"
    text = f"[bold]{spread.median:,.{row.digits}f}[/]"
    if spread.low != spread.high:
        low, high = f"{spread.low:,.{row.digits}f}", f"{spread.high:,.{row.digits}f}"
        text += f"\n[dim]{low} to {high}[/]"
    return text + (f"\n[red]{errors:,} errors[/]" if errors else "")


def _values(results: Results, ways: list[WayName], title: str) -> Table:
    table = Table(title=title, show_lines=True)
    table.add_column("median, min to max")
    for way in ways:
        table.add_column(way.label, justify="right")
    for row in ROWS:
        if row.name in results.samples:
            cells = [
                _value(
                    results.spread(row.name, way), row, results.errors[row.load][way]
                )
                if way in results.samples[row.name]
                else "-"
                for way in ways
            ]
            table.add_row(f"{row.title}\n[dim]{row.unit}[/]", *cells)
    return table


def _ratios(results: Results, ways: list[WayName]) -> Table:
    peers = [way for way in ways if way is not WayName.HEARTHGATE]
    table = Table(title="Hearthgate by each peer (median of the rounds' ratios)")
    table.add_column("")
    for peer in peers:
        table.add_column(peer.label, justify="right")
    for row in ROWS:
        if row.name in results.samples:
            found = [results.ratio(row.name, peer) for peer in peers]
            cells = [f"{ratio.median:.2f}" if ratio else "-" for ratio in found]
            hint = " [dim](less is better)[/]" if row.less_is_better else ""
            table.add_row(row.title + hint, *cells)
    return table


def _memory(results: Results) -> Table:
    table = Table(title="Memory, RSS in MiB (PSS in brackets)")
    for column in ("way", "process"):
        table.add_column(column)
    for column in ("idle", "visitors open", "after", "KiB per visitor", "errors"):
        table.add_column(column, justify="right")
    for way, report in results.memory.items():
        name, errors = f"{way.label}, {report.opened:,} open", str(report.errors)
        for role in report.idle:
            weights = (report.idle[role], report.loaded[role], report.after[role])
            cells = [
                f"{weight.rss_kib / _MIB:.1f} ({weight.pss_kib / _MIB:.1f})"
                for weight in weights
            ]
            each = f"{report.per_connection_kib(role):.1f}"
            table.add_row(name, role, *cells, each, errors)
            name = errors = ""
        table.add_section()
    return table


def _targets(results: Results) -> Table:
    table = Table(title="Targets")
    for column in ("target", "wanted", "found", ""):
        table.add_column(column)
    for verdict in results.verdicts():
        mark = "[green]reached[/]" if verdict.reached else "[bold red]missed[/]"
        table.add_row(verdict.what, verdict.wanted, verdict.found, mark)
    return table


def show(results: Results, ways: list[WayName], console: Console, title: str) -> None:
    """Print all tables that have something to say."""
    if results.samples:
        console.print(_values(results, ways, title))
    if results.samples and WayName.HEARTHGATE in ways and len(ways) > 1:
        console.print(_ratios(results, ways))
    if results.memory:
        console.print(_memory(results))
    if results.verdicts():
        console.print(_targets(results))
    for failure in results.failures:
        console.print(f"failed: {failure}", style="red", markup=False, highlight=False)
