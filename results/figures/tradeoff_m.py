"""What a repair costs for attacks of different size: CDA against ASR along the runs, one line a
budget m.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, figure 6.
Deviation: the shade is one standard deviation of the ASR over victims at equal steps; the loss Δ
that is allowed has a line, and the paper's repair threshold of 5 % ASR another.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from results.figures._attacks import faded, ranked_looks
from results.figures._style import Look, asr_axis, cda_axis, escaped, layout
from results.selection.configurations import of_game, on_all_rows
from results.selection.grouping import attack_name, budget
from results.selection.mean_curves import mean_curve
from results.selection.rules import curve_of, delta_of
from results.selection.winners import REPAIRED
from trials.spec import Point, Record


def figure(records: Sequence[Record], /, *, attack: str, defense: str) -> go.Figure:
    """Whole runs, or where there are none those that end at the step which tuning chose; without
    traces for neither.

    Args:
        records: of one dataset, model and r, and of one set of settings of the defense.
        attack: by its name, as in 'badnets' or 'badnets + wanet'.
        defense: by its name.

    Raises:
        ValueError: a measurement is not finite.
    """
    chart = go.Figure(
        layout=layout(xaxis=asr_axis(f"ASR of {escaped(attack)} (%)"), yaxis=cda_axis(), height=440)
    )
    groups: dict[int, list[Sequence[Point]]] = defaultdict(list)
    floors = []
    for r in _of(records, attack, defense):
        curve = curve_of(r)
        groups[budget(r.trial.victim) or 0].append(curve)
        floors.append(100 * (curve[0].cda - delta_of(r)))
    looks = ranked_looks(list(groups))
    for m in sorted(groups):
        chart.add_traces(_traces(groups[m], f"m = {m:,}", looks[m]))
    if groups:
        line = {"dash": "dot", "width": 1.5, "color": "rgba(128,128,128,0.9)"}
        floor = {"text": "lowest CDA allowed (Δ)", "font": {"size": 11}}
        done = {"text": "repaired", "font": {"size": 11}, "textangle": -90}
        chart.add_hline(
            y=float(np.mean(floors)),
            line=line,
            annotation=floor,
            annotation_position="bottom right",
        )
        chart.add_vline(
            x=100 * REPAIRED, line=line, annotation=done, annotation_position="bottom right"
        )
    return chart


def drawable(records: Sequence[Record]) -> list[tuple[str, str]]:
    """(attack, defense) for which runs at more than one budget were recorded, by name."""
    seen: dict[tuple[str, str], set[int]] = defaultdict(set)
    for r in _runs(records):
        if r.trial.method and (m := budget(r.trial.victim)):
            seen[attack_name(r.trial.victim), r.trial.method.name].add(m)
    return sorted(pair for pair, ms in seen.items() if len(ms) > 1)


def _runs(records: Sequence[Record]) -> list[Record]:
    """Runs of more than their start, of attacked victims."""
    played = on_all_rows(of_game(records, "robustness"))
    return [
        r
        for r in played
        if r.status == "done" and len(r.curve) > 1 and r.trial.method and r.trial.victim.attacks
    ]


def _of(records: Sequence[Record], attack: str, defense: str) -> list[Record]:
    found = [
        r
        for r in _runs(records)
        if r.trial.method
        and (r.trial.method.name, attack_name(r.trial.victim)) == (defense, attack)
    ]
    return [r for r in found if not r.trial.game.params.get("stop_at")] or found


def _traces(curves: Sequence[Sequence[Point]], label: str, look: Look) -> list[go.Scatter]:
    """The mean over victims at the steps that all recorded, and a shade of one SD."""
    mean = mean_curve(curves)
    several = len(curves) > 1
    asrs = [_asr_by_step(c) for c in curves]
    sd = [_spread(asrs, p.step) if several else 0.0 for p in mean]
    low = [100 * max(0.0, p.asr - s) for p, s in zip(mean, sd, strict=True)]
    high = [100 * min(1.0, p.asr + s) for p, s in zip(mean, sd, strict=True)]
    cda = [100 * p.cda for p in mean]
    shade = go.Scatter(
        x=low + high[::-1],
        y=cda + cda[::-1],
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=faded(look.colour, 0.18),
        showlegend=False,
        legendgroup=label,
        hoverinfo="skip",
        name=label,
    )
    line = go.Scatter(
        x=[100 * p.asr for p in mean],
        y=cda,
        mode="lines+markers",
        line={"width": 1.8, "color": look.colour},
        marker={"size": 6, "symbol": look.symbol, "color": look.colour},
        name=f"{label} ({len(curves)} victim{'s' if several else ''})",
        legendgroup=label,
        hoverinfo="text",
        hovertext=[
            f"{label}<br>step {p.step}<br>ASR {100 * p.asr:.1f} %, CDA {100 * p.cda:.1f} %"
            for p in mean
        ],
    )
    return [shade, line] if several else [line]


def _asr_by_step(curve: Sequence[Point]) -> dict[int, float]:
    return {p.step: p.asr for p in curve}


def _spread(asrs: Sequence[Mapping[int, float]], step: int) -> float:
    """One SD over victims at a step."""
    return float(np.std([victim[step] for victim in asrs], ddof=1))
