"""Success of attacks without a trigger against the share of the training set that is poisoned, a
line an epsilon.

Source: Geiping et al. 2021, arXiv:2009.02276, its figure of budgets.
Deviation: intervals at 95 % over keys; published numbers of the same case are open diamonds.
"""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain

import plotly.graph_objects as go

from results.comparison.targeted_axes import BUDGET, Compared, along
from results.comparison.targeted_success import targeted_success
from results.figures._attacks import ranked_looks
from results.figures._style import Look, escaped, layout
from results.reference.gradient_matching import published
from trials.spec import Record


def figure(records: Sequence[Record], /) -> go.Figure:
    """A line an epsilon and other settings; without traces where no two budgets were measured."""
    rows = along(targeted_success(records), BUDGET)
    lines = _lines(rows)
    if not any(len(line) > 1 for line in lines.values()):
        return go.Figure(layout=layout(height=120))
    ticks = sorted({100 * float(c.at["budget"]) for c in chain.from_iterable(lines.values())})
    chart = go.Figure(layout=layout(yaxis=SUCCESS, height=380))
    title = {"text": "budget: images poisoned, of the training set (%)"}
    shown = [f"{tick:g}" for tick in ticks]
    chart.update_xaxes(title=title, type="log", tickvals=ticks, ticktext=shown)
    looks = ranked_looks([int(epsilon) for epsilon, _, _ in lines])
    dashes = _dashes([held for _, held, _ in lines])
    for (epsilon, held, _), line in lines.items():
        name = f"ε = {epsilon:g}" + (f", {held}" if held else "")
        chart.add_trace(_line(line, looks[int(epsilon)], name, dashes[held]))
    if known := _published(rows):
        chart.add_trace(known)
    return chart


SUCCESS = {
    "title": {"text": "success: victims that give the class wanted (%)"},
    "range": [-3, 103],
    "dtick": 20,
}
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def bars(values: Sequence[Compared]) -> dict[str, object]:
    """Error bars of success, at 95 % over keys."""
    bands = [(c.found.interval("success"), c.found.rate("success")) for c in values]
    return {
        "type": "data",
        "symmetric": False,
        "array": [100 * (band.high - rate) for band, rate in bands],
        "arrayminus": [100 * (rate - band.low) for band, rate in bands],
        "thickness": 1,
    }


def _lines(rows: Sequence[Compared]) -> dict[tuple[float, str, str], list[Compared]]:
    lines: dict[tuple[float, str, str], list[Compared]] = defaultdict(list)
    for c in rows:
        lines[float(c.at["epsilon"]), c.held, c.line].append(c)
    return {k: sorted(v, key=lambda c: float(c.at["budget"])) for k, v in lines.items()}


def _dashes(held: Sequence[str]) -> dict[str, str]:
    return {name: _DASHES[i % len(_DASHES)] for i, name in enumerate(dict.fromkeys(held))}


def _line(line: Sequence[Compared], look: Look, name: str, dash: str) -> go.Scatter:
    return go.Scatter(
        x=[100 * float(c.at["budget"]) for c in line],
        y=[100 * c.found.rate("success") for c in line],
        error_y=bars(line),
        mode="lines+markers",
        line={"width": 1.6, "color": look.colour, "dash": dash},
        marker={"size": 9, "symbol": look.symbol, "color": look.colour},
        name=escaped(name),
        hovertemplate="%{x:g} % poisoned: %{y:.1f} %<extra>" + escaped(name) + "</extra>",
    )


def _published(rows: Sequence[Compared]) -> go.Scatter | None:
    """What was published of these cases; None where nothing was."""
    known = [(c.at["budget"], found) for c in rows if (found := published(c.found.victim))]
    if not known:
        return None
    return go.Scatter(
        x=[100 * float(budget) for budget, _ in known],
        y=[100 * found.success for _, found in known],
        mode="markers",
        marker={"size": 11, "symbol": "diamond-open", "color": "#8a8a8a", "line": {"width": 2}},
        name="published",
        hoverinfo="text",
        hovertext=[escaped(found.published_in) for _, found in known],
    )
