"""What the commands print: tables for people, JSON for programs."""

import json
from collections import Counter
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

from rich.text import Text

from results.report.recommendation import COPIES_ALONE
from results.selection.copies import doubts
from results.selection.fronts import fronts_of
from results.selection.labels import last_line
from results.selection.rules import RULES
from results.selection.understood import Understood
from results.selection.winners import Winner, overall, winners
from results.store import Store
from sweep.commands.rerun import Comparison
from sweep.commands.run import Ran
from sweep.console.grid import Grid
from sweep.console.terminal import Hanging, Plain, shown
from trials import catalog
from trials.spec import Record, SpecError

KINDS = [*catalog.KINDS, "rules"]  # of methods, for ``list``
SHOWN = 20  # differences that a table shows


def methods(kind: str, as_json: bool) -> None:
    """Print the methods of a kind, or of every kind."""
    if kind and kind not in KINDS:
        raise SpecError(catalog.unknown("kind", kind, KINDS))
    found = {k: _described(k) for k in ([kind] if kind else KINDS)}
    if as_json:
        print(json.dumps(found, indent=1))
        return
    console = Plain()
    for k, entries in found.items():
        console.print(f"[bold]{k}[/bold]")
        longest = max(map(len, entries), default=0)
        at = (
            longest + 4 if not kind and 2 * longest < console.width else 6
        )  # where the summaries stand
        for name, entry in entries.items():
            head = name.ljust(at - 4) if at > 6 else name
            console.print(
                Hanging(Text.assemble((head, "bold cyan"), f"  {shown(entry['summary'])}"), 2, at)
            )
            if kind and entry.get("source"):
                console.print(Hanging(Text(f"Source: {shown(entry['source'])}", "dim"), 6, 10))
            if kind and entry.get("needs"):
                text = f"Needs of a model: {', '.join(entry['needs'])}"
                console.print(Hanging(Text(text, "dim"), 6, 10))
            for setting in entry.get("settings", []) if kind else []:
                text = (
                    f"{setting['name']} = {setting['default']!r}  ({setting['accepts']})  "
                    f"{setting['doc']}"
                )
                console.print(Hanging(Text(shown(text)), 6, 10))


def _described(kind: str) -> dict[str, Any]:
    if kind == "rules":
        return {n: {"summary": (f.__doc__ or "").splitlines()[0]} for n, f in RULES.items()}
    entries = {}
    for name in catalog.names(kind):
        m = catalog.describe(kind, name)
        settings = [
            {"name": s.name, "default": s.default, "accepts": s.accepts, "doc": s.doc}
            for s in m.settings.values()
        ]
        entries[name] = {
            "summary": m.summary,
            "source": m.source,
            "deviation": m.deviation,
            "needs": sorted(m.needs),
            "compares": m.compares,
            "settings": settings,
        }
    return entries


def ran(sweep: str, done: Ran) -> None:
    """Say what a run did and what to do next."""
    p = done.progress
    number = p.done + p.failed + p.pruned
    parts = [
        f"sweep {sweep}: ran {number} trials ({p.failed} failed, {p.pruned} pruned), {p.stored} "
        "were in the store"
    ]
    if p.remote_done:
        parts.append(f", {p.remote_done} were run by other drivers")
    if p.worker_lost:
        parts.append(f"; {p.worker_lost} lost workers' trials were started again")
    print(f"{''.join(parts)}.")
    if p.failed:
        print(
            f"failures: poisonsweep status --sweep {sweep}; after mending, run again "
            "with --retry-failed."
        )
    elif done.failed:
        print("some stored trials have failed; --retry-failed runs them again.")
    for line in _to_mend(done.failed):
        print(line)
    print(f"next: poisonsweep best --sweep {sweep}, poisonsweep report --sweep {sweep}")


def _to_mend(failed: list[Record]) -> list[str]:
    """The errors that say what to do, such as those of a damaged artifact or a full disk, each
    once, with its count.
    """
    last = ("".join((r.error or "").strip().splitlines()[-1:]).partition(": ")[2] for r in failed)
    counts = Counter(line for line in last if "run again with --retry-failed" in line)
    return [f"{count} failed: {line}." for line, count in counts.items()]


def status(store: Store, name: str, as_json: bool) -> None:
    """Counts for one sweep or all, and the last line of each failure."""
    rows = store.sweeps()
    if name:
        rows = [row for row in rows if row.name == _name(store, name)]
    failures = list[dict[str, str]]()
    for row in rows:
        failed = store.records(row.name, status="failed") if row.failed else []
        failures += [_failure(row.name, r) for r in failed]
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


def _failure(sweep: str, record: Record) -> dict[str, str]:
    error = last_line(record.error) or "no traceback"
    return {"sweep": sweep, "trial": record.trial.id, "what": _what(record), "error": error}


def best(store: Store, name: str, rule: str, as_json: bool) -> None:
    """The winner of each defense, the overall one first."""
    records = _records(store, name)
    found = winners(records, rule)
    if not found:
        raise SpecError(
            "no finished configuration yet: run the sweep first ('poisonsweep status' shows how "
            "far it is)."
        )
    tops = {id(w) for w in overall(found)}
    said = {id(w): doubts(records, w.trial, w.delta) for w in found}
    if as_json:
        told = [
            {**_winner(w), "overall": id(w) in tops, "copies_doubted": said[id(w)]} for w in found
        ]
        print(json.dumps(told, indent=1))
        return
    console = Plain()
    console.print(
        f"η: ASR left on the select images of self-poisoned copies, by the rule {rule}.",
        highlight=False,
    )
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
        table.add(("* " if id(w) in tops else "  ") + w.defense, *row)
    console.print(table)
    for w in found:
        if id(w) in tops:
            settings = ", ".join(f"{k}={v}" for k, v in w.method.params.items())
            how = (
                f"stopped at step {w.step}: {settings}"
                if w.step
                else "step 0: nothing beats the model as it is"
            )
            console.print(Hanging(Text(shown(f"* {w.defense}, {how}")), 0, 2))
    if any(w.victim.training.name == "given" for w in found):
        said[id(found[0])] = (COPIES_ALONE, *said[id(found[0])])
    doubted = chain.from_iterable(said[id(w)] for w in found)
    for text in dict.fromkeys(doubted):
        console.print(f"warning: {text}", markup=False, highlight=False, soft_wrap=True)
    console.print("All settings: --json. The whole story: poisonsweep report.", highlight=False)


