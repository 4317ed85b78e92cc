"""What is in a store: tables for people, JSON for programs."""

import gc
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from rich.text import Text

from results.report.recommendation import of_given
from results.report.rivals import behind
from results.selection.contenders import rule_of, stored_winners
from results.selection.copies import doubts
from results.selection.labels import last_line
from results.selection.task_names import names, natural
from results.selection.trigger_kinds import AGREE, by_kind
from results.selection.winners import Winner, by_task, overall
from results.store import Store
from results.store.bulk import uncollected
from results.store.queries import Failure, SweepRow
from sweep.cli.run_views import trial_label
from sweep.console.grid import Grid
from sweep.console.terminal import Hanging, Plain, shown
from trials import catalog
from trials.spec import Record, SpecError

_NOTHING = (
    "no finished configuration yet: run the sweep first ('poisonsweep status' shows how far it is)."
)


def status(store: Store, name: str, as_json: bool) -> None:
    """Counts for one sweep or all, and the last line of each failure."""
    rows = store.sweeps()
    if name:
        rows = [_row(rows, name)]
    failures = list[dict[str, str]]()
    for row in rows:
        failed = store.failures(row.name) if row.failed else []
        failures += [_failure(row.name, f) for f in failed]
    if as_json:
        print(
            json.dumps(
                {"sweeps": [asdict(row) for row in rows], "failures": failures},
                indent=1,
                default=str,
            )
        )
        return
    table = Grid("sweep", "trials", "done", "failed", "pruned", "created (UTC)", words={"sweep"})
    for row in rows:
        table.add(
            row.name,
            row.trials,
            row.done,
            row.failed,
            row.pruned,
            row.created[:16].replace("T", " "),
        )
    console = Plain()
    console.print(table)
    for f in failures:
        console.print(
            f"failed {f['trial']} {f['what']}: {f['error']}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _failure(sweep: str, failed: Failure) -> dict[str, str]:
    error, trial = last_line(failed.error) or "no traceback", failed.trial
    return {"sweep": sweep, "trial": trial.id, "what": trial_label(trial), "error": error}


def best(store: Store, name: str, rule: str, as_json: bool) -> None:
    """The winner of each defense, the overall one first."""
    row = _row(store.sweeps(), name)
    sweep, rule = row.name, rule or rule_of(row)
    found = stored_winners(store, sweep, rule)
    if not found and _without_defenses(_records(store, name), as_json):
        return
    if not found:
        raise SpecError(_NOTHING)
    named = names({w.task: w.trial for w in found})
    found.sort(key=lambda w: natural(named[w.task]))  # within a task the best stays first
    tops = {id(w) for w in overall(found)}
    copies = store.records(sweep, "self_poison")
    said = {id(w): doubts(copies, w.trial, w.delta) for w in found}
    if as_json:
        told = [
            {
                **_winner(w),
                "task": named[w.task],
                "overall": id(w) in tops,
                "copies_doubted": said[id(w)],
            }
            for w in found
        ]
        print(json.dumps(told, indent=1))
        return
    console = Plain()
    console.print(
        f"η: ASR left on the select images of self-poisoned copies, by the rule {rule}.",
        highlight=False,
    )
    for of_task in by_task(found).values():
        if task := named[of_task[0].task]:
            console.print(Hanging(Text(shown(f"{task}:")), 0, 2))
        _print_winners(console, of_task)
        for line in behind(of_task[0], of_task):
            console.print(Hanging(Text(line), 0, 2))
    doubted = chain.from_iterable((*of_given(w), *said[id(w)]) for w in found)
    for text in dict.fromkeys(doubted):
        console.print(f"warning: {text}", markup=False, highlight=False, soft_wrap=True)
    console.print("All settings: --json. The whole story: poisonsweep report.", highlight=False)


def _without_defenses(records: list[Record], as_json: bool) -> bool:
    """Print the best of a sweep that runs no defense; False where it is no such sweep."""
    from results.comparison.filtered_sets import filtered_sets  # noqa: PLC0415  (plotly and pandas)
    from results.comparison.targeted_success import targeted_success  # noqa: PLC0415
    from sweep.cli import filter_views, targeted_views  # noqa: PLC0415

    if targeted := targeted_success(records):
        targeted_views.best(targeted, as_json, records)
    elif filtered := filtered_sets(records):
        filter_views.best(filtered, as_json, records)
    else:
        return False
    return True


def _front_without_asr(records: list[Record], as_json: bool) -> bool:
    """Print the front of a sweep whose attacks have no trigger; False where it is no such sweep."""
    from results.comparison.targeted_success import targeted_success  # noqa: PLC0415
    from sweep.cli import targeted_views  # noqa: PLC0415

    found = targeted_success(records)
    if found:
        targeted_views.front(found, as_json)
    return bool(found)


def _print_winners(console: Plain, found: Sequence[Winner]) -> None:
    """The winner of each defense in one task, the overall one marked and told of."""
    (top,) = overall(found)
    table = Grid("defense", "η (95 %)", "n", "CDA", "loss", "step", "seeds", words={"defense"})
    for w in found:
        band = f" [{w.interval.low * 100:.0f}, {w.interval.high * 100:.0f}]" if w.interval else ""
        row = (
            f"{w.eta:.1%}{band}",
            w.n_triggered,
            f"{w.cda:.1%}",
            f"{w.cda_loss:+.1%}",
            w.step,
            w.n_seeds,
        )
        table.add(("* " if w is top else "  ") + w.defense, *row)
    console.print(table)
    settings = ", ".join(f"{k}={v}" for k, v in top.method.params.items())
    how = (
        f"stopped at step {top.step}: {settings}"
        if top.step
        else "step 0: nothing beats the model as it is"
    )
    console.print(Hanging(Text(shown(f"* {top.defense}, {how}")), 0, 2))
    _print_kinds(console, top)


def _print_kinds(console: Plain, w: Winner) -> None:
    """What the winner leaves of each kind of trigger, where the copies carried several."""
    if len(w.kinds) < AGREE:
        return
    heads = ("kind of trigger", "before", "ASR left (95 %)", "n")
    table = Grid(*heads, words={"kind of trigger"})
    for one in by_kind(w, w):
        band = f" [{one.interval.low:.0%}, {one.interval.high:.0%}]" if one.interval else ""
        table.add(one.kind, f"{one.before:.1%}", f"{one.asr:.1%}{band}", one.n_triggered)
    console.print(table)


def front(store: Store, name: str, as_json: bool) -> None:
    """The front of each defense."""
    from results.selection.fronts import fronts_of  # noqa: PLC0415  (moocore loads slowly)

    records = _records(store, name)
    fronts = fronts_of(records)
    if not fronts and _front_without_asr(records, as_json):
        return
    if not fronts:
        raise SpecError(_NOTHING)
    if as_json:
        print(json.dumps(fronts, indent=1))
        return
    console = Plain()
    tasks = {p["task"] for p in chain.from_iterable(fronts.values())}
    for task in sorted(tasks, key=natural):
        if task:
            console.print(Hanging(Text(shown(f"{task}:")), 0, 2))
        console.print(_points(fronts, task))
    console.print("All settings: --json.", highlight=False)


def _points(fronts: Mapping[str, Sequence[Mapping[str, Any]]], task: str) -> Grid:
    """The fronts' points on one task."""
    heads = ("defense", "ASR", "CDA", "step", "settings")
    table = Grid(*heads, words={"settings"}, cut={"settings"})
    for defense, points in fronts.items():
        for p in (p for p in points if p["task"] == task):
            settings = ", ".join(f"{k}={v}" for k, v in p["settings"].items())
            table.add(defense, f"{p['asr']:.1%}", f"{p['cda']:.1%}", p["step"], settings)
    return table


def report(store: Store, name: str, rule: str, out: Path) -> None:
    """Write the page and say where."""
    from results.report.page import write  # noqa: PLC0415  (plotly and pandas load slowly)

    row = _row(store.sweeps(), name)
    with uncollected():
        write(_records(store, name), out, title=row.name, rule=rule or rule_of(row))
        gc.freeze()  # the program ends here: nothing is gained by going through all once more
    print(shown(str(out.resolve())))


def export(
    store: Store, name: str, out: str, optuna: str, tensorboard: str, mlflow: str, tables: str
) -> None:
    """Write what was asked for and say where."""
    from results.export.frames import to_file  # noqa: PLC0415  (pandas loads slowly)
    from results.export.optuna_study import to_optuna  # noqa: PLC0415
    from results.export.tensorboard_logs import to_tensorboard  # noqa: PLC0415

    records = _records(store, name)
    if out:
        row = _row(store.sweeps(), name)
        to_file(records, Path(out), row.name, rule_of(row))
        print(shown(out))
    if optuna:
        to_optuna(records, Path(optuna))
        print(shown(optuna))
    if tensorboard:
        to_tensorboard(records, Path(tensorboard))
        print(shown(tensorboard))
    if mlflow:
        from results.export.mlflow_runs import to_mlflow, without_secrets  # noqa: PLC0415

        added = to_mlflow(records, mlflow, _name(store, name))
        where = shown(without_secrets(mlflow, mlflow))
        print(f"{added} of {len(records)} runs added to MLflow at {where}")
    if tables:
        from results.export.all_tables import to_tables  # noqa: PLC0415

        for path in to_tables(records, Path(tables), rule_of(_row(store.sweeps(), name))):
            print(shown(str(path)))


def _winner(w: Winner) -> dict[str, Any]:
    plain = {
        k: getattr(w, k)
        for k in w.__slots__
        if k not in {"task", "trial", "method", "interval", "cda_interval"}
    }
    bands = {k: i._asdict() if (i := getattr(w, k)) else None for k in ("interval", "cda_interval")}
    return {
        **plain,
        **bands,
        "cda_loss": w.cda_loss,
        "victim": w.victim.id,
        "settings": dict(w.method.params),
    }


def _records(store: Store, name: str) -> list[Record]:
    with uncollected():
        records = store.records(_name(store, name))
        gc.freeze()  # they stay to the end of the command
    return records


def _name(store: Store, name: str) -> str:
    return _row(store.sweeps(), name).name


def _row(rows: Sequence[SweepRow], name: str) -> SweepRow:
    """The sweep of that name, or the latest. Raises SpecError for an unknown one."""
    known = [row.name for row in rows]
    if not known:
        raise SpecError("the store has no sweep yet: poisonsweep run SPEC.toml makes one.")
    if name and name not in known:
        raise SpecError(catalog.unknown("sweep", name, known))
    return next(row for row in reversed(rows) if not name or row.name == name)
