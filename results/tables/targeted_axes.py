"""Success of attacks without a trigger by epsilon and budget, by restarts and ensemble, by
augmentation, by architecture and by noise in the training: what the sweep varies, each row beside
what was published of its like.
"""

from collections.abc import Sequence
from itertools import chain

import pandas as pd

from results.comparison.targeted_axes import AXES, Axis, Compared, along, settings_of
from results.comparison.targeted_success import TargetedSuccess, targeted_success
from results.reference.gradient_matching import published
from results.selection.labels import percents
from results.tables._columns import frame, points
from trials.spec import Record

VARIED = tuple(dict.fromkeys(chain.from_iterable(axis.keys for axis in AXES)))
COLUMNS = (
    *("by", "dataset", *VARIED, "held", "poisoned images trained on", "success (%)"),
    *("95 % interval (%)", "control (%)", "95 % interval of the control (%)", "CDA (%)"),
    *("CDA lost (pp)", "keys", "victims", "published success (%)", "published in"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row an attack and training on each axis that varies; what an axis does not name is None,
    ``held`` has the other settings where they differ.
    """
    found = targeted_success(records)
    rows = []
    for axis in AXES:
        rows += [_row(axis, one) for one in along(found, axis)]
    return frame(rows, COLUMNS)


def beside(t: TargetedSuccess) -> dict[str, object]:
    """Columns of what was published of such a victim, if anything was."""
    known = published(t.victim)
    if known is None:
        return {}
    return {
        "published success (%)": points(known.success),
        "published in": known.published_in,
    }


def _row(axis: Axis, one: Compared) -> dict[str, object]:
    t = one.found
    return {
        "by": axis.name,
        "dataset": settings_of(t.victim)["dataset"],
        **one.at,
        "held": one.held or None,
        "poisoned images trained on": round(t.rate("m")),
        "success (%)": points(t.rate("success")),
        "95 % interval (%)": percents(t.interval("success")),
        "control (%)": points(t.rate("success_control")),
        "95 % interval of the control (%)": percents(t.interval("success_control")),
        "CDA (%)": points(t.rate("cda")),
        "CDA lost (pp)": points(t.cda_loss),
        "keys": t.keys,
        "victims": len(t.records),
        **beside(t),
    }
