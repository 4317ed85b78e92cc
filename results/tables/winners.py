"""The winner of each defense, on the select images of the self-poisoned copies.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-C; its own settings (Table V) stand
in ``settings``.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from results.reference import paper
from results.selection.labels import percents, settings
from results.selection.rules import DEFAULT_RULE
from results.selection.winners import CONTROLS, Winner, winners
from results.tables._columns import frame, of_victim, points
from trials.spec import Record

COLUMNS = (
    *("dataset", "model", "attack", "victim seed", "r (%)", "defense", "control"),
    *(
        "η: ASR left (%)",
        "95 % interval (%)",
        "sd (pp)",
        "triggered images",
        "CDA (%)",
        "CDA lost (pp)",
        "step",
    ),
    *(
        "ASR before (%)",
        "within Δ",
        "seeds",
        "copies",
        "tried",
        "too costly",
        "failed",
        "pruned",
        "rule",
        "settings",
    ),
    "Table V of the paper",
)


def table(records: Sequence[Record], /, *, rule: str = DEFAULT_RULE) -> pd.DataFrame:
    """One row a defense and task, best first. Percent and points are floats; missing values are
    None.

    Raises:
        SpecError: unknown rule.
    """
    return of(winners(records, rule))


def of(found: Iterable[Winner]) -> pd.DataFrame:
    """The same of winners that are known."""
    rows = []
    for w in found:
        optimum = paper.optimum(w.defense, w.victim.dataset.name)
        rows.append(
            {
                **of_victim(w.victim, w.trusted),
                "defense": w.defense,
                "control": w.defense in CONTROLS,
                "η: ASR left (%)": points(w.eta),
                "95 % interval (%)": percents(w.interval),
                "sd (pp)": points(w.sd),
                "triggered images": w.n_triggered,
                "CDA (%)": points(w.cda),
                "CDA lost (pp)": points(w.cda_loss),
                "step": w.step,
                "ASR before (%)": points(w.asr0),
                "within Δ": w.within_delta,
                "seeds": w.n_seeds,
                "copies": w.copies,
                "tried": w.tried,
                "too costly": w.too_costly,
                "failed": w.failed,
                "pruned": w.pruned,
                "rule": w.rule,
                "settings": settings(w.method),
                "Table V of the paper": ", ".join(f"{k} = {v}" for k, v in optimum.items()) or None,
            }
        )
    return frame(rows, COLUMNS)
