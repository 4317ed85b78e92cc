"""A set of images of unknown origin in, and what is kept of it out: data filters are set by poison
of the defender's own, the one that finds it and takes the fewest clean images is chosen, and a
model is trained on what it keeps.
"""

import csv
import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from results.report.page import write
from results.selection.filter_winner import FilterWinner, filter_winners
from results.selection.labels import settings
from results.selection.own_pairs import PairTaken, pair_taken
from results.stats.intervals import wilson
from results.store import Store
from sweep.commands import filter_repair, outputs
from sweep.commands.filter_order import FilterOrder
from sweep.commands.filter_reasons import reasons
from sweep.commands.filter_verdict import said_of
from sweep.console.progress import ConsoleProgress
from sweep.execution import runner
from sweep.execution.executor import Engine
from sweep.execution.progress import Aborted
from sweep.execution.worker import make_runtime
from sweep.planning import filtering
from sweep.planning.stages import made_first
from sweep.planning.strategy import ListStrategy, Strategy
from sweep.spec.sweep_file import Sweep
from trials.provenance import of_code
from trials.spec import RECALL, Filtering, Record, Victim
from trials.weights.files import save_weights
from trials.whole import whole


def carry_out(
    order: FilterOrder, reporter: ConsoleProgress | None = None, *, retry_failed: bool = False
) -> dict[str, Any]:
    """Do what ``prepare`` has checked; returns what ``choice.json`` holds, and the files."""
    sweep, out, run = order.sweep, order.out, outputs.run_of(order.sweep)
    moved_to = outputs.settle(out, sweep, run, outputs.earlier(out))
    lines = [f"what another run left in {out} is in {moved_to} now"] if moved_to else []
    if reporter:
        for line in (*lines, *order.left_out):
            reporter.say(line)
    with Store.open(order.url) as opened:
        store = opened.patient(sweep.compute.outage, reporter.say if reporter else None)
        stopped = _tried(order, store, reporter, retry_failed)
        engine = Engine(use_ray=order.use_ray, spread=True)
        running = runner.SweepRun(sweep, store, order.worker_config, engine, reporter)
        winners = filter_winners(store.records(sweep.name))
        if winners and order.repair:
            try:
                runner.run_stages(filter_repair.stages(sweep, winners), running)
            except Aborted as problem:  # the filter's answer stands without a repair
                stopped = stopped or str(problem)
        taken = pair_taken(store.records(sweep.name)) if order.repair else None
        best = _victim(taken.pair.record if taken else winners[0].scored) if winners else None
        if best and order.retrain:
            last = ListStrategy("a model of what is kept", filtering.trainings([best]))
            runner.run_stages(iter([[last]]), running)
        records = store.records(sweep.name)
    winners = filter_winners(records)
    chosen = next((w for w in winners if best and w.scored.trial.victim.id == best.id), None)
    facts = _facts(order, chosen, winners, stopped) | {"run": run, "made_by": of_code()}
    files = _written(order, chosen)
    (out / outputs.WEIGHTS).unlink(missing_ok=True)
    if chosen and order.repair:
        files += _repaired(order, taken, chosen, facts)
    (out / outputs.CHOICE).write_text(json.dumps(facts, indent=1) + "\n")
    page = write(records, out / outputs.REPORT, title=order.title, rule=sweep.rule)
    told = [*files, out / outputs.CHOICE, page]
    return {**facts, "files": list(map(str, told)), "set_aside": str(moved_to or "") or None}


def in_turn(sweep: Sweep, minutes: float) -> Iterator[list[Strategy]]:
    """The model of all rows, that of the set with the defender's poison, then the filters' first
    settings, one after the other, and their others, until the time is up: it begins once the models
    are there, and the first filter always has its turn.
    """
    victims = list(chain.from_iterable(filtering.filtered(sweep, f) for f in sweep.filters))
    yield from made_first(sweep)
    yield [ListStrategy("the training set with the defender's poison", filtering.own_sets(victims))]
    first, rest = filtering.first_and_rest(filtering.scorings(victims))
    ends = time.monotonic() + 60 * minutes
    for place, trial in enumerate((*first, *rest)):
        if place and time.monotonic() > ends:
            return
        yield [ListStrategy("filters in turn", [trial])]


def _tried(
    order: FilterOrder, store: Store, reporter: ConsoleProgress | None, retry_failed: bool
) -> str:
    """Try the filters; why that ended before all of it had run, or nothing."""
    if reporter and not math.isinf(order.minutes):
        reporter.say(
            f"filters are tried in turn, for at most {order.minutes:g} minutes; --minutes changes "
            "that"
        )
    try:
        runner.execute(
            order.sweep,
            store,
            order.worker_config,
            use_ray=order.use_ray,
            reporter=reporter,
            retry_failed=retry_failed,
            replace_sweep=True,
            planned=lambda sweep, _: in_turn(sweep, order.minutes),
            spread=True,
        )
    except Aborted as problem:  # what had finished by then is told all the same
        return str(problem)
    return ""


def _conformal(chosen: FilterWinner) -> float | None:
    """The share that is found of poison like the defender's, on average, before one filter of many
    was chosen; None where the threshold is another, or a class's cap may keep rows above it.
    """
    filtering = chosen.scored.trial.victim.filter
    whole = filtering is not None and filtering.reject == RECALL
    capped = bool(filtering and filtering.threshold.get("quota"))
    return chosen.wanted if whole and not capped else None


