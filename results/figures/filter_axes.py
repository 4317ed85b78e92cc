"""The ASR that data filters leave along what a sweep varies: attacks at once, the poisoned share,
the imbalance of classes.
"""

from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

import plotly.graph_objects as go

from results.comparison.filter_axes import IMBALANCE, Along
from results.figures._attacks import named_looks
from results.figures._style import _GREY, Look, asr_axis, escaped, layout
from results.selection.labels import percent

NOTHING = Look(_GREY, "x", "dash")


def drawn(found: Sequence[Along]) -> go.Figure:
    """A line a filter over the places of one axis, and one of the sets before any filter.

    Args:
        found: of one axis and line.
    """
    axis = found[0].axis
    shown: dict[str, object] = {"title": {"text": axis.said}, "tickvals": sorted(_places(found))}
    if axis.name == IMBALANCE:
        shown |= {"type": "log", "autorange": "reversed"}
    chart = go.Figure(
        layout=layout(xaxis=shown, yaxis=asr_axis("mean ASR of the attacks (%)"), height=420)
    )
    by_name: dict[str, list[Along]] = defaultdict(list)
    for one in found:
        by_name[one.called].append(one)
    chart.add_trace(_line("no filter", NOTHING, _before(found)))
    for name, look in named_looks(by_name).items():
        chart.add_trace(_line(name, look, {_x(o): o.left for o in by_name[name]}))
    return chart


def _before(found: Sequence[Along]) -> dict[float, float | None]:
    """The mean over all victims at a place, whichever filters saw them."""
    groups: dict[float, dict[str, float]] = defaultdict(dict)
    for one in found:
        known = ((s.victim.id, s.mean_before) for s in one.sets)
        groups[_x(one)] |= {victim: asr for victim, asr in known if asr is not None}
    return {x: fmean(victims.values()) for x, victims in groups.items() if victims}


def _places(found: Sequence[Along]) -> set[float]:
    return {_x(one) for one in found}


def _x(one: Along) -> float:
    """Where it is drawn: a number of attacks, or percent."""
    return one.at * one.axis.scale


def _line(name: str, look: Look, values: dict[float, float | None]) -> go.Scatter:
    known = sorted((x, y) for x, y in values.items() if y is not None)
    return go.Scatter(
        x=[x for x, _ in known],
        y=[100 * y for _, y in known],
        mode="lines+markers",
        name=escaped(name),
        line={"color": look.colour, "dash": look.dash, "width": 1.6},
        marker={"symbol": look.symbol, "size": 9},
        hovertext=[f"{escaped(name)}: {percent(y)} %" for _, y in known],
        hoverinfo="text",
    )
