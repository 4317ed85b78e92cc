"""Data filters beside repairs: what each leaves of the attacks and of the clean accuracy, alone and
together.

Source: the axes are those of Lukas and Kerschbaum 2023, arXiv:2305.09671, figure 6.
Deviation: of several attacks the largest ASR counts. A colour is a filter and a mark a repair, so
that a pair shows both; the two fronts show what repairs add to filters.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import plotly.graph_objects as go

from results.comparison.filtered_sets import DELTA
from results.comparison.filters_and_repairs import Treatment, Treatments
from results.figures._attacks import named_looks
from results.figures._style import _GREY, _SYMBOLS, asr_axis, cda_axis, escaped, layout
from results.selection.labels import percent, settings
from results.stats import pareto
from results.tables._filters import called

_PLAIN, _UNTREATED = "circle", "x"


def drawn(found: Treatments) -> go.Figure:
    """A mark a treatment, and the fronts of filters alone and of all."""
    chart = go.Figure(
        layout=layout(
            xaxis=asr_axis("largest ASR of any attack that is left (%)"),
            yaxis=cda_axis(),
            height=520,
        )
    )
    every = found.of("nothing", "filter", "repair", "pair")
    symbols = _symbols(every)
    colours = {n: look.colour for n, look in named_looks(_names(every)).items()}
    chart.add_traces(_fronts(found))
    chart.add_traces(_legend(colours, symbols))
    for t in sorted(every, key=lambda t: t.defense is None):  # what has no repair lies on top
        chart.add_trace(_mark(t, colours.get(t.filter_name or "", _GREY), symbols))
    chart.add_traces(list(_rings(found)))
    (untreated,) = found.of("nothing")
    chart.add_hline(
        y=100 * (untreated.cda - DELTA),
        line={"dash": "dot", "width": 1, "color": _GREY},
        annotation={"text": f"{percent(DELTA, 0)} points lost", "font": {"size": 11}},
        annotation_position="bottom right",
    )
    return chart


def _names(every: Iterable[Treatment]) -> list[str]:
    return [t.filter_name for t in every if t.filter_name]


def _symbols(every: Iterable[Treatment]) -> dict[str, str]:
    """A mark a repair, other than the circle, which is none."""
    names = sorted({t.defense.name for t in every if t.defense})
    marks = [s for s in _SYMBOLS if s != _PLAIN]
    return {name: marks[i % len(marks)] for i, name in enumerate(names)}


def _fronts(found: Treatments) -> list[go.Scatter]:
    alone, every = found.of("nothing", "filter"), found.of("nothing", "filter", "repair", "pair")
    floor = min(t.cda for t in every)
    lines = [_front(alone, floor, "front of filters alone", "dash")]
    if len(every) > len(alone):
        lines.append(_front(every, floor, "front of all", "solid"))
    return lines


def _front(some: Sequence[Treatment], floor: float, name: str, dash: str) -> go.Scatter:
    """From below the first point to the right of the last, so that one point is seen too."""
    edge = 100 * pareto.front(np.array([(t.asr, t.cda) for t in some]))
    return go.Scatter(
        x=[edge[0, 0], *edge[:, 0].tolist(), 103.0],
        y=[100 * floor, *edge[:, 1].tolist(), edge[-1, 1]],
        mode="lines",
        line={"shape": "hv", "width": 1.3, "dash": dash, "color": "rgba(128,128,128,0.9)"},
        name=name,
        hoverinfo="skip",
    )


def _legend(colours: dict[str, str], symbols: dict[str, str]) -> list[go.Scatter]:
    """A line a colour and a line a mark, of no points."""
    said = [(name, colour, _PLAIN) for name, colour in colours.items()]
    said += [(f"then {name}", _GREY, symbol) for name, symbol in symbols.items()]
    said.append(("nothing", _GREY, _UNTREATED))
    return [
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            marker={"size": 10, "color": colour, "symbol": symbol},
            name=escaped(name),
        )
        for name, colour, symbol in said
    ]


def _mark(t: Treatment, colour: str, symbols: dict[str, str]) -> go.Scatter:
    symbol = symbols[t.defense.name] if t.defense else _PLAIN
    return go.Scatter(
        x=[100 * t.asr],
        y=[100 * t.cda],
        mode="markers",
        marker={
            "size": 11,
            "color": colour,
            "symbol": _UNTREATED if t.kind == "nothing" else symbol,
            "line": {"width": 1, "color": "white"},
        },
        showlegend=False,
        hoverinfo="text",
        hovertext=[_said(t)],
        name=escaped(called(t)),
    )


def _rings(found: Treatments) -> Iterator[go.Scatter]:
    """Around the best filter and the best pair, each with its name."""
    for t in (found.best("filter"), found.best("pair")):
        if t is not None:
            yield go.Scatter(
                x=[100 * t.asr],
                y=[100 * t.cda],
                mode="markers+text",
                marker={
                    "size": 17,
                    "symbol": "circle-open",
                    "color": _GREY,
                    "line": {"width": 1.5},
                },
                text=[f"best {t.kind}"],
                textposition="top right",
                textfont={"size": 11},
                showlegend=False,
                hoverinfo="skip",
                name=f"best {t.kind}",
            )


def _said(t: Treatment) -> str:
    lines = [f"<b>{escaped(called(t))}</b>"]
    lines += [escaped(settings(c)) for c in (t.filtering and t.filtering.method, t.defense) if c]
    lines += [
        f"max ASR {percent(t.asr)} %, CDA {percent(t.cda)} %",
        f"{percent(t.loss)} points lost, {percent(t.removed)} % of the rows removed",
    ]
    return "<br>".join(lines)
