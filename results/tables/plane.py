"""Every attack's place in the plane: η after a defense, ρ under a detector, and whether it is on
the attackers' front.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, figure 7. Deviation: the numbers behind it,
with intervals over models; data poisoning and code poisoning have fronts of their own. ρ below 0.5
is left as it is.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from results.comparison.attack_front import front
from results.comparison.plane import Plane, planes
from results.selection.grouping import Channel
from results.selection.labels import percents
from results.tables._columns import frame, points
from results.tables._ranges import ATTACK_COLUMNS, of_attack, share, span
from trials.spec import Record

CHANNELS: tuple[Channel, ...] = ("data", "code", "unknown")
COLUMNS = (
    *(*ATTACK_COLUMNS, "kind", "r (%)", "defense", "detector", "ASR before (%)"),
    *(
        "η: ASR left (%)",
        "η 95 % interval (%)",
        "CDA lost (pp)",
        "ρ (AUC)",
        "ρ 95 % interval",
        "on the front",
    ),
    *("victims", "poisoned models", "clean models", "few models", "rule"),
)


def table(records: Sequence[Record], /, *, rule: str | None = None) -> pd.DataFrame:
    """One row an attack, defense and detector.

    Args:
        records: of the robustness and detectability games; others are passed over.
        rule: how η is chosen; None for the settings frozen by tuning where there are any, else
            ``last_before_delta``.

    Raises:
        SpecError: unknown rule.
    """
    return of(planes(records, rule))


def of(made: Iterable[Plane]) -> pd.DataFrame:
    """The same, of planes that are there already."""
    rows = []
    for p in made:
        best: set[int] = set()
        for channel in CHANNELS:
            marks = p.of(channel)
            best |= set(map(id, front(marks))) if marks else set()
        for m in p.marks:
            rows.append(
                {
                    **of_attack(m.victim, m.name),
                    "kind": m.channel,
                    "r (%)": 100 * p.trusted,
                    "defense": p.defense,
                    "detector": p.detector,
                    "ASR before (%)": points(m.asr0),
                    "η: ASR left (%)": points(m.eta),
                    "η 95 % interval (%)": percents(m.eta_interval),
                    "CDA lost (pp)": points(m.left.cost),
                    "ρ (AUC)": share(m.rho),
                    "ρ 95 % interval": span(m.rho_interval),
                    "on the front": id(m) in best,
                    "victims": len(m.left.eta),
                    "poisoned models": len(m.found.poisoned),
                    "clean models": len(m.found.clean),
                    "few models": m.found.few,
                    "rule": p.rule,
                }
            )
    return frame(rows, COLUMNS)
