"""Columns that the tables of data filters share."""

from typing import Any

from results.comparison.filtered_sets import FilteredSet
from results.selection.labels import settings, value
from results.tables._columns import of_victim

SET_COLUMNS = ("dataset", "model", "attack", "victim seed", "r (%)", "filter", "rejects")


def of_set(found: FilteredSet) -> dict[str, Any]:
    """The victim, the filter, and how much it rejects: a share of the rows, or its own rule."""
    reject = found.reject
    told = "its own rule" if isinstance(reject, str) else f"{value(100 * reject)} %"
    return {
        **of_victim(found.victim, found.filtering.trusted),
        "filter": found.filtering.method.name,
        "rejects": told,
    }


def settings_of(found: FilteredSet) -> str | None:
    return settings(found.filtering.method) or None
