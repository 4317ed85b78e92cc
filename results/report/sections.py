"""What a sweep of several attacks says: the plane with its recommendation, who finds what, budgets,
transfer.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from results.comparison.defense_ranking import pair, rankings, sentence
from results.comparison.filtered_sets import trained_on_all
from results.comparison.plane import Plane, planes
from results.figures import budget, histograms, plane, tradeoff_m
from results.figures._attacks import attack_looks
from results.report.evidence import Chart, chart
from results.report.html_table import ReportTable, report_table
from results.selection.configurations import Distinct, of_game
from results.tables import (
    detectability,
    detectors,
    matched,
    pipelines,
    rivals,
    table2,
    table3,
    transfer,
    trends,
    tuned_detectors,
)
from results.tables import plane as plane_table
from trials.spec import Record


def sections(records: Sequence[Record], rule: str) -> Mapping[str, Any] | None:
    """The page's part on several attacks; None where only one setting of one attack was made and
    nothing inspected.

    Raises:
        SpecError: unknown rule.
        ValueError: a measurement is not finite.
    """
    inspected = of_game(records, "detectability")
    attacked = {r.trial.victim.id for r in trained_on_all(records) if r.trial.victim.attacks}
    if not inspected and len(attacked) < 2:
        return None
    made = planes(records) if inspected else []
    ranked = rankings(made)
    advised = [r[0].plane for r in ranked]
    drawn = budget.figure(records)
    marks = list(chain.from_iterable(p.marks for p in made))
    few = any(m.found.few for m in marks)
    return {
        "sentences": [sentence(r) for r in ranked],
        "few": few,
        "plane": _chart(
            plane.drawn(ranked[0][0].plane, attack_looks(r.trial.victim for r in records))
            if ranked
            else None,
            "plane",
            _PLANE,
        ),
        "budget": _chart(
            drawn, "budget", _BUDGET if "yaxis2" in drawn.layout.to_plotly_json() else _ASR
        ),
        "histograms": _chart(
            histograms.figure(records) if inspected else None, "histograms", _HISTOGRAMS
        ),
        "tradeoffs": _tradeoffs(records),
        "tables": [s for s in _tables(records, rule, made, advised) if s],
    }


def _tables(
    records: Sequence[Record], rule: str, made: list[Plane], advised: list[Plane]
) -> list[ReportTable | None]:
    left = table3.table(records)
    tables = [
        report_table(
            table2.table(records), "Attacks before any defense, beside the paper's Table II"
        ),
        report_table(pipelines.table(records), "Does the attack work, or the pipeline?"),
        report_table(left, "What each defense leaves of each attack, beside the paper's Table III"),
    ]
    if left["r (%)"].nunique() > 1:
        tables.append(
            report_table(
                table3.wide(left),
                "The same laid out as the paper's Table III: η in percent (the paper's)",
            )
        )
    if made:
        refused = []
        for p in made:
            refused += [f"{pair(p)}: {said}." for said in p.refusals]
        notes = tuple(dict.fromkeys(refused))
        tables += [
            report_table(
                rivals.of(made),
                "Pairs of defense and detector, the one that leaves attackers least first",
                notes=notes,
            ),
            report_table(plane_table.of(made), "The plane in numbers", notes=notes),
            report_table(detectability.table(records), "Detectors on each attack"),
            report_table(
                detectors.table(records), "Detectors beside one another, on the same models"
            ),
            report_table(
                matched.of(advised),
                "Attacks at equal m and at equal ASR, under the recommended pair",
            ),
            report_table(
                tuned_detectors.table(records), "Settings of detectors on self-poisoned copies"
            ),
        ]
    return [
        *tables,
        report_table(
            trends.table(records),
            "Over- and under-poisoning: does more poison help or harm the attack?",
        ),
        report_table(
            transfer.table(records, rule=rule),
            "Does the order of settings on copies hold on real attacks?",
        ),
    ]


def _tradeoffs(records: Sequence[Record]) -> list[Chart]:
    """Figure 6 for each attack with several budgets, each defense and each r."""
    found: list[Chart | None] = []
    shares = sorted({r.trial.trusted for r in of_game(records, "robustness")})
    for r in shares:
        here = Distinct(x for x in records if x.trial.trusted == r)
        beside = f", r = {100 * r:g} %" if len(shares) > 1 else ""
        for attack, defense in tradeoff_m.drawable(here):
            drawn = tradeoff_m.figure(here, attack=attack, defense=defense)
            title = f"{defense} against {attack}{beside}"
            found.append(chart(drawn, f"several-tradeoff-{len(found)}", title, _TRADEOFF))
    return [c for c in found if c]


def _chart(figure: Any, name: str, note: str) -> Chart | None:
    return chart(figure, f"several-{name}", name, note) if figure is not None else None


_PLANE = (
    "Right: the attack survives repair. Up: it is found. Attackers want the lower right; the line "
    "is the front of what "
    "they reach, its band 95 % over resampled models. A detector that guesses has ρ = 0.5."
)
_BUDGET = (
    "What poisoning more buys: ASR before any defense, and how surely a detector finds it, "
    "against m."
)
_ASR = "What poisoning more buys: ASR before any defense, against m."
_TRADEOFF = (
    "Each line is the mean over victims of one budget m, from before the defense (right) on; the "
    "shade is one standard "
    "deviation of the ASR."
)
_HISTOGRAMS = "Scores of clean and of attacked models; what overlaps cannot be told apart."
