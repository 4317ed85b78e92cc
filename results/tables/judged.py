"""Each winner three times: as chosen (select images), confirmed (report images), on the real attack
(test images); and what it costs a model that was never attacked (its test images).

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, Table III is what the last column is compared
with.
Deviation: one number a split, with its n: the paper reports the number that it selected by.
"""

from collections import defaultdict
from collections.abc import Sequence

import pandas as pd

from results.reference import paper
from results.selection.confirmation import (
    HeldOutResult,
    confirmed,
    each_attack,
    frozen,
    on_clean,
    pooled,
)
from results.selection.labels import attack, of_attack, percents
from results.selection.rules import DEFAULT_RULE
from results.selection.winners import Winner, winners
from results.tables._columns import frame, of_victim, points
from trials.spec import Record, Victim

CLEAN = "costs a clean model (pp)"
COLUMNS = (
    *("dataset", "model", "attack", "victim seed", "r (%)", "defense", "split", "step"),
    *(
        "η: ASR left (%)",
        "95 % interval (%)",
        "repaired",
        "CDA (%)",
        "CDA lost (pp)",
        "CDA 95 % interval (%)",
        CLEAN,
    ),
    *("sd (pp)", "triggered images", "seeds", "models", "ASR before (%)", "paper's η (%)", "rule"),
)
SPLITS = {"select": "chosen: select", "report": "confirmed: report", "test": "real attack: test"}


def table(records: Sequence[Record], /, *, rule: str = DEFAULT_RULE) -> pd.DataFrame:
    """Up to three rows a defense and task, and after these one for each attack where a victim has
    several; defenses that were neither confirmed nor judged are left out.

    Raises:
        SpecError: unknown rule.
    """
    rows = []
    for w in winners(records, rule):
        groups: dict[tuple[str, str], list[HeldOutResult]] = defaultdict(list)
        for j in [*frozen(w, records), *each_attack(w, records)]:
            # victims that differ in seed and target only are one row
            groups[attack(j.victim), j.attack].append(j)
        seen = [j for j in (confirmed(w, records), *map(pooled, groups.values())) if j]
        clean = on_clean(w, records)
        if seen or clean:
            lost = {CLEAN: points(clean.cda_loss if clean else None)}
            chosen = _row(w, w, w.victim, "select") | lost
            rows += [chosen, *(_row(w, j, j.victim, j.split) for j in seen)]
    return frame(rows, COLUMNS)


def _row(w: Winner, j: Winner | HeldOutResult, victim: Victim, split: str) -> dict[str, object]:
    one = "" if isinstance(j, Winner) else j.attack
    known = paper.left(victim, w.defense, w.trusted) if split == "test" else None
    return {
        **of_victim(victim, w.trusted),
        "attack": of_attack(one, victim),
        "defense": w.defense,
        "split": SPLITS[split],
        "step": w.step,
        "η: ASR left (%)": points(j.eta),
        "95 % interval (%)": percents(j.interval),
        "sd (pp)": points(j.sd),
        "triggered images": j.n_triggered,
        "seeds": j.n_seeds,
        "models": 1 if isinstance(j, Winner) else j.n_models,
        "CDA (%)": points(j.cda),
        "CDA 95 % interval (%)": percents(j.cda_interval),
        "CDA lost (pp)": points(j.cda_loss),
        "ASR before (%)": points(j.asr0),
        "repaired": j.repaired,
        "paper's η (%)": points(known),
        "rule": w.rule,
    }
