"""What stands behind one task's answer: its tables and charts, ready for the page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from results.figures import fronts, parallel, tradeoff
from results.figures import importance as importance_figure
from results.report.html_table import report_table
from results.selection.configurations import Distinct, configurations, of_game
from results.selection.importance import importance
from results.tables import judged, oracle, settings, winners
from trials.spec import Record

_SAID_ABOVE = ("control", "Table V of the paper", "within Δ")


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure on the page; its data lie in a script that the browser does not run."""

    id: str
    title: str
    note: str
    height: int
    json: Markup


def chart(figure: go.Figure, name: str, title: str, note: str) -> Chart | None:
    """The figure as a chart; None where it shows nothing."""
    if not figure.data:
        return None
    return Chart(
        name,
        title,
        note,
        int(figure.layout.height or 400),
        inert(_rounded(figure.to_plotly_json())),
    )


def _rounded(value: Any) -> Any:
    """The same with numbers of six digits, more than can be seen, at half the length."""
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(v) for v in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def inert(value: object) -> Markup:
    """JSON that no HTML parser can take for markup: ``<``, ``>`` and ``&`` only as escapes."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # it has no character that HTML gives a meaning


def evidence(
    number: int, where: str, own: Sequence[Record], records: Sequence[Record], rule: str
) -> Mapping[str, Any]:
    """The task's section of the page.

    Args:
        number: place on the page, for ids.
        where: the task's name.
        own: its tuning.
        records: the whole sweep's; others' tuning is left aside.
        rule: how points are chosen.
    """
    real = _real(own[0], records)
    judges = Distinct([*own, *of_game(records, "confirmation", "robustness")])
    found = configurations(own, rule)
    shares = importance(own, rule)
    defenses = list(dict.fromkeys(winners.table(own, rule=rule)["defense"]))

    def named(kind: str) -> str:
        return f"cell{number}-{kind}"

    curves = [
        chart(parallel.figure(own, defense=d, rule=rule), named(f"parallel{i}"), d, _PARALLEL)
        for i, d in enumerate(defenses)
    ]
    return {
        "id": named("evidence"),
        "where": where,
        "counts": f"{len(defenses)} defenses, {len(found)} configurations, {len(own)} tuning "
        "trials",
        "fronts": chart(
            fronts.figure(own, rule=rule),
            named("fronts"),
            "ASR and CDA of every configuration",
            _FRONTS,
        ),
        "tradeoff": chart(
            tradeoff.figure(own, rule=rule),
            named("tradeoff"),
            "ASR and CDA along the runs",
            _TRADEOFF,
        ),
        "importance": chart(
            importance_figure.figure(own, rule=rule),
            named("importance"),
            "Importance of settings",
            _IMPORTANCE,
        ),
        "unknown": [(i.defense, i.reason) for i in shares.values() if not i.shares],
        "parallel": [c for c in curves if c],
        "winners": report_table(
            winners.table(own, rule=rule), "On select images", hide=_SAID_ABOVE
        ),
        "settings": report_table(
            settings.table(own, rule=rule),
            "Chosen here and in the paper (r = 1 %)",
            group="defense",
        ),
        "judged": report_table(
            judged.table(judges, rule=rule),
            "The winners on images that did not choose them",
            hide=("step",),
            group="defense",
        ),
        "oracle": report_table(oracle.table(real), "Oracle"),
    }


def _real(tuned: Record, records: Sequence[Record]) -> list[Record]:
    """The real attack on the tuned victim, or, where there is none, on victims with its dataset and
    model.
    """
    t = tuned.trial
    fits = [
        r
        for r in of_game(records, "robustness")
        if r.trial.victim.attacks and r.trial.trusted == t.trusted
    ]
    own = [r for r in fits if r.trial.victim.id == t.victim.id]
    return own or [
        r
        for r in fits
        if (r.trial.victim.dataset, r.trial.victim.model) == (t.victim.dataset, t.victim.model)
    ]


def _plain(value: Any) -> Any:
    return value.tolist()


_FRONTS = (
    "Better is up and to the left. A mark is a configuration at the point that the rule chose; a "
    "line is the front of "
    "all recorded points of a defense; rings are the winners. Below the dotted line too much "
    "accuracy is lost."
)
_TRADEOFF = (
    "Each winner's run from no defense (right) to its last recorded step; small marks are "
    "recorded steps, the large "
    "one is the recommended step, with one standard deviation over copies and seeds."
)
_IMPORTANCE = (
    "How much each setting that was varied decided whether a configuration was among the best "
    "tenth (PED-ANOVA)."
)
_PARALLEL = (
    "A line is a configuration; blue ones left less of the backdoor, orange ones more. The thick "
    "line is the winner."
)
