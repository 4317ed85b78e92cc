"""The page's part on attacks without a trigger."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from results.comparison.self_brewed import SelfBrewed
from results.comparison.self_brewed import self_brewed as brewed_against
from results.comparison.targeted_names import Names, names, names_of
from results.comparison.targeted_success import TargetedSuccess, targeted_success
from results.figures import self_brewed as self_brewed_figure
from results.figures import targeted as fronts
from results.figures import targeted_budget, targeted_noise
from results.report.evidence import Chart, chart
from results.report.html_table import ReportTable, report_table
from results.selection.labels import percent, percents, short
from results.tables import self_brewed, targeted, targeted_axes
from trials.spec import Record


def targeted_section(records: Sequence[Record]) -> Mapping[str, Any] | None:
    """A sentence for each attack and the tables; None where there is no such attack."""
    found = [t for t in targeted_success(records) if t.records]
    if not found:
        return None
    table = targeted.table(records)
    whole = report_table(table, "Attacks without a trigger", hide=_alike(table, _SETTINGS))
    own = report_table(self_brewed.table(records), "Chosen by brewing against oneself")
    said = [of_defenders(one) for one in brewed_against(records)]
    said += [sentence(*one) for one in zip(found[:_MOST], names(found), strict=False)]
    return {
        "sentences": said,
        "tables": [t for t in (own, *_along_axes(records), whole) if t],
        "charts": [c for c in _charts(records) if c],
    }


def _charts(records: Sequence[Record]) -> list[Chart | None]:
    return [
        chart(fronts.figure(records), "targeted-front", _TITLE, _FRONT),
        chart(self_brewed_figure.figure(records), "self-brewed-front", _OWN_TITLE, _OWN_FRONT),
        chart(targeted_budget.figure(records), "targeted-budget", "Success by budget", _BUDGET),
        chart(targeted_noise.figure(records), "targeted-noise", "Success and CDA by noise", _NOISE),
    ]


def _along_axes(records: Sequence[Record]) -> list[ReportTable | None]:
    """A table for each axis that the sweep varies."""
    every = targeted_axes.table(records)
    made = []
    for name in every["by"].unique():
        own = every[every["by"] == name]
        hide = {"by", *_alike(own, (*targeted_axes.VARIED, "dataset"))}
        made.append(report_table(own, f"Success by {name}", hide=hide, notes=_NOTES))
    return made


def _alike(frame: pd.DataFrame, columns: Sequence[str]) -> set[str]:
    """Those of the columns that have one value."""
    return {c for c in columns if c in frame and frame[c].nunique(dropna=False) == 1}


def of_defenders(found: SelfBrewed) -> str:
    """What defenders take who brew against themselves, and what the attacker's poison does then."""
    best, taken = found.hindsight, found.taken
    named = names_of([s.victim for s in found.settings])
    first, its = found.settings[0], named[found.settings.index(best)]
    number, draws = len(taken.options), taken.draws
    plural = "s" if draws > 1 else ""
    return (
        f"By brewing against themselves, from {draws} draw{plural} of trusted images and pairs, "
        f"{found.times(first)} of {number} defenders take {named[0].trained}; as each of them "
        f"chooses, {percent(taken.judged('success'))} % give the class that the attacker wants, "
        f"with {percent(taken.judged('cda'))} % CDA. In hindsight {its.trained} is best "
        f"({percent(best.judged('success'))} %)."
    )


def sentence(t: TargetedSuccess, called: Names) -> str:
    """How often an attack succeeds, and whether that is more than without it."""
    data, model = short("datasets", t.victim.dataset), short("models", t.victim.model)
    where = f"{data}, {model}, {called.attack}"
    rate, band = percent(t.rate("success")), percents(t.interval("success"))
    control, its = percent(t.rate("success_control")), percents(t.interval("success_control"))
    told = "clearly more than" if t.apart else "not clearly more than"
    return (
        f"{where}, trained by {called.trained}: {rate} % of {len(t.records)} victims give "
        f"the class wanted ({band} %, {t.keys} keys), {told} without poison ({control} %; {its} %)."
    )


_TITLE = "Success and CDA under each recipe and filter"
_FRONT = (
    "A mark a recipe or filter, its bar an interval at 95 % over keys. Further left less success, "
    "further up more clean accuracy; the line joins those that none beats."
)
_OWN_TITLE = "The same as defenders see it who brew against themselves"
_OWN_FRONT = (
    "A mark a setting, a large one where a defender takes it: how many of the defenders' own pairs "
    "are misled, and clean accuracy on images that they held back. No image of the attacker's "
    "counts here; the line joins those that none beats."
)
_BUDGET = (
    "How much is poisoned, a line an ε, the largest change of a pixel's value in levels of 255; "
    "bars at 95 % over keys, open diamonds what was published of the same case."
)
_NOISE = (
    "What is left with noise in the training, success above, clean accuracy below; bars at 95 % "
    "over keys. Dotted: the training without noise."
)
_NOTES = (
    "Settings that are not shown are the same in all rows. What was published is a reference of "
    "others' runs, shown where data, architectures and poison are as here.",
)
_SETTINGS = (
    *("epsilon", "restarts", "ensemble", "augment", "surrogate"),
    *("attack's settings", "training's settings", "filter's settings"),
)
_MOST = 8  # sentences; the table has all
