"""What each recipe and filter leaves of attacks without a trigger, and what it costs: success x
CDA, with the front of each attack.

Source: Geiping et al. 2021, arXiv:2009.02276, the figure of defenses (success against clean
accuracy along the noise).
Deviation: settings are points with intervals at 95 % over keys, and the front is a stepped line.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import plotly.graph_objects as go

from results.comparison.targeted_success import TargetedSuccess, alike, targeted_success
from results.figures._attacks import named_looks
from results.figures._style import Look, cda_axis, escaped, layout
from results.selection.labels import attack, rejection, settings
from results.stats.pareto import front
from trials.spec import Record


def figure(records: Sequence[Record], /) -> go.Figure:
    """A mark a recipe or filter and attack, a stepped line an attack; without traces where no
    attack met two of them.
    """
    groups = [g for g in alike(targeted_success(records)) if len(g) > 1]
    if not groups:
        return go.Figure(layout=layout(height=120))
    chart = go.Figure(layout=layout(xaxis=_AXIS, yaxis=cda_axis(), height=420))
    looks = named_looks(map(_trained, chain.from_iterable(groups)))
    said = set[str]()
    for group in groups:
        chart.add_trace(edge([(t.rate("success"), t.rate("cda")) for t in group]))
        for t in group:
            name = _trained(t)
            chart.add_trace(_mark(t, looks[name], name, first=name not in said))
            said.add(name)
    return chart


# broad and pale, as a front's steps lie under the bars of its marks
_EDGE = {"shape": "hv", "width": 6, "color": "rgba(128,128,128,0.35)"}
_AXIS = {
    "title": {"text": "success: victims that give the class wanted (%)"},
    "range": [-3, 103],
    "dtick": 20,
}


def edge(rates: Sequence[tuple[float, float]]) -> go.Scatter:
    """The front of (success, CDA), fractions, as a broad pale line in percent."""
    points = 100 * front(np.array(rates))
    return go.Scatter(
        x=points[:, 0].tolist(),
        y=points[:, 1].tolist(),
        mode="lines",
        line=_EDGE,
        showlegend=False,
        hoverinfo="skip",
    )


def _mark(t: TargetedSuccess, look: Look, name: str, *, first: bool) -> go.Scatter:
    rate, band = 100 * t.rate("success"), t.interval("success")
    said = [f"<b>{escaped(name)}</b>", escaped(attack(t.victim))]
    said += [escaped(settings(t.victim.training))]
    kept = settings(t.filtering.method) if t.filtering else ""
    said += [escaped(kept)] if kept else []
    said += [f"success {rate:.1f} %, CDA {100 * t.rate('cda'):.1f} %"]
    return go.Scatter(
        x=[rate],
        y=[100 * t.rate("cda")],
        error_x={
            "type": "data",
            "symmetric": False,
            "array": [100 * band.high - rate],
            "arrayminus": [rate - 100 * band.low],
            "thickness": 1,
        },
        mode="markers",
        marker={"size": 10, "color": look.colour, "symbol": look.symbol},
        name=escaped(name),
        legendgroup=name,
        showlegend=first,
        hoverinfo="text",
        hovertext=["<br>".join(said)],
    )


def _trained(t: TargetedSuccess) -> str:
    """The recipe, and the filter if there is one."""
    told, filtering = t.victim.training.name, t.filtering
    return f"{told}, {filtering.method.name} {rejection(filtering)}" if filtering else told