def _facts(
    order: FilterOrder, chosen: FilterWinner | None, winners: Sequence[FilterWinner], stopped: str
) -> dict[str, Any]:
    facts: dict[str, Any] = {**said_of(chosen, stopped), "images": len(order.paths)}
    if chosen is None:
        return facts
    scored, method = chosen.scored.metrics, chosen.scored.trial.victim.filter
    assert method is not None
    tensors, _ = make_runtime(order.worker_config).artifacts.load(chosen.scored.trial.id)
    gone = Counter(order.labels[i] for i in (~tensors["kept"]).nonzero().flatten().tolist())
    sizes = Counter(order.labels)
    n_held = int(scored["n_held"])
    kinds = chosen.attacks
    facts |= {
        "left_out": list(order.left_out),
        "filter": method.method.name,
        "settings": dict(method.method.params),
        "reject": method.reject,
        "threshold": dict(chosen.scored.trial.game.params),
        "removed": sum(gone.values()),
        "removed_by_class": {
            name: {"removed": gone[k], "of": sizes[k]} for k, name in enumerate(order.names)
        },
        "estimated_poison": chosen.poisoned,
        "sure": {
            "conformal_recall": _conformal(chosen),
            "own_attacks": {
                kind: {
                    "rows": int(scored[f"own_m/{kind}"]),
                    "images": int(scored.get(f"own_images/{kind}", scored[f"own_m/{kind}"])),
                    "shifted_copies": int(scored.get(f"own_restamped/{kind}", 0)),
                    "drawn_again": int(scored.get(f"own_redrawn/{kind}", 0)),
                    "asr_when_trained_on": scored[f"own_learned/{kind}"],
                    "found": scored[f"own_recall/{kind}"],
                }
                for kind in kinds
            },
            "clean_removed": chosen.fpr,
            "clean_removed_interval_95": list(wilson(chosen.fpr, n_held)),
        },
        "tried": [_tried_one(w) for w in winners],
    }
    if chosen.trained and chosen.cost is not None:
        after = chosen.trained.metrics
        facts["this_set"] = {
            "measured_on": "trusted images held back",
            "n_clean": n_held,
            "cda_before": after["cda_held_before"],
            "cda": after["cda_held"],
            "cda_interval_95": list(wilson(after["cda_held"], n_held)),
            "own_asr": {kind: after[f"own_asr/{kind}"] for kind in kinds},
            "own_asr_before": {kind: after[f"own_asr_before/{kind}"] for kind in kinds},
        }
    return facts


def _tried_one(winner: FilterWinner) -> dict[str, Any]:
    method = winner.scored.trial.victim.filter
    assert method is not None
    return {
        "filter": method.method.name,
        "settings": settings(method.method),
        "reject": method.reject,
        "found_at_least": winner.recall,
        "clean_removed": winner.fpr,
        "removed": winner.scored.metrics["removed"],
    }


def _written(order: FilterOrder, chosen: FilterWinner | None) -> list[Path]:
    """Write the scores, the paths of what is kept, and the weights of the model trained on it."""
    out, names = order.out, (outputs.SCORES, outputs.KEPT, outputs.RETRAINED)
    if chosen is None:
        for name in names:
            (out / name).unlink(missing_ok=True)
        return []
    runtime = make_runtime(order.worker_config)
    tensors, _ = runtime.artifacts.load(chosen.scored.trial.id)
    scores, kept = tensors["scores"][: len(order.paths)], tensors["kept"]
    filtering = chosen.scored.trial.victim.filter
    assert filtering is not None
    _scores(order, scores, kept, filtering)
    lines = (f"{p}\n" for p, is_kept in zip(order.paths, kept.tolist(), strict=True) if is_kept)
    with whole(out / outputs.KEPT) as part:
        part.write_text("".join(lines), encoding="utf-8", errors="surrogateescape")
    written = [out / outputs.SCORES, out / outputs.KEPT]
    if chosen.trained is None:
        (out / outputs.RETRAINED).unlink(missing_ok=True)
        return written
    save_weights(runtime.trained(_victim(chosen.trained)), out / outputs.RETRAINED)
    return [*written, out / outputs.RETRAINED]


def _repaired(
    order: FilterOrder, taken: PairTaken | None, chosen: FilterWinner, facts: dict[str, Any]
) -> list[Path]:
    """Repair the last model, add to ``facts`` what came of it, and write its weights."""
    runtime = make_runtime(order.worker_config)
    found = filter_repair.repair_of(taken, chosen.trained is not None, runtime)
    facts |= {"repair": found.facts, "notes": [*facts["notes"], *found.said]}
    if found.model is None:
        return []
    save_weights(found.model, order.out / outputs.WEIGHTS)
    return [order.out / outputs.WEIGHTS]


def _victim(record: Record) -> Victim:
    return record.trial.victim


def _scores(
    order: FilterOrder, scores: torch.Tensor, kept: torch.Tensor, filtering: Filtering
) -> None:
    """The table of all images."""
    rows = (order.paths, order.labels, scores.tolist(), kept.tolist())
    why = reasons(rows[2], rows[1], rows[3], filtering)
    with (
        whole(order.out / outputs.SCORES) as part,
        part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as stream,
    ):
        table = csv.writer(stream)
        table.writerow(["path", "class", "score", "kept", "reason"])
        for path, label, score, is_kept, reason in zip(*rows, why, strict=True):
            table.writerow([path, order.names[label], f"{score:.6g}", is_kept, reason])
