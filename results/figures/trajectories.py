"""How fast each attack is learned: median losses over the epochs of a training that a data filter
tracked, beside the quartiles of clean rows.

Source: Alex, Siddiqui, Sanyal, Krueger 2024, arXiv:2408.13221, which draws the losses of single
examples.
Deviation: medians, which hundreds of rows do not hide, on logarithmic axes, as attacks and easy
clean images differ where losses are small.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import plotly.graph_objects as go

from results.figures._attacks import CLEAN, faded, named_looks
from results.figures._style import escaped, layout
from results.selection.configurations import of_game
from results.selection.grouping import AttackConfig, attack_config_of
from trials.spec import Record

LEAST = 1e-4  # losses below are drawn there


def tracked(records: Sequence[Record]) -> list[Record]:
    """Of each attack and each filter that tracks losses, a trial on the first victim."""
    found: dict[tuple[AttackConfig, str], Record] = {}
    some = (r for r in of_game(records, "filtering") if curves(r))
    for r in sorted(some, key=lambda r: (r.trial.victim.seed, r.trial.seed, r.trial.id)):
        if filtering := r.trial.victim.filter:
            plain = replace(r.trial.victim, filter=None)
            found.setdefault((attack_config_of(plain), filtering.method.name), r)
    return list(found.values())


def drawn(record: Record) -> go.Figure:
    """A line an attack, and the clean rows' median in the band of their quartiles."""
    found = curves(record)
    epochs = sorted(set(chain.from_iterable(found.values())))
    chart = go.Figure(
        layout=layout(
            xaxis={"title": {"text": "epoch"}, "type": "log", "tickvals": epochs},
            yaxis={"title": {"text": "median loss"}, "type": "log", "dtick": 1},
            height=400,
        )
    )
    low, high = found.pop("loss_25/clean", {}), found.pop("loss_75/clean", {})
    if low and high:
        chart.add_scatter(
            x=[*low, *reversed(high)],
            y=[*low.values(), *reversed(high.values())],
            mode="lines",
            line={"width": 0},
            fill="toself",
            fillcolor=faded(CLEAN.colour, 0.2),
            name="clean rows, quartiles",
            hoverinfo="skip",
        )
    names = {key: key.removeprefix("loss/") for key in found}
    looks = named_looks(n for n in names.values() if n != "clean") | {"clean": CLEAN}
    for key, curve in sorted(found.items()):
        name, look = names[key], looks[names[key]]
        chart.add_scatter(
            x=list(curve),
            y=list(curve.values()),
            mode="lines+markers",
            line={"width": 1.6, "color": look.colour},
            marker={"size": 7, "color": look.colour, "symbol": look.symbol},
            name="clean rows, median" if name == "clean" else escaped(name),
        )
    return chart


def curves(record: Record) -> dict[str, dict[int, float]]:
    """By ``loss/NAME``, the losses that the judge kept by epoch; none where nothing was tracked."""
    found: dict[str, dict[int, float]] = {}
    for key, value in record.metrics.items():
        curve, _, epoch = key.rpartition("/")
        if curve.startswith(("loss/", "loss_25/", "loss_75/")):
            found.setdefault(curve, {})[int(epoch)] = max(LEAST, value)
    return {name: dict(sorted(curve.items())) for name, curve in found.items()}
