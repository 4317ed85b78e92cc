"""What each defense can reach: its configurations, its ASR x CDA front, the loss allowed, and the
winners.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
import plotly.graph_objects as go

from results.figures._style import Look, asr_axis, cda_axis, escaped, hover, layout, looks
from results.selection.configurations import Configuration, SelectionTask, configurations
from results.selection.rules import DEFAULT_RULE
from results.selection.task_names import task_names
from results.selection.winners import winners
from results.stats.pareto import front
from trials.curve import asrs_of, cdas_of
from trials.spec import Record

MOST = 400  # marks a defense: beyond that a chart is a blot, and slow; the best are kept


def figure(records: Sequence[Record], /, *, rule: str = DEFAULT_RULE) -> go.Figure:
    """A dot a configuration, a stepped line a defense over all points of its curves, a ring round
    each winner.

    Raises:
        SpecError: unknown rule.
        ValueError: a measurement is not finite.
    """
    chart = go.Figure(layout=layout(xaxis=asr_axis(), yaxis=cda_axis(), height=460))
    names, styles = task_names(records, "tuning"), looks(records)
    groups: dict[tuple[SelectionTask, str], list[Configuration]] = defaultdict(list)
    for c in configurations(records, rule):
        if c.point:
            groups[c.task, c.method.name].append(c)
    for w in winners(records, rule):  # best first, so the legend is a ranking
        group = groups[w.task, w.defense]
        label = escaped(", ".join(filter(None, [w.defense, names[w.task]])))
        chart.add_traces(_traces(group, styles[w.defense], label))
        chart.add_scatter(
            x=[100 * w.eta],
            y=[100 * w.cda],
            mode="markers",
            marker={
                "size": 17,
                "symbol": "circle-open",
                "color": styles[w.defense].colour,
                "line": {"width": 2.5},
            },
            showlegend=False,
            hoverinfo="skip",
            legendgroup=label,
        )
    _allowed(chart, chain.from_iterable(groups.values()))
    return chart


def _traces(group: list[Configuration], look: Look, label: str) -> list[go.Scatter]:
    kept = sorted(group, key=lambda c: c.rank)[:MOST]
    points = [c.point for c in kept if c.point]
    asrs = np.concatenate([asrs_of(c.curve) for c in group])
    cdas = np.concatenate([cdas_of(c.curve) for c in group])
    edge = 100 * front(np.column_stack([asrs, cdas]))
    line = go.Scatter(
        x=edge[:, 0].tolist(),
        y=edge[:, 1].tolist(),
        mode="lines",
        line={"shape": "hv", "width": 1.2, "color": look.colour, "dash": look.dash},
        opacity=0.6,
        name=label,
        legendgroup=label,
        showlegend=False,
        hoverinfo="skip",
    )
    thin = {
        "width": 1.5 if look.symbol in ("x-thin", "cross-thin", "asterisk") else 0,
        "color": look.colour,
    }
    dots = go.Scatter(
        x=[100 * p.asr for p in points],
        y=[100 * p.cda for p in points],
        mode="markers",
        marker={
            "size": 7,
            "opacity": 0.8,
            "color": look.colour,
            "symbol": look.symbol,
            "line": thin,
        },
        name=label,
        legendgroup=label,
        hoverinfo="text",
        hovertext=[hover(c.method, p) for c, p in zip(kept, points, strict=True)],
    )
    return [line, dots]


def _allowed(chart: go.Figure, found: Iterable[Configuration]) -> None:
    """The Δ line, where all configurations share one; several victims have several."""
    floors = {round(100 * (c.cda0 - c.delta), 2) for c in found}
    if floors and max(floors) - min(floors) < 0.5:
        note = {"text": "lowest CDA allowed (Δ)", "font": {"size": 11}}
        line = {"dash": "dot", "width": 1.5, "color": "rgba(128,128,128,0.9)"}
        chart.add_hline(
            y=max(floors), line=line, annotation=note, annotation_position="bottom right"
        )
