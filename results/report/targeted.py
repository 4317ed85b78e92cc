"""The page's part on attacks without a trigger."""

from collections.abc import Mapping, Sequence
from typing import Any

from results.comparison.targeted_success import TargetedSuccess, targeted_success
from results.report.html_table import report_table
from results.selection.labels import attack, percent, percents
from results.tables import targeted
from results.tables._filters import rejection
from trials.spec import Record


def targeted_section(records: Sequence[Record]) -> Mapping[str, Any] | None:
    """A sentence for each attack and the table; None where there is no such attack."""
    found = [t for t in targeted_success(records) if t.records]
    if not found:
        return None
    table = report_table(targeted.table(records), "Attacks without a trigger")
    return {"sentences": [sentence(t) for t in found[:_MOST]], "tables": [table]}


def sentence(t: TargetedSuccess) -> str:
    """How often an attack succeeds, and whether that is more than without it."""
    where = f"{t.victim.dataset.name}, {t.victim.model.name}, {attack(t.victim)}"
    rate, band = percent(t.rate("success")), percents(t.interval("success"))
    control, its = percent(t.rate("success_control")), percents(t.interval("success_control"))
    told = "clearly more than" if t.apart else "not clearly more than"
    return (
        f"{where}, {trained(t)}: {rate} % of {len(t.records)} victims give "
        f"the class wanted ({band} %, {t.keys} keys), {told} without poison ({control} %; {its} %)."
    )


def trained(t: TargetedSuccess) -> str:
    """How the victims were trained: by which recipe, and on what."""
    told = f"trained by {t.victim.training.name}"
    if t.filtering:
        told += f" on what {t.filtering.method.name} ({rejection(t.filtering)}) keeps"
    return told


_MOST = 8  # sentences; the table has all
