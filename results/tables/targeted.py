"""Attacks without a trigger: how often newly trained victims give the class wanted, beside models
that were never attacked. This is no ASR, and stands in no column with one.
"""

from collections.abc import Sequence
from itertools import chain

import pandas as pd

from results.comparison.targeted_success import (
    TargetedSuccess,
    alike,
    on_front,
    targeted_success,
)
from results.selection.grouping import KEY
from results.selection.labels import attack, percents, rejection, settings, short, value
from results.tables._columns import frame, points
from results.tables.targeted_axes import beside
from trials.architecture import surrogate_said
from trials.spec import Record

COLUMNS = (
    *("dataset", "model", "attack", "epsilon", "restarts", "ensemble", "augment", "surrogate"),
    *("training", "filter", "rejects"),
    *("poisoned images trained on", "poisoned rows removed (%)", "clean rows removed (%)"),
    *("success (%)", "95 % interval (%)", "control (%)", "95 % interval of the control (%)"),
    *("intervals apart", "mean probability of the class wanted (%)", "its control (%)"),
    *("keys", "victims", "CDA (%)", "CDA lost (pp)", "on the front"),
    *("published success (%)", "published in", "failed"),
    *("attack's settings", "training's settings", "filter's settings"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row an attack with its settings, over its keys and victims; what misleads most first."""
    found = targeted_success(records)
    several = [group for group in alike(found) if len(group) > 1]
    compared = set(map(id, chain.from_iterable(several)))
    best = set(map(id, chain.from_iterable(map(on_front, several))))
    rows = [
        {**_row(t), "on the front": id(t) in best if id(t) in compared else None} for t in found
    ]
    return frame(rows, COLUMNS)


def settings_of(t: TargetedSuccess) -> str:
    """The attacks' settings, but for what is attacked."""
    said = []
    for one in t.victim.attacks:
        said += [f"{k} = {value(v)}" for k, v in one.params.items() if k not in KEY and v != ""]
    return ", ".join(said)


def _row(t: TargetedSuccess) -> dict[str, object]:
    victim, filtering, first = t.victim, t.filtering, t.victim.attacks[0]
    known: dict[str, object] = {
        "dataset": short("datasets", victim.dataset),
        "model": short("models", victim.model),
        "attack": attack(victim),
        **{k: first.params.get(k) for k in ("epsilon", "restarts", "ensemble", "augment")},
        "surrogate": short("models", surrogate_said(victim, first)),
        "training": victim.training.name,
        "filter": filtering.method.name if filtering else None,
        "rejects": rejection(filtering) if filtering else None,
        "failed": t.failed,
        "attack's settings": settings_of(t) or None,
        "training's settings": settings(victim.training) or None,
        "filter's settings": (settings(filtering.method) or None) if filtering else None,
    }
    if not t.records:
        return known
    return known | {
        "poisoned images trained on": round(t.rate("m")),
        "poisoned rows removed (%)": points(t.removed("poisoned")),
        "clean rows removed (%)": points(t.removed("clean")),
        "success (%)": points(t.rate("success")),
        "95 % interval (%)": percents(t.interval("success")),
        "control (%)": points(t.rate("success_control")),
        "95 % interval of the control (%)": percents(t.interval("success_control")),
        "intervals apart": t.apart,
        "mean probability of the class wanted (%)": points(t.rate("wanted")),
        "its control (%)": points(t.rate("wanted_control")),
        "keys": t.keys,
        "victims": len(t.records),
        "CDA (%)": points(t.rate("cda")),
        "CDA lost (pp)": points(t.cda_loss),
        **beside(t),
    }
