"""The plane: what attacks keep after a defense against how well a detector finds them, and the
attackers' front.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, figure 7.
Deviation: marks have their 95 % interval over models, the front its band, and chance its line;
attacks that poison data and attacks that control the training have a front each.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from results.comparison.attack_front import band, front
from results.comparison.defense_ranking import rankings
from results.comparison.plane import Mark, Plane, planes
from results.figures._attacks import attack_looks, faded, staircase
from results.figures._style import Look, escaped, layout
from results.selection.grouping import Channel, attack_name
from results.selection.labels import percents
from trials.spec import Record

FRONTS: tuple[tuple[Channel, str, str, str], ...] = (  # in colours that no attack has
    ("data", "front of data poisoning", "#8a8a8a", "solid"),
    ("code", "front of code poisoning", "#8A6FC9", "dash"),
    ("unknown", "front of unknown attacks", "#a08060", "dot"),
)


def figure(
    records: Sequence[Record],
    /,
    *,
    rule: str | None = None,
    defense: str | None = None,
    detector: str | None = None,
) -> go.Figure:
    """One plane; without traces where there is none.

    Args:
        records: of one dataset, model and r; of several the first counts.
        rule: as for ``results.comparison.residual_asr``.
        defense, detector: by the names of the table ``plane``; None takes the pair that leaves
            attackers least room.

    Raises:
        SpecError: unknown rule.
    """
    made = [
        p
        for p in planes(records, rule)
        if defense in (None, p.defense) and detector in (None, p.detector)
    ]
    looks = attack_looks(r.trial.victim for r in records)
    return (
        drawn(rankings(made)[0][0].plane, looks) if made else go.Figure(layout=layout(height=460))
    )


def drawn(plane: Plane, looks: Mapping[str, Look]) -> go.Figure:
    """The same, of a plane that is there already, with the looks of all attacks of the page."""
    low = min(0.45, *(min((m.rho, *(m.rho_interval or ()))) for m in plane.marks))
    high = 100 * max(0.1, *(max((m.eta, *(m.eta_interval or ()))) for m in plane.marks))
    chart = go.Figure(
        layout=layout(
            xaxis={
                "title": {"text": f"η: ASR left by {escaped(plane.defense)} (%)"},
                "range": [-0.03 * high, min(103, 1.1 * high)],
            },
            yaxis={
                "title": {"text": f"ρ: AUC of {escaped(plane.detector)}"},
                "range": [low - 0.03, 1.03],
                "dtick": 0.1,
            },
            height=520,
        )
    )
    for kind, label, colour, dash in FRONTS:
        marks = plane.of(kind)
        if marks:
            chart.add_traces(_front(marks, label, colour, dash))
    for name, look in looks.items():
        group = [m for m in plane.marks if attack_name(m.victim) == name]
        if group:
            chart.add_trace(_attack(group, escaped(name), look))
    chart.add_hline(
        y=0.5,
        line={"dash": "dot", "width": 1.2, "color": "rgba(128,128,128,0.9)"},
        annotation={"text": "chance", "font": {"size": 11}},
        annotation_position="top right",
    )
    chart.add_annotation(
        text="attackers aim here ↘",
        x=1,
        y=0.01,
        xref="paper",
        yref="paper",
        xanchor="right",
        yanchor="bottom",
        showarrow=False,
        font={"size": 11},
    )
    return chart


def _front(marks: Sequence[Mark], label: str, colour: str, dash: str) -> list[go.Scatter]:
    """The band between what 97.5 % and what 2.5 % of the resamples reach, and the front itself.

    Where an attack has a single victim or model there is no band.
    """
    edge = staircase(np.array([(m.rho, m.eta) for m in front(marks)])) * [100.0, 1.0]
    line = go.Scatter(
        x=edge[:, 0].tolist(),
        y=edge[:, 1].tolist(),
        mode="lines",
        name=label,
        legendgroup=label,
        hoverinfo="skip",
        line={"width": 1.8, "color": colour, "dash": dash},
    )
    if any(m.alone for m in marks):
        return [line]
    surfaces = band(marks)
    wide, narrow = (staircase(surfaces[s]) for s in (0.025, 0.975))
    around = 100 * np.vstack([wide, narrow[::-1]]) * [1.0, 0.01]
    between = go.Scatter(
        x=around[:, 0].tolist(),
        y=around[:, 1].tolist(),
        mode="lines",
        line={"width": 0},
        fill="toself",
        fillcolor=faded(colour, 0.14),
        showlegend=False,
        legendgroup=label,
        hoverinfo="skip",
        name=label,
    )
    return [between, line]


def _attack(group: Sequence[Mark], label: str, look: Look) -> go.Scatter:
    """Budgets of one attack, joined; the more images it poisons, the larger the mark."""
    group = sorted(group, key=lambda m: m.m or 0)
    sizes = np.linspace(7, 13, len(group)) if len(group) > 1 else np.array([10.0])
    thin = {"thickness": 1, "width": 0, "color": faded(look.colour, 0.5)}
    etas, rhos = [], []
    for m in group:
        ends = m.eta_interval or (m.eta, m.eta)
        etas.append((100 * m.eta, [100 * v for v in ends]))
        rhos.append((m.rho, list(m.rho_interval or (m.rho, m.rho))))
    return go.Scatter(
        x=[v for v, _ in etas],
        y=[v for v, _ in rhos],
        mode="lines+markers",
        line={"width": 1, "color": faded(look.colour, 0.6), "dash": "dot"},
        marker={"size": sizes.tolist(), "symbol": look.symbol, "color": look.colour, "opacity": 1},
        error_x={
            "type": "data",
            "array": [i[1] - v for v, i in etas],
            "arrayminus": [v - i[0] for v, i in etas],
            **thin,
        },
        error_y={
            "type": "data",
            "array": [i[1] - v for v, i in rhos],
            "arrayminus": [v - i[0] for v, i in rhos],
            **thin,
        },
        name=label,
        hoverinfo="text",
        hovertext=[_said(m) for m in group],
    )


def _said(m: Mark) -> str:
    eta = f"η {100 * m.eta:.1f} %" + (f" ({percents(m.eta_interval)})" if m.eta_interval else "")
    interval = m.rho_interval
    rho = f"ρ {m.rho:.2f}" + (f" ({interval.low:.2f} – {interval.high:.2f})" if interval else "")
    models = f"{len(m.found.poisoned)} poisoned, {len(m.found.clean)} clean models"
    before = f"ASR before {100 * m.asr0:.1f} %"
    return "<br>".join(
        [f"<b>{escaped(m.name)}</b>", before, eta, rho, models + (" (few)" if m.found.few else "")]
    )
