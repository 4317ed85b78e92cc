"""Scores of clean and of poisoned models, one panel an attack: what an AUC is made of.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, figure 9.
Deviation: shares of models, so that unequal numbers compare, and a tick for each model below the
bars: with twenty models the bars' shape is mostly chance.
"""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from results.comparison.detectability import detections
from results.comparison.detector_scores import Detection
from results.figures._attacks import CLEAN, faded
from results.figures._style import Look, escaped, layout
from results.selection.disambiguation import labels
from results.selection.grouping import attack_name, names
from trials.spec import Record

COLUMNS = 2  # so that a panel's name fits on a phone
BINS = 14
POISONED = Look("#D55E00", "circle")  # in every panel, whatever the attack's own look is elsewhere
_PANEL = 170  # pixels


def figure(
    records: Sequence[Record], /, *, detector: str | None = None, m: int | None = None
) -> go.Figure:
    """A figure without traces where nothing was scored on both sides.

    Args:
        records: of one dataset, model and r; of several the first counts.
        detector: by the names of the table ``detectability``; None takes the first.
        m: budget; None takes each attack's largest.
    """
    found = [d for d in detections(records) if d.rho is not None]
    found = [
        d
        for d in found
        if (d.attack_config.benchmark, d.trusted)
        == (found[0].attack_config.benchmark, found[0].trusted)
    ]
    panels = labels(found, lambda d: (d.detector, d.method))
    name = detector if detector is not None else next(iter(panels), "")
    chosen = _one_each(panels.get(name, []), m)
    if not chosen:
        return go.Figure(layout=layout(height=120))
    return _drawn(chosen, name)


def _one_each(found: Sequence[Detection], m: int | None) -> list[Detection]:
    """Of each attack the asked or the largest budget."""
    kept: dict[str, Detection] = {}
    for d in sorted(found, key=lambda d: d.m or 0):
        if m in (None, d.m):
            kept[attack_name(d.victim)] = d
    return [kept[k] for k in sorted(kept)]


def _drawn(chosen: Sequence[Detection], detector: str) -> go.Figure:
    called = names(d.victim for d in chosen)
    columns = min(COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    height = 90 + (_PANEL + 60) * rows
    chart = make_subplots(
        rows=rows, cols=columns, shared_xaxes="all", shared_yaxes="all", horizontal_spacing=0.04,
        vertical_spacing=60 / height,
        subplot_titles=[f"{escaped(called[d.attack_config])}<br>ρ = {d.rho:.2f}" for d in chosen],
    )  # fmt: skip
    base = layout(
        height=height,
        barmode="overlay",
        bargap=0.04,
        margin={"l": 56, "r": 16, "t": 84, "b": 48},
        legend={"y": 1 + 46 / (height - 132)},
    )
    chart.update_layout(base)
    for axis, update in ((base.xaxis, chart.update_xaxes), (base.yaxis, chart.update_yaxes)):
        update({**axis.to_plotly_json(), "title": {"text": ""}})
    sides = list(chain.from_iterable(d.sides for d in chosen))
    edges = np.histogram_bin_edges(np.concatenate(sides), BINS)
    for i, d in enumerate(chosen):
        place = {"row": i // columns + 1, "col": i % columns + 1}
        for scores, look, side in zip(
            d.sides, (POISONED, CLEAN), ("poisoned", "clean"), strict=True
        ):
            chart.add_trace(_bars(scores, edges, look, side, first=not i), **place)
            chart.add_trace(_ticks(scores, look, -0.03 if side == "poisoned" else -0.065), **place)
    chart.update_annotations(font={"size": 12})
    top = 100 * max(_shares(side, edges).max() for side in sides)
    chart.update_yaxes(range=[-9, top + 4], tickvals=list(range(0, 101, 20 if top > 45 else 10)))
    chart.update_xaxes(
        title={"text": f"score of {escaped(detector)}", "standoff": 8, "font": {"size": 13}},
        row=rows,
        col=1,
    )
    chart.update_yaxes(title={"text": "models (%)", "font": {"size": 13}}, col=1)
    if len(chosen) < rows * columns:
        chart.update_xaxes(showticklabels=True, row=rows - 1, col=columns)
        for update in (chart.update_xaxes, chart.update_yaxes):
            update(visible=False, row=rows, col=columns)
    return chart


def _bars(scores: np.ndarray, edges: np.ndarray, look: Look, side: str, first: bool) -> go.Bar:
    return go.Bar(
        x=((edges[1:] + edges[:-1]) / 2).tolist(),
        y=(100 * _shares(scores, edges)).tolist(),
        width=np.diff(edges).tolist(),
        name=side,
        legendgroup=side,
        showlegend=first,
        marker={"color": faded(look.colour, 0.55), "line": {"width": 1, "color": look.colour}},
        hoverinfo="skip",
    )


def _shares(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Of the models that lie in each bin."""
    return np.asarray(np.histogram(scores, edges)[0] / len(scores))


def _ticks(scores: np.ndarray, look: Look, height: float) -> go.Scatter:
    return go.Scatter(
        x=scores.tolist(),
        y=[100 * height] * len(scores),
        mode="markers",
        showlegend=False,
        hoverinfo="x",
        marker={"symbol": "line-ns", "size": 7, "line": {"width": 1.2, "color": look.colour}},
    )
