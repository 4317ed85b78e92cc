"""ASR before any defense and detectability ρ against the number of poisoned images m.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, figure 5, which has both on one axis and an
attack a panel.
Deviation: a panel for each of the two, so that attacks can be compared; bars are 95 % intervals
over models; the few values that the paper's text gives are open diamonds.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from results.comparison.detectability import detections
from results.comparison.filtered_sets import trained_on_all
from results.figures._attacks import CLEAN, attack_looks, faded, named_looks
from results.figures._style import Look, escaped, layout
from results.reference import paper
from results.selection.disambiguation import labels
from results.selection.grouping import attack_name, budget, families, family_of
from results.stats.intervals import Interval, bootstrap
from trials.spec import Record, Victim

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
APART = 1.03  # factor on m between attacks, so that their bars do not hide one another


class Value(NamedTuple):
    m: int
    mean: float
    interval: Interval


def figure(records: Sequence[Record], /, *, detector: str | None = None) -> go.Figure:
    """A line an attack in each panel; without traces where no victim was trained or scored.

    An attack with several settings besides m has a line each. The panel of ρ is left out where no
    detector looked.

    Args:
        records: of one dataset, model and r; several would lie over one another.
        detector: by the names of the table ``detectability``; None takes the first.
    """
    named = families(r.trial.victim for r in records)

    def name_of(victim: Victim) -> str:
        return named[family_of(victim)]

    rates, victims = _rates(records, name_of)
    name, areas, scored = _areas(records, detector, name_of)
    victims |= scored
    if not victims:
        return go.Figure(layout=layout(height=120))
    rows = 2 if areas else 1
    theirs = {name: paper.along_budget(v) for name, v in victims.items()}
    ms = _budgets([*rates.values(), *areas.values()], theirs.values())
    chart = _panels(rows, ms, f"ρ: AUC of {escaped(name)}")
    said: set[str] = set()
    looks = _looks(victims, attack_looks(r.trial.victim for r in records))
    for i, (attack, (look, dash)) in enumerate(looks.items()):
        beside = APART ** (i - (len(looks) - 1) / 2)
        for row, values in ((1, rates.get(attack)), (2, areas.get(attack))):
            if values:
                first = row == 1 or attack not in rates
                scale = 100 if row == 1 else 1
                line = _line(values, escaped(attack), look, dash, scale, beside)
                chart.add_trace(line.update(showlegend=first), row=row, col=1)
        plain = attack_name(victims[attack])
        if plain not in said:  # of which family the paper's are it does not say
            alone = sum(attack_name(v) == plain for v in victims.values()) == 1
            _paper(chart, theirs[attack], escaped(plain), look if alone else CLEAN, rows)
        said.add(plain)
    if areas:
        _chance(chart)
    return chart


def _chance(chart: go.Figure) -> None:
    """The line at chance, which Plotly adds to a panel only once that has a trace."""
    line = {"dash": "dot", "width": 1.2, "color": "rgba(128,128,128,0.9)"}
    note = {"text": "chance", "font": {"size": 11}}
    chart.add_hline(y=0.5, line=line, annotation=note, row=2, col=1)


def _budgets(
    lines: Iterable[Sequence[Value]], theirs: Iterable[Sequence[paper.Attacked]]
) -> list[int]:
    """Every m for which there is a value, ours or the paper's, in order."""
    ms: set[int] = set()
    for line in lines:
        ms |= {value.m for value in line}
    for several in theirs:
        ms |= {known.m for known in several}
    return sorted(ms)


