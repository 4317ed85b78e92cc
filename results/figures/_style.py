"""One look for all figures: a colour-blind-safe palette, a mark a defense, escaped names,
transparent ground.

Source: Okabe and Ito 2008, Color Universal Design.
Deviation: without its yellow and black, which vanish on white or dark paper, and with a lighter
blue.
"""

import html
from collections.abc import Iterable
from typing import Any, NamedTuple

import plotly.graph_objects as go

from results.selection.configurations import of_game
from results.selection.winners import CONTROLS
from trials.spec import MethodConfig, Point, Record

_COLOURS = ("#1B83C6", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_SYMBOLS = (
    "circle",
    "diamond",
    "square",
    "triangle-up",
    "pentagon",
    "hexagon",
    "cross",
    "star-triangle-down",
)
_GREY = "#8a8a8a"
_CONTROL_LOOKS = dict(
    zip(CONTROLS, (("x-thin", "dot"), ("cross-thin", "dash"), ("asterisk", "solid")), strict=True)
)


class Look(NamedTuple):
    """A defense's colour and mark, the same in every figure of the same records."""

    colour: str
    symbol: str
    dash: str = "solid"


def looks(records: Iterable[Record]) -> dict[str, Look]:
    """By defense; controls are grey."""
    names = sorted(
        {r.trial.method.name for r in of_game(records, "tuning", "robustness") if r.trial.method}
    )
    real = [n for n in names if n not in CONTROLS]
    found = {
        n: Look(_COLOURS[i % len(_COLOURS)], _SYMBOLS[i % len(_SYMBOLS)])
        for i, n in enumerate(real)
    }
    return found | {n: Look(_GREY, *_CONTROL_LOOKS[n]) for n in names if n in CONTROLS}


def escaped(given: object) -> str:
    """A name as plotly shall show it: plotly reads <b>, <a href> and the like in labels, so they
    are escaped.
    """
    return html.escape(str(given), quote=False)


def hover(config: MethodConfig, point: Point, *extra: str) -> str:
    """What a mark says when pointed at; already escaped. At step 0 no setting had been used."""
    used = config.params if point.step else {}
    lines = [
        f"<b>{escaped(config.name)}</b>",
        *(f"{escaped(k)} = {escaped(_short(v))}" for k, v in used.items()),
    ]
    lines += [
        f"step {point.step}",
        f"ASR {100 * point.asr:.1f} %, CDA {100 * point.cda:.1f} %",
        *map(escaped, extra),
    ]
    return "<br>".join(lines)


def layout(**extra: Any) -> go.Layout:
    """The layout that all figures start from; the page sets ink and grid colours for light and
    dark.
    """
    axis = {
        "zeroline": False,
        "automargin": True,
        "ticks": "outside",
        "ticklen": 4,
        "showline": True,
        "gridcolor": "rgba(128,128,128,0.2)",
        "linecolor": "rgba(128,128,128,0.6)",
        "title": {"standoff": 10, "font": {"size": 13}},
    }
    base: dict[str, Any] = {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#333333"},
        "margin": {"l": 56, "r": 16, "t": 24, "b": 48},
        "hovermode": "closest",
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "yanchor": "bottom",
            "itemsizing": "constant",
        },
        "xaxis": axis,
        "yaxis": axis,
    }
    merged = go.Layout(base)
    merged.update(extra)
    return merged


def asr_axis(
    title: str = "ASR: triggered images that reach the attacker's class (%)",
) -> dict[str, Any]:
    return {"title": {"text": title}, "range": [-3, 103], "dtick": 20}


def cda_axis(title: str = "CDA: clean accuracy (%)") -> dict[str, Any]:
    return {"title": {"text": title}}


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
