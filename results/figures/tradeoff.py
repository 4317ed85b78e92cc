"""The trade-off along each winner's run: every mark is a recorded step, from no defense to the last
step.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, figure 6, which shades one standard deviation.
Deviation: the deviation (over copies and seeds) is drawn as a bar at the recommended step only;
seven shaded bands over one another cannot be read.
"""

from collections.abc import Sequence

import plotly.graph_objects as go

from results.figures._style import asr_axis, cda_axis, escaped, hover, layout, looks
from results.selection.configurations import configurations
from results.selection.rules import DEFAULT_RULE
from results.selection.task_names import task_names
from results.selection.winners import Winner, winners
from trials.spec import Point, Record


def figure(records: Sequence[Record], /, *, rule: str = DEFAULT_RULE) -> go.Figure:
    """A line a winner, ASR across and CDA up; the large mark is the recommended step.

    Raises:
        SpecError: unknown rule.
        ValueError: a measurement is not finite.
    """
    chart = go.Figure(layout=layout(xaxis=asr_axis(), yaxis=cda_axis(), height=440))
    names, styles = task_names(records, "tuning"), looks(records)
    curves = {(c.task, c.method.id): c.curve for c in configurations(records, rule)}
    for w in winners(records, rule):
        curve, look = curves[w.task, w.method.id], styles[w.defense]
        label = escaped(", ".join(filter(None, [w.defense, names[w.task]])))
        chart.add_scatter(
            x=[100 * p.asr for p in curve],
            y=[100 * p.cda for p in curve],
            mode="lines+markers",
            line={"width": 1.5, "color": look.colour, "dash": look.dash},
            marker={"size": 4, "color": look.colour},
            name=label,
            legendgroup=label,
            hoverinfo="text",
            hovertext=[hover(w.method, p) for p in curve],
        )
        chart.add_trace(_chosen(w, look.colour, label))
    return chart


def _chosen(w: Winner, colour: str, label: str) -> go.Scatter:
    bar = {
        "type": "data",
        "array": [100 * (w.sd or 0.0)],
        "thickness": 1.5,
        "color": colour,
        "visible": w.sd is not None,
    }
    return go.Scatter(
        x=[100 * w.eta],
        y=[100 * w.cda],
        mode="markers",
        marker={"size": 12, "color": colour, "line": {"width": 1.5, "color": "white"}},
        error_x=bar,
        showlegend=False,
        legendgroup=label,
        hoverinfo="text",
        hovertext=[hover(w.method, Point(w.step, w.cda, w.eta), "the recommended step")],
    )
