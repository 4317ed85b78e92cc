"""Parallel coordinates: every configuration of one defense as a line through its settings, coloured
by the ASR left.

Deviation: drawn with plain lines, not plotly's own parallel coordinates, which need WebGL, cannot
be printed, and do not name their ends on a narrow screen.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from results.figures._style import escaped, hover, layout
from results.selection.configurations import Configuration, configurations
from results.selection.importance import varied
from results.selection.labels import value
from results.selection.rules import DEFAULT_RULE
from trials.spec import Record, Scalar

MOST = 120  # lines: the best by the rule; more cannot be told apart
SHADES = 20  # steps of the colour; more cannot be told apart either
Row = dict[str, Any]
# seen alike by all, on light and on dark
_SCALE = [
    [0.0, "#1B83C6"],
    [0.5, "#9a9a9a"],
    [1.0, "#E69F00"],
]


def figure(records: Sequence[Record], /, *, defense: str, rule: str = DEFAULT_RULE) -> go.Figure:
    """One axis a setting that was varied, and the ASR left as the last; a figure without traces
    where none was.

    Raises:
        SpecError: unknown rule.
        ValueError: a measurement is not finite.
    """
    group = [c for c in configurations(records, rule) if c.method.name == defense and c.point]
    names = varied(group)
    if not names:
        return go.Figure(layout=_layout())
    columns = {}
    for name in names:
        columns[name] = [c.method.params[name] for c in group]
    places = {n: _places(column) for n, column in columns.items()}
    order = sorted(
        range(len(group)), key=lambda i: (group[i].failed + group[i].pruned > 0, group[i].rank)
    )[:MOST]
    left = [round(100 * c.point.asr, 1) for c in group if c.point]
    low, high = min(left), max(left)
    heights = {}
    for i in order:
        eta = (left[i] - low) / (high - low) if high > low else 0.5
        heights[i] = [*(places[n][i] for n in names), eta]
    shades: dict[float, list[int]] = defaultdict(list)
    for i in reversed(order[1:]):
        shades[round(SHADES * heights[i][-1]) / SHADES].append(i)
    drawn = [(shade, some, False) for shade, some in shades.items()]
    drawn.append((heights[order[0]][-1], order[:1], True))  # the best on top
    lines = []
    for shade, some, best in drawn:
        own = [(group[i], heights[i]) for i in some]
        lines.append(_lines(own, sample_colorscale(_SCALE, shade)[0], best))
    axes = [_axis(x, name, columns.get(name, left)) for x, name in enumerate([*names, "ASR (%)"])]
    chart = go.Figure(
        data=lines,
        layout=_layout(
            shapes=[shape for shape, _ in axes],
            annotations=list(chain.from_iterable(notes for _, notes in axes)),
        ),
    )
    chart.update_xaxes(visible=False, range=[-0.3, len(names) + 0.3])
    chart.update_yaxes(visible=False, range=[-0.12, 1.12])
    return chart


def _layout(**extra: Any) -> go.Layout:
    margin = {"l": 8, "r": 8, "t": 12, "b": 24}
    return layout(height=352, showlegend=False, margin=margin, **extra)


def _lines(own: Sequence[tuple[Configuration, list[float]]], colour: str, best: bool) -> Row:
    """Configurations of one colour as one trace, with gaps between them: a trace a line takes
    plotly, and a browser, ten times as long.
    """
    x: list[int | None] = []
    y: list[float | None] = []
    said: list[str] = []
    for c, heights in own:
        assert c.point is not None
        x += [*range(len(heights)), None]
        y += [*heights, None]
        said += [hover(c.method, c.point)] * (len(heights) + 1)
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "mode": "lines+markers",
        "line": {"width": 4 if best else 1.5, "color": colour},
        "marker": {"size": 8 if best else 4},
        "opacity": 1.0 if best else 0.7,
        "hoverinfo": "text",
        "hovertext": said,
    }


def _places(column: Sequence[Scalar]) -> list[float]:
    """Heights in [0, 1]: numbers by size (by order of magnitude where they span a decade), words in
    their order.
    """
    numbers = [float(v) for v in column if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(numbers) < len(column):
        words = sorted({str(v) for v in column})
        return [words.index(str(v)) / max(1, len(words) - 1) for v in column]
    if min(numbers) > 0 and max(numbers) >= 10 * min(numbers):
        numbers = [math.log(v) for v in numbers]
    low, high = min(numbers), max(numbers)
    return [(v - low) / (high - low) if high > low else 0.5 for v in numbers]


def _axis(x: int, name: str, column: Sequence[Scalar]) -> tuple[Row, list[Row]]:
    """The shape of an axis, and its notes."""
    ends = sorted(zip(_places(column), [value(v) for v in column], strict=True))
    grey = {"width": 1, "color": "rgba(128,128,128,0.6)"}
    shape = {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "line": grey}
    notes = [
        _note(x, y, escaped(_end(label)), side, 11)
        for y, label, side in ((0, ends[0][1], "top"), (1, ends[-1][1], "bottom"))
    ]
    return shape, [*notes, _note(x, -0.1, f"<b>{escaped(name)}</b>", "top", 12)]


def _note(x: int, y: float, text: str, anchor: str, size: int) -> Row:
    font = {"size": size}
    return {"x": x, "y": y, "text": text, "showarrow": False, "yanchor": anchor, "font": font}


def _end(label: str) -> str:
    try:
        return f"{float(label):.3g}"
    except ValueError:
        return label
