"""Does the order of settings on self-poisoned copies hold on the real attack?

Source: see ``results.comparison.transfer``.
"""

from collections.abc import Sequence

import pandas as pd

from results.comparison.transfer import transfers
from results.selection.rules import DEFAULT_RULE
from results.tables._columns import frame, of_victim, points
from results.tables._ranges import share, span
from trials.spec import Record

COLUMNS = (
    *("planted", "dataset", "model", "attack", "victim seed", "r (%)", "defense", "settings tried"),
    *(
        "Spearman",
        "Spearman 95 % interval",
        "Kendall",
        "Kendall 95 % interval",
        "p of no agreement",
    ),
    *("η given away (pp)", "rule", "rule on the real attack"),
)


def table(
    records: Sequence[Record],
    /,
    *,
    rule: str = DEFAULT_RULE,
    real_rule: str = "last_before_delta",
) -> pd.DataFrame:
    """One row a planted attack, victim, r and defense; ``all`` orders the settings of all defenses
    together.

    ``η given away`` is the real η of the setting that the copies choose, less the lowest of any
    setting.

    Raises:
        SpecError: unknown rule.
        ValueError: a measurement is not finite.
    """
    rows = [
        {
            "planted": t.self_poisoning,
            **of_victim(t.victim, t.trusted),
            "defense": t.defense or "all",
            "settings tried": len(t.planted),
            "Spearman": share(t.spearman.value),
            "Spearman 95 % interval": span(t.spearman.interval),
            "Kendall": share(t.kendall.value),
            "Kendall 95 % interval": span(t.kendall.interval),
            "p of no agreement": share(t.spearman.p),
            "η given away (pp)": points(t.cost),
            "rule": rule,
            "rule on the real attack": real_rule,
        }
        for t in transfers(records, rule, real_rule)
    ]
    return frame(rows, COLUMNS)