def _panels(rows: int, ms: Sequence[int], rho: str) -> go.Figure:
    """The empty panels: ASR against m and, with two rows, the detector's AUC below it."""
    chart = make_subplots(rows=rows, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    base = layout(height=560 if rows > 1 else 340)
    chart.update_layout(base)
    axis = base.xaxis.to_plotly_json()
    ticks = {"tickvals": ms, "ticktext": [f"{m:,}" for m in ms]}
    chart.update_xaxes({**axis, "type": "log", **ticks})
    chart.update_yaxes(axis)
    chart.update_xaxes(
        title={"text": "m: poisoned images", "standoff": 10, "font": {"size": 13}}, row=rows
    )
    chart.update_yaxes(
        title={"text": "ASR before any defense (%)"}, range=[-3, 103], dtick=20, row=1
    )
    if rows > 1:
        chart.update_yaxes(title={"text": rho}, row=2)
    return chart


def _looks(victims: Mapping[str, Victim], looks: Mapping[str, Look]) -> dict[str, tuple[Look, str]]:
    """Look and dash of each line: an attack's own look, its other families dashed; of the only
    attack a look each.
    """
    if len(looks.keys() - {"clean"}) == 1:
        return {name: (look, DASHES[0]) for name, look in named_looks(victims).items()}
    seen: dict[str, int] = defaultdict(int)
    found = {}
    for name in sorted(victims):
        plain = attack_name(victims[name])
        found[name] = looks[plain], DASHES[seen[plain] % len(DASHES)]
        seen[plain] += 1
    return found


def _rates(
    records: Sequence[Record], name_of: Callable[[Victim], str]
) -> tuple[dict[str, list[Value]], dict[str, Victim]]:
    seen: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    victims: dict[str, Victim] = {}
    for r in trained_on_all(records):
        v = r.trial.victim
        m = budget(v)
        if r.status == "done" and m and "asr" in r.metrics:
            seen[name_of(v)][m].append(r.metrics["asr"])
            victims[name_of(v)] = v
    lines = {}
    for name, by_m in seen.items():
        lines[name] = [_value(m, some) for m, some in sorted(by_m.items())]
    return lines, victims


def _value(m: int, some: Sequence[float]) -> Value:
    mean = sum(some) / len(some)
    return Value(m, mean, bootstrap(some) if len(some) > 1 else Interval(mean, mean))


def _areas(
    records: Sequence[Record], detector: str | None, name_of: Callable[[Victim], str]
) -> tuple[str, Mapping[str, list[Value]], Mapping[str, Victim]]:
    found = [d for d in detections(records) if d.rho is not None and d.m]
    panels = labels(found, lambda d: (d.detector, d.method))
    name = detector if detector is not None else next(iter(panels), "")
    lines: dict[str, list[Value]] = defaultdict(list)
    for d in sorted(panels.get(name, []), key=lambda d: d.m or 0):
        rho = d.rho or 0.0
        lines[name_of(d.victim)].append(
            Value(d.m or 0, rho, d.rho_interval() or Interval(rho, rho))
        )
    return name, lines, {name_of(d.victim): d.victim for d in panels.get(name, [])}


def _line(
    values: Sequence[Value],
    label: str,
    look: Look,
    dash: str,
    scale: int,
    beside: float,
) -> go.Scatter:
    return go.Scatter(
        x=[v.m * beside for v in values],
        customdata=[v.m for v in values],
        y=[scale * v.mean for v in values],
        error_y={
            "type": "data",
            "array": [scale * (v.interval.high - v.mean) for v in values],
            "arrayminus": [scale * (v.mean - v.interval.low) for v in values],
            "thickness": 1.2,
            "width": 3,
            "color": faded(look.colour, 0.6),
        },
        mode="lines+markers",
        line={"width": 1.6, "color": look.colour, "dash": dash},
        marker={"size": 8, "symbol": look.symbol, "color": look.colour},
        name=label,
        legendgroup=label,
        hovertemplate="m = %{customdata}: %{y:.3g}<extra>" + label + "</extra>",
    )


def _paper(
    chart: go.Figure, known: Sequence[paper.Attacked], label: str, look: Look, rows: int
) -> None:
    """What the paper's text says of this attack."""
    rates = [(k.m, 100 * k.asr) for k in known if k.asr is not None]
    areas = [(k.m, k.rho) for k in known if k.rho is not None]
    outline = {"width": 2}
    marker = {"size": 11, "symbol": "diamond-open", "color": look.colour, "line": outline}
    for row, values in ((1, rates), (2, areas)):
        if values and row <= rows:
            chart.add_scatter(
                x=[m for m, _ in values],
                y=[v for _, v in values],
                mode="markers",
                showlegend=row == 1,
                name=f"{label}, the paper",
                row=row,
                col=1,
                marker=marker,
            )
