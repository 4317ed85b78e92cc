"""The page's part on data filters."""

from collections.abc import Mapping, Sequence
from typing import Any

from results.comparison.filter_axes import AXES, along, lines
from results.comparison.filtered_sets import DELTA, FilteredSet, bests, filtered_sets
from results.comparison.filters_and_repairs import treatments
from results.figures import filter_axes as filter_axes_figure
from results.figures import trajectories
from results.report import filters_and_repairs
from results.report import own_pairs as of_pair
from results.report.evidence import Chart, chart
from results.report.html_table import report_table
from results.selection.filter_winner import FilterWinner, filter_winners
from results.selection.labels import percent, rejection, victim_name
from results.selection.own_pairs import pair_taken
from results.tables import (
    filter_axes,
    filter_volumes,
    filtered_attacks,
    filtered_classes,
    filters,
    own_pairs,
    own_poison,
    validity,
)
from results.tables import filters_and_repairs as pairs
from trials.spec import Record


def filter_section(records: Sequence[Record]) -> Mapping[str, Any] | None:
    """Sentences and tables; None where no training set was filtered."""
    sets = filtered_sets(records)
    if not sets:
        return None
    own = own_poison.table(records)
    beside = treatments(records)
    said = filters_and_repairs.sentences(beside) or [sentence(s) for s in bests(sets)]
    if picked := next(iter(filter_winners(records)), None):
        said.append(of_defender(picked))
    if taken := pair_taken(records):
        said += of_pair.sentences(taken)
    repaired = any(one.of("repair", "pair") for one in beside)
    tables = [
        report_table(
            pairs.table(records if repaired else []),
            "Filters, repairs and pairs, the one that leaves least first",
        ),
        report_table(
            filter_volumes.table(records if repaired else []),
            "What each filter reaches, by hypervolume",
            notes=(filters_and_repairs.VOLUMES,),
        ),
        report_table(own, "What a defender sees: own poison found, clean images taken"),
        report_table(own_pairs.table(records), "Filters and repairs on own poison"),
        report_table(validity.table(records), "Whether the defender's poison stands for others'"),
        report_table(filters.table(records), "Filters, the one that leaves least first"),
        report_table(filtered_attacks.table(records), "Each attack under each filter"),
        report_table(filtered_classes.table(records), "What is kept of each class"),
        report_table(filter_axes.table(records), "Filters along what the sweep varies", group="by"),
    ]
    return {
        "sentences": said,
        "charts": [*filters_and_repairs.charts(beside), *axes(sets), *tracks(records)],
        "tables": [t for t in tables if t],
    }


def axes(sets: Sequence[FilteredSet]) -> list[Chart]:
    """What filters leave along each axis that varies."""
    made = []
    for axis in AXES:
        for i, some in enumerate(lines(along(sets, axis)).values()):
            what = f": {some[0].attacks}" if some[0].attacks else ""
            name, title = axis.name.replace(" ", "-"), f"Filters by {axis.name}{what}"
            made.append(chart(filter_axes_figure.drawn(some), f"filters-{name}-{i}", title, _AXES))
    return [c for c in made if c]


_AXES = (
    "Means over victims of the mean ASR of their attacks; the grey line is what the models trained "
    "on all rows obey."
)


def tracks(records: Sequence[Record]) -> list[Chart]:
    """How fast each attack is learned, for each attack and filter that tracked it."""
    made = []
    for i, r in enumerate(trajectories.tracked(records)[: filters_and_repairs.MOST]):
        filtering = r.trial.victim.filter
        assert filtering is not None
        title = f"Losses that {filtering.method.name} tracked: {victim_name(r.trial.victim)}"
        made.append(chart(trajectories.drawn(r), f"filters-losses-{i}", title, _LOSSES))
    return [c for c in made if c]


_LOSSES = (
    "Medians over the rows of each attack and over clean rows, after each epoch of the training "
    "that the filter tracked; losses below 0.0001 are drawn there. An attack whose line runs "
    "within the band is learned as half of the clean images are."
)


def of_defender(picked: FilterWinner) -> str:
    """Which filter a defender takes who knows of no poisoned row, and by what."""
    filtering = picked.scored.trial.victim.filter
    assert filtering is not None
    takes = f"{filtering.method.name} ({rejection(filtering)})"
    return (
        f"By poison of their own a defender takes {takes}, which finds at least "
        f"{percent(picked.recall)} % of each attack of theirs that was learned, and takes "
        f"{percent(picked.fpr)} % of clean images."
    )


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
