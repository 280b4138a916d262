"""Draw results as an SVG that README can show, light or dark.

One panel per row, one bar per way, as long as the value compared with HAProxy in TCP
mode (the line at 1); the label is the absolute median. A pure function of results.
"""

from xml.sax.saxutils import escape

from tests.bench.results import Results
from tests.bench.rows import ROWS, Row
from tests.bench.ways import WayName

__all__ = ["draw"]

_PANELS = (
    "requests",
    "http2",
    "connections",
    "parallel",
    "download",
    "upload",
    "p50",
    "p99",
)
_BASE = WayName.HAPROXY_TCP
_LONGEST = 2.5  # times the base; a longer bar is cut and marked
_WIDTH, _MARGIN, _GAP = 880, 16, 32
_NAME, _LABEL = 132, 62  # room beside the bars: the way's name, the value
_BAR, _STEP, _TITLE = 13, 19, 30

_STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  fill: #57606a }
.title { font-size: 13px; font-weight: 600; fill: #1f2328 }
.unit { fill: #6e7781 }
.ours { font-weight: 600; fill: #1f2328 }
.bar { fill: #b4bcc6 } .bar.ours { fill: #009ac7 } .bar.direct { fill: #d5dae0 }
.one { stroke: #57606a; stroke-dasharray: 2 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #9198a1 } .title, .ours { fill: #f0f6fc } .unit { fill: #9198a1 }
  .bar { fill: #59636e } .bar.ours { fill: #18bcf2 } .bar.direct { fill: #3d444d }
  .one { stroke: #9198a1 }
}
"""


def draw(results: Results, ways: list[WayName], caption: str) -> str:
    """Return the whole SVG document."""
    shown = [row for name in _PANELS for row in ROWS if row.name == name]
    shown = [row for row in shown if results.spread(row.name, _BASE)]
    panel_width = (_WIDTH - 2 * _MARGIN - _GAP) / 2
    panel_height = _TITLE + len(ways) * _STEP + 14
    parts = []
    for place, row in enumerate(shown):
        x = _MARGIN + (place % 2) * (panel_width + _GAP)
        y = _MARGIN + (place // 2) * panel_height
        parts.append(f'<g transform="translate({x:.0f} {y:.0f})">')
        parts += _panel(results, ways, row, panel_width)
        parts.append("</g>")
    bottom = _MARGIN + (len(shown) + 1) // 2 * panel_height
    parts.append(_text(_MARGIN, bottom + 10, caption, "unit"))
    height = bottom + 22
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}"',
            f' width="{_WIDTH}" height="{height}" role="img">',
            f"<title>{escape(caption)}</title>",
            f"<style>{_STYLE}</style>",
            *parts,
            "</svg>\n",
        ]
    )


def _panel(results: Results, ways: list[WayName], row: Row, width: float) -> list[str]:
    base = results.spread(row.name, _BASE)
    if base is None:
        return []
    medians = {
        way: spread.median for way in ways if (spread := results.spread(row.name, way))
    }
    longest = max(1.0, *(value / base.median for value in medians.values()))
    scale = (width - _NAME - _LABEL) / min(_LONGEST, longest)
    one = _NAME + scale
    better = "less is better" if row.less_is_better else "more is better"
    unit = f'<tspan class="unit">{escape(row.unit)}, {better}</tspan>'
    title = f'<tspan class="title">{escape(row.title)}</tspan>'
    parts = [f'<text x="0" y="13">{title} {unit}</text>']
    for place, way in enumerate(ways):
        y = _TITLE + place * _STEP - 6
        kind = _kind(way)
        parts.append(_text(_NAME - 8, y + 11, way.label, kind, anchor="end"))
        if way not in medians:
            parts.append(_text(_NAME + 4, y + 11, "failed", kind))
            continue
        ratio = medians[way] / base.median
        length = max(1.0, min(ratio, _LONGEST) * scale)
        parts.append(
            f'<rect class="bar {kind}" x="{_NAME}" y="{y}" width="{length:.1f}" '
            f'height="{_BAR}" rx="2"/>'
        )
        more = "» " if ratio > _LONGEST else ""
        label = f"{more}{medians[way]:,.{row.digits}f}"
        start = _clear(_NAME + length + 5, one)
        parts.append(_text(start, y + 11, label, kind))
    end = _TITLE + len(ways) * _STEP - 8
    span = f'y1="{_TITLE - 9}" y2="{end}"'
    parts.append(f'<line class="one" x1="{one:.1f}" x2="{one:.1f}" {span}/>')
    return parts


def _clear(x: float, line: float) -> float:
    """Return where a label may start so that the line does not cross it."""
    return line + 5 if line - _LABEL < x < line + 5 else x


def _kind(way: WayName) -> str:
    return {WayName.HEARTHGATE: "ours", WayName.DIRECT: "direct"}.get(way, "peer")


def _text(x: float, y: float, words: str, kind: str, *, anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )
