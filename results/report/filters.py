"""The page's part on data filters."""

from collections.abc import Mapping, Sequence
from typing import Any

from results.comparison.filtered_sets import DELTA, FilteredSet, bests, filtered_sets
from results.report.html_table import report_table
from results.selection.labels import percent, victim_name
from results.tables import filtered_attacks, filtered_classes, filters
from trials.spec import Record


def filter_section(records: Sequence[Record]) -> Mapping[str, Any] | None:
    """Sentences and tables; None where no training set was filtered."""
    sets = filtered_sets(records)
    if not sets:
        return None
    tables = [
        report_table(filters.table(records), "Filters, the one that leaves least first"),
        report_table(filtered_attacks.table(records), "Each attack under each filter"),
        report_table(filtered_classes.table(records), "What is kept of each class"),
    ]
    return {"sentences": [sentence(s) for s in bests(sets)], "tables": [t for t in tables if t]}


def sentence(s: FilteredSet) -> str:
    """What the best filter of a victim leaves, and what it costs."""
    where, name = victim_name(s.victim), s.filtering.method.name
    removed, cda = s.score("removed"), s.after("cda")
    facts = [f"removes {percent(removed)} % of the rows"] if removed is not None else []
    if s.victim.attacks and s.asrs:
        known = s.before.metrics.get("asr") if s.before else None
        from_ = f" (before: {percent(known)} %)" if known is not None else ""
        facts.append(f"leaves at most {percent(max(s.asrs))} % ASR of any attack{from_}")
    if cda is not None and s.cda_loss is not None:
        facts.append(f"gives {percent(cda)} % CDA, {percent(s.cda_loss)} points lost")
    if not s.within_delta:
        facts.append(f"and none costs at most {percent(DELTA, 0)} points")
    return f"{where}: {name} {', '.join(facts)}."
