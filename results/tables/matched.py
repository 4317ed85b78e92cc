"""Attacks beside one another at equal m, and at equal ASR before the defense.

Source: see ``results.comparison.matched_attacks``. Of a hundred comparisons of equals, about five
have a p below 0.05.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from results.comparison.matched_attacks import TOLERANCE, at_equal_asr, at_equal_m
from results.comparison.plane import Plane, planes
from results.tables._columns import frame, points
from results.tables._ranges import share, signed, span
from trials.spec import Record

COLUMNS = (
    *(
        "dataset",
        "model",
        "r (%)",
        "defense",
        "detector",
        "equal",
        "first",
        "second",
        "ASR apart (pp)",
    ),
    *("η difference (pp)", "η difference 95 % interval (pp)", "η p"),
    *("ρ difference", "ρ difference 95 % interval", "ρ p", "few models", "rule"),
)


def table(
    records: Sequence[Record], /, *, rule: str | None = None, tolerance: float = TOLERANCE
) -> pd.DataFrame:
    """One row two attacks; differences are first minus second.

    Raises:
        SpecError: unknown rule.
    """
    return of(planes(records, rule), tolerance)


def of(made: Iterable[Plane], tolerance: float = TOLERANCE) -> pd.DataFrame:
    """The same, of planes that are there already."""
    rows = []
    for p in made:
        for match in [*at_equal_m(p), *at_equal_asr(p, tolerance)]:
            eta, rho, sure = match.eta, match.rho, not match.alone
            rows.append(
                {
                    "dataset": p.victim.dataset.name,
                    "model": p.victim.model.name,
                    "r (%)": 100 * p.trusted,
                    "defense": p.defense,
                    "detector": p.detector,
                    "equal": "m" if match.basis == "m" else "ASR before",
                    "first": match.first.name,
                    "second": match.second.name,
                    "ASR apart (pp)": points(match.gap),
                    "η difference (pp)": points(eta.value),
                    "η difference 95 % interval (pp)": signed(eta.interval) if sure else None,
                    "η p": share(eta.p) if sure else None,
                    "ρ difference": share(rho.value),
                    "ρ difference 95 % interval": span(rho.interval) if sure else None,
                    "ρ p": share(rho.p) if sure else None,
                    "few models": match.first.found.few or match.second.found.few,
                    "rule": p.rule,
                }
            )
    return frame(rows, COLUMNS)
