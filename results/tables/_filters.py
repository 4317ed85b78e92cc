"""Columns that the tables of data filters share."""

from typing import Any

from results.comparison.filtered_sets import FilteredSet
from results.comparison.filters_and_repairs import Treatment
from results.selection.labels import settings, value
from results.tables._columns import of_victim
from trials.spec import OWN, RECALL, Filtering

SET_COLUMNS = ("dataset", "model", "attack", "victim seed", "r (%)", "filter", "rejects")


def of_set(found: FilteredSet) -> dict[str, Any]:
    """The victim, the filter, and how much it rejects: a share of the rows, or its own rule."""
    return {
        **of_victim(found.victim, found.filtering.trusted),
        "filter": found.filtering.method.name,
        "rejects": rejection(found.filtering),
    }


def rejection(filtering: Filtering) -> str:
    """What decides how much is removed, as it is read."""
    reject = filtering.reject
    told = "its own rule" if reject == OWN else reject
    if not isinstance(told, str):
        told = f"{value(100 * told)} %"
    if reject == RECALL:
        told = f"recall {value(100 * (1 - float(filtering.threshold.get('beta', 0.1))))} %"
    quota = filtering.threshold.get("quota")
    return f"{told}, {quota}" if quota else told


def called(t: Treatment) -> str:
    """'badloss (40 %), then fine_tuning', or one of them, or 'nothing'."""
    filtering = f"{t.filtering.method.name} ({rejection(t.filtering)})" if t.filtering else ""
    return (
        ", then ".join(filter(None, [filtering, t.defense.name if t.defense else ""])) or "nothing"
    )


def settings_of(found: FilteredSet) -> str | None:
    return settings(found.filtering.method) or None
