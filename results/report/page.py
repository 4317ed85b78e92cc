"""One self-contained page for one sweep: the answer first, then the evidence.

It loads nothing from anywhere.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from results.report.bundle import plotly_js
from results.report.evidence import evidence
from results.report.filters import filter_section
from results.report.glossary import GLOSSARY
from results.report.html_table import ReportTable, report_table
from results.report.provenance import counted, provenance, tracebacks
from results.report.recommendation import Answer, answer
from results.report.sections import sections
from results.report.targeted import targeted_section
from results.report.verdicts import Applied, headline, notes, verdict_of
from results.selection.configurations import Distinct, of_game, tasks
from results.selection.remembered import remembering
from results.selection.rules import DEFAULT_RULE, find_rule
from results.selection.task_names import task_names
from results.selection.winners import winners
from results.store.bulk import uncollected
from results.tables import (
    _classes,
    _kinds,
    cross,
    failures,
    oracle,
    robustness,
    self_poison,
    victims,
)
from trials.spec import Record, SpecError
from trials.whole import whole

_CROSS = (
    "Of each trigger's test images, those whose true class is neither its own target nor the one "
    "asked for."
)
_BY_KIND = "ASR left by kind of trigger"


def render(
    records: Sequence[Record],
    *,
    title: str,
    rule: str = DEFAULT_RULE,
    generated: str = "at an unknown time",
    applied: Applied | None = None,
) -> str:
    """The page as HTML, complete in itself.

    Args:
        records: all of a sweep's records, of any game and status.
        title: heading.
        rule: named rule that chooses points and winners.
        generated: when, as it shall be read.
        applied: what was done to a given model; the page then answers for that model.

    Raises:
        SpecError: unknown rule.
        ValueError: a measurement is not finite.
    """
    find_rule(rule)
    with uncollected(), remembering():
        return _rendered(records, title, rule, generated, applied)


def _rendered(
    records: Sequence[Record], title: str, rule: str, generated: str, applied: Applied | None
) -> str:
    games = {r.trial.game.name for r in records}
    records = Distinct(of_game(records, *games))
    names = task_names(records, "tuning")
    found = winners(records, rule)
    tuned = tasks(records)
    told: list[Answer | None] = []
    for task in tuned if rule != "oracle" else ():
        of_task = [w for w in found if w.task == task]
        told.append(answer(names[task], of_task, records, applied))
    answers = [] if applied and applied.winner is None else [a for a in told if a]
    filters, targeted = filter_section(records), targeted_section(records)
    lost = [r for r in records if r.status != "done"]
    return _page().render(
        title=title,
        generated=generated,
        answers=answers,
        kinds_left=[report_table(_kinds.of(a.by_kind), _BY_KIND) for a in answers],
        short=_short(answers),
        nothing=_nothing(records, rule, applied),
        no_defenses=bool(filters or targeted) and not answers and not applied,
        given=applied is not None,
        understood=_understood(applied),
        tasks=[
            evidence(i, names[task], own, records, rule)
            for i, (task, own) in enumerate(tuned.items(), 1)
        ]
        if rule != "oracle"
        else [],
        real=None
        if tuned and rule != "oracle"
        else report_table(robustness.table(records), "As a defender would stop"),
        oracle=report_table(
            oracle.table(records),
            "Oracle: the least ASR on the test set, chosen with the real trigger",
        ),
        filters=filters,
        targeted=targeted,
        several=sections(records, rule) if rule != "oracle" else None,
        failures=report_table(failures.table(records), "Failed and pruned"),
        failed=counted(lost),
        tracebacks=tracebacks(lost),
        victims=report_table(victims.table(records), "Victims before any defense, on test images"),
        cross=report_table(
            cross.table(records),
            "Where each trigger leads, before any defense",
            hide=("victim",),
            group="attack",
            notes=(_CROSS,),
        ),
        copies=report_table(
            self_poison.table(records), "Self-poisoned copies, on their select images"
        ),
        provenance=provenance(records, rule),
        glossary=GLOSSARY,
        css=Markup(_beside("page.css")),
        js=Markup(_beside("page.js")),
        plotly=Markup(plotly_js()),
    )


def write(
    records: Sequence[Record],
    path: str | os.PathLike[str],
    *,
    title: str,
    rule: str = DEFAULT_RULE,
    generated: str | None = None,
    applied: Applied | None = None,
) -> Path:
    """Write the page to ``path``, making its folder; a page that was there is replaced as a whole.

    ``generated`` is the present time, UTC, where it is not given; else as for ``render``.

    Raises:
        SpecError: the page cannot be written there.
    """
    target = Path(path)
    generated = generated or datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    text = render(records, title=title, rule=rule, generated=generated, applied=applied)
    if not target.name or target.is_dir():
        raise SpecError(f"the report cannot be written to {str(target)!r}: it is a folder.")
    try:
        with whole(target) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as problem:
        raise SpecError(
            f"the report cannot be written to {str(target)!r}: {problem.strerror or problem}."
        ) from problem
    return target


def _page() -> jinja2.Template:
    kit = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_unbroken,
    )
    return kit.from_string(_beside("page.html.j2"))


def _unbroken(value: object) -> object:
    """Text whose numbers keep their percent sign at the end of a line; markup is left alone."""
    return (
        value.replace(" %", "\u00a0%")
        if isinstance(value, str) and not isinstance(value, Markup)
        else value
    )


def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _short(answers: Sequence[Answer]) -> ReportTable | None:
    """All answers in one table, where there are too many to take in at a glance."""
    if len(answers) <= 3:
        return None
    rows = []
    for a in answers:
        row = {
            "question": a.where,
            "best defense": a.winner.defense,
            "stop at step": a.winner.step,
        }
        row |= {name: number for name, number, _ in a.facts}
        rows.append({**row, "verdict": a.verdict})
    return report_table(pd.DataFrame(rows, dtype=object), "All answers")


def _understood(applied: Applied | None) -> Mapping[str, Any] | None:
    """How a given model and its images were understood, before any trial ran."""
    seen = applied.understood if applied else None
    if seen is None:
        return None
    return {
        "lines": seen.lines(),
        "warnings": seen.warnings,
        "classes": report_table(_classes.of(seen), "By class folder"),
    }


def _nothing(
    records: Sequence[Record], rule: str, applied: Applied | None
) -> tuple[str, list[str]]:
    """What is said where there is no answer, and why there is none."""
    if applied:
        given = verdict_of(applied, None, records)
        return headline(given, applied, None), notes(given, applied, None, records)
    return _no_answer(records, rule), []


def _no_answer(records: Sequence[Record], rule: str) -> str:
    if rule == "oracle":
        return "The oracle is a bound, not a choice: choose another rule to see an answer."
    tuning = of_game(records, "tuning")
    if tuning:
        return f"None of {len(tuning)} tuning trials finished: {counted(tuning)}."
    return "This sweep tuned no defense, so there is nothing to recommend."