def front(store: Store, name: str, as_json: bool) -> None:
    """The front of each defense."""
    fronts = fronts_of(_records(store, name))
    if as_json:
        print(json.dumps(fronts, indent=1))
        return
    heads = ("defense", "victim", "r", "ASR", "CDA", "step", "settings")
    table = Grid(*heads, words={"settings"}, cut={"settings"})
    for defense, points in fronts.items():
        for p in points:
            settings = ", ".join(f"{k}={v}" for k, v in p["settings"].items())
            row = (f"{p['trusted']:g}", f"{p['asr']:.1%}", f"{p['cda']:.1%}", p["step"])
            table.add(defense, p["victim"][:6], *row, settings)
    console = Plain()
    console.print(table)
    console.print("All settings: --json.", highlight=False)


def report(store: Store, name: str, rule: str, out: Path) -> None:
    """Write the page and say where."""
    from results.report.page import write  # noqa: PLC0415  (plotly and pandas load slowly)

    records = _records(store, name)
    write(records, out, title=_name(store, name), rule=rule)
    print(shown(str(out.resolve())))


def export(store: Store, name: str, out: str, optuna: str, tensorboard: str, tables: str) -> None:
    """Write what was asked for and say where."""
    from results.export.frames import to_file  # noqa: PLC0415  (pandas loads slowly)
    from results.export.optuna_study import to_optuna  # noqa: PLC0415
    from results.export.tensorboard_logs import to_tensorboard  # noqa: PLC0415

    records = _records(store, name)
    if out:
        to_file(records, Path(out))
        print(shown(out))
    if optuna:
        to_optuna(records, Path(optuna))
        print(shown(optuna))
    if tensorboard:
        to_tensorboard(records, Path(tensorboard))
        print(shown(tensorboard))
    if tables:
        from results.export.all_tables import to_tables  # noqa: PLC0415

        for path in to_tables(records, Path(tables)):
            print(shown(str(path)))


def understood(seen: Understood, *, to_stderr: bool) -> None:
    """Say what was made of a given model and its images before anything is spent, and warn."""
    console = Plain(stderr=to_stderr)
    for text in seen.lines():
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    taken = "others mostly taken for"
    table = Grid("class", "images", "right", taken, words={"class", taken}, right=True)
    for c in seen.listed():
        table.add(c.name, c.images, f"{c.recall:.1%}", c.taken_for)
    console.print(table)
    if len(seen.listed()) < len(seen.classes):
        console.print(
            f"The {len(seen.listed())} of {len(seen.classes)} classes that it knows least.",
            highlight=False,
        )
    for text in seen.warnings:
        console.print(f"warning: {text}", markup=False, highlight=False, soft_wrap=True)


def defended(choice: dict[str, Any], as_json: bool) -> None:
    """Say what ``defend`` chose and wrote."""
    if as_json:
        print(json.dumps(choice, indent=1))
        return
    for text in (*choice["said"], *(f"- {note}" for note in choice["notes"]), *choice["files"]):
        print(shown(text))


def compared(c: Comparison, as_json: bool) -> None:
    """Say whether a trial that was run again gave what is stored, and what may be why not."""
    if as_json:
        print(json.dumps(c.as_json(), indent=1))
        return
    console = Plain()
    how = f"within {c.tolerance:g}" if c.tolerance else "bit for bit"
    what = f"status, {len(c.stored.metrics)} metrics, {len(c.stored.curve)} points of the curve"
    head = f"trial {c.stored.trial.id} ({_what(c.stored)})"
    if not c.differences:
        console.print(
            f"{head}: equal {how}: {what}.", markup=False, highlight=False, soft_wrap=True
        )
        return
    console.print(f"{head}: not equal {how}.", markup=False, highlight=False, soft_wrap=True)
    table = Grid("what", "stored", "now", words={"what", "stored", "now"})
    for d in c.differences[:SHOWN]:
        table.add(d.what, d.stored, d.now)
    if len(c.differences) > SHOWN:
        table.add(f"and {len(c.differences) - SHOWN} more (--json has them all)")
    for d in c.reasons:
        table.add(f"likely reason: {d.what}", d.stored, d.now)
    console.print(table)


def _winner(w: Winner) -> dict[str, Any]:
    plain = {
        k: getattr(w, k)
        for k in w.__slots__
        if k not in {"cell", "trial", "method", "interval", "cda_interval"}
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
    return store.records(_name(store, name))


def _name(store: Store, name: str) -> str:
    known = [row.name for row in store.sweeps()]
    if not known:
        raise SpecError("the store has no sweep yet: poisonsweep run SPEC.toml makes one.")
    if name and name not in known:
        raise SpecError(catalog.unknown("sweep", name, known))
    return name or known[-1]


def _what(record: Record) -> str:
    trial = record.trial
    return f"{trial.game.name} {trial.method or trial.victim.dataset.name}"
