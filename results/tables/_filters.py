"""Columns that the tables of data filters share."""

from typing import Any

from results.comparison.filtered_sets import FilteredSet
from results.comparison.filters_and_repairs import Treatment
from results.selection.labels import rejection, settings
from results.tables._columns import of_victim

SET_COLUMNS = ("dataset", "model", "attack", "victim seed", "r (%)", "filter", "rejects")


def of_set(found: FilteredSet) -> dict[str, Any]:
    """The victim, the filter, and how much it rejects: a share of the rows, or its own rule."""
    return {
        **of_victim(found.victim, found.filtering.trusted),
        "filter": found.filtering.method.name,
        "rejects": rejection(found.filtering),
    }


def called(t: Treatment) -> str:
    """'badloss (40 %), then fine_tuning', or one of them, or 'nothing'."""
    filtering = f"{t.filtering.method.name} ({rejection(t.filtering)})" if t.filtering else ""
    return (
        ", then ".join(filter(None, [filtering, t.defense.name if t.defense else ""])) or "nothing"
    )


def settings_of(found: FilteredSet) -> str | None:
    return settings(found.filtering.method) or None
