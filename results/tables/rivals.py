"""Pairs of defense and detector by the room that they leave to attackers, least first.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-E. Deviation: see
``results.comparison.defense_ranking``.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from results.comparison.attack_front import front
from results.comparison.defense_ranking import rankings
from results.comparison.plane import Plane, planes
from results.selection.grouping import Channel
from results.tables._columns import frame, points
from results.tables._ranges import share, span
from trials.spec import Record

ASKED: tuple[tuple[str, Channel | None], ...] = (("all", None), ("data", "data"), ("code", "code"))
COLUMNS = (
    *(
        "dataset",
        "model",
        "r (%)",
        "attackers",
        "defense",
        "detector",
        "hypervolume",
        "95 % interval",
    ),
    *(
        "lowest in (% of resamples)",
        "CDA lost (pp)",
        "within Δ",
        "attacks",
        "on the front",
        "few models",
        "left out",
        "rule",
    ),
)


def table(records: Sequence[Record], /, *, rule: str | None = None) -> pd.DataFrame:
    """One row a pair, for all attackers together and for each kind apart.

    Raises:
        SpecError: unknown rule.
    """
    return of(planes(records, rule))


def of(made: Iterable[Plane]) -> pd.DataFrame:
    """The same, of planes that are there already."""
    made, rows = list(made), []
    for attackers, channel in ASKED:
        for ranked in rankings(made, channel):
            for d in ranked:
                marks = d.marks
                rows.append(
                    {
                        "dataset": d.plane.victim.dataset.name,
                        "model": d.plane.victim.model.name,
                        "r (%)": 100 * d.plane.trusted,
                        "attackers": attackers,
                        "defense": d.plane.defense,
                        "detector": d.plane.detector,
                        "hypervolume": share(d.volume.value),
                        "95 % interval": span(d.volume.interval, 3),
                        "lowest in (% of resamples)": points(d.lowest),
                        "CDA lost (pp)": points(d.cost),
                        "within Δ": d.affordable,
                        "attacks": d.attacks,
                        "on the front": ", ".join(m.name for m in front(marks)),
                        "few models": d.few,
                        "left out": "; ".join(d.left_out) or None,
                        "rule": d.plane.rule,
                    }
                )
    return frame(rows, COLUMNS)
