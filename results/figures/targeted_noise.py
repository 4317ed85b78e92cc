"""What noise in the training leaves of attacks without a trigger, and what it costs: success above,
CDA below.

Source: Geiping et al. 2021, arXiv:2009.02276, its figure of defenses (success and accuracy along
the noise).
Deviation: noise on a batch's gradient and differential privacy are columns of their own, as their
noise is not the same; the dotted line is the training without either.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from results.comparison.targeted_axes import NOISE, Compared, along
from results.comparison.targeted_success import targeted_success
from results.figures._attacks import named_looks
from results.figures._style import Look, escaped, layout
from results.figures.targeted_budget import bars
from trials.spec import Record


class _Column(NamedTuple):
    recipe: str
    setting: str
    title: str
    reversed: bool  # little of it is much noise


_COLUMNS = (
    _Column("gradient_shaping", "noise", "gradient_shaping: noise on a batch's gradient", False),
    _Column("dp_sgd", "privacy ε", "dp_sgd: ε of its differential privacy", True),
)


def figure(records: Sequence[Record], /) -> go.Figure:
    """A column a recipe, a line an attack with its other settings; without traces where neither
    recipe was swept.
    """
    rows = along(targeted_success(records), NOISE)
    columns = [c for c in _COLUMNS if _of(rows, c)]
    if not columns:
        return go.Figure(layout=layout(height=120))
    shape = {"rows": 2, "cols": len(columns), "shared_xaxes": True, "shared_yaxes": True}
    chart = make_subplots(**shape, vertical_spacing=0.06, horizontal_spacing=0.04)
    chart.update_layout(layout(height=560))
    chart.update_xaxes(layout().xaxis.to_plotly_json())
    chart.update_yaxes(layout().yaxis.to_plotly_json())
    chart.update_yaxes(title={"text": "success (%)"}, row=1, col=1)
    chart.update_yaxes(range=[-3, 103], dtick=20)
    chart.update_yaxes(title={"text": "CDA (%)"}, row=2, col=1)
    names = {r.line: r.held or r.found.victim.attacks[0].name for r in rows}
    looks = named_looks(names.values())
    said = set[str]()
    for number, column in enumerate(columns, 1):
        _axis(chart, column, rows, number)
        for line, name in names.items():
            own = [r for r in rows if r.line == line]
            _draw(chart, own, column, number, (looks[name], name, name not in said))
            said.add(name)
    return chart


def _axis(chart: go.Figure, column: _Column, rows: Sequence[Compared], number: int) -> None:
    values = sorted({float(r.at[column.setting]) for r in _of(rows, column)} - {0.0})
    ticks = {"tickvals": values, "ticktext": [f"{v:g}" for v in values]}
    way = {"autorange": "reversed"} if column.reversed else {}
    chart.update_xaxes(type="log", **ticks, **way, col=number)
    chart.update_xaxes(title={"text": column.title}, row=2, col=number)


def _of(rows: Sequence[Compared], column: _Column) -> list[Compared]:
    return [r for r in rows if _on(r, column)]


def _on(row: Compared, column: _Column) -> bool:
    return row.at["training"] == column.recipe and column.setting in row.at


def _draw(
    chart: go.Figure,
    own: Sequence[Compared],
    column: _Column,
    number: int,
    named: tuple[Look, str, bool],
) -> None:
    """One attack's lines in both panels of a column, one a clip, and its training without noise."""
    clips: dict[float, list[Compared]] = defaultdict(list)
    for r in own:
        if _on(r, column) and r.at[column.setting]:  # no place for 0 on a logarithmic axis
            clips[float(r.at["clip"])].append(r)
    for i, (clip, values) in enumerate(sorted(clips.items())):
        values.sort(key=lambda r: float(r.at[column.setting]))
        look, name, first = named
        told = f"{name}, clip {clip:g}" if len(clips) > 1 else name
        drawn = (look, told, first if len(clips) == 1 else number == 1, ("solid", "dash")[i % 2])
        for panel, metric in enumerate(("success", "cda"), 1):
            chart.add_trace(_line(values, column, metric, drawn), row=panel, col=number)
    noised = {c.recipe for c in _COLUMNS}
    plain = [r for r in own if r.at["training"] not in noised]
    for r in plain if clips else ():
        for panel, metric in enumerate(("success", "cda"), 1):
            line = {"dash": "dot", "width": 1.2, "color": named[0].colour}
            chart.add_hline(y=100 * r.found.rate(metric), line=line, row=panel, col=number)


def _line(
    values: Sequence[Compared],
    column: _Column,
    metric: str,
    drawn: tuple[Look, str, bool, str],
) -> go.Scatter:
    look, name, first, dash = drawn
    return go.Scatter(
        x=[float(r.at[column.setting]) for r in values],
        y=[100 * r.found.rate(metric) for r in values],
        error_y=bars(values) if metric == "success" else None,
        mode="lines+markers",
        line={"width": 1.6, "color": look.colour, "dash": dash},
        marker={"size": 9, "symbol": look.symbol, "color": look.colour},
        name=escaped(name),
        legendgroup=name,
        showlegend=first and metric == "success",
        hovertemplate="%{x:g}: %{y:.1f} %<extra>" + escaped(name) + "</extra>",
    )
