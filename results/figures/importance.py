"""Which settings decided the ASR left: one block of bars a defense.

Source: PED-ANOVA, see ``results.selection.importance``.
"""

from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from results.figures._style import escaped, layout, looks
from results.selection.importance import Importance, importance
from results.selection.rules import DEFAULT_RULE
from trials.spec import Record


def figure(records: Sequence[Record], /, *, rule: str = DEFAULT_RULE) -> go.Figure:
    """Bars in percent that sum to 100 within a defense; a figure without traces where nothing can
    be said.

    Raises:
        SpecError: unknown rule.
        ValueError: a measurement is not finite.
    """
    known = [i for i in importance(records, rule).values() if i.shares]
    if not known:
        return go.Figure(layout=layout(height=120))
    counts = [len(i.shares or {}) for i in known]
    gap = 40 / _height(counts)
    chart = make_subplots(
        rows=len(known),
        cols=1,
        shared_xaxes=True,
        row_heights=counts,
        vertical_spacing=gap,
        subplot_titles=[f"{escaped(i.defense)}  ({i.n} configurations)" for i in known],
    )
    base = layout(height=_height(counts), showlegend=False)
    axis = base.xaxis.to_plotly_json()
    chart.update_layout(base)
    chart.update_xaxes({**axis, "range": [0, 100], "title": {"text": ""}})
    chart.update_yaxes({**axis, "autorange": "reversed", "ticks": "", "showgrid": False})
    styles = looks(records)
    for row, item in enumerate(known, 1):
        chart.add_trace(_bars(item, styles[item.defense].colour), row=row, col=1)
    chart.update_xaxes(
        title={"text": "share of the importance for η (%)", "standoff": 10, "font": {"size": 13}},
        row=len(known),
    )
    chart.update_annotations(font={"size": 13}, x=0, xanchor="left")
    return chart


def _height(counts: Sequence[int]) -> int:
    return 90 + 26 * sum(counts) + 44 * len(counts)


def _bars(item: Importance, colour: str) -> go.Bar:
    shares = item.shares or {}
    return go.Bar(
        x=[100 * v for v in shares.values()],
        y=[escaped(k) for k in shares],
        orientation="h",
        marker={"color": colour},
        text=[f"{100 * v:.0f}" for v in shares.values()],
        textposition="auto",
        cliponaxis=False,
        hoverinfo="skip",
    )
