"""After tuning: which winner the given model itself can bear, and that model repaired with it."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from results.report import verdicts
from results.report.own_accuracy import Own
from results.report.recommendation import answer
from results.report.verdicts import Applied, Passed
from results.selection.confirmation import confirmed
from results.selection.copies import doubts, unplanted
from results.selection.trigger_kinds import by_kind, costs_given, real_asr
from results.selection.understood import Understood
from results.selection.winners import Winner, winners
from results.stats.intervals import wilson
from sweep.commands import repaired_files
from sweep.commands.outputs import CHOICE, run_of
from sweep.commands.own_measured import own_of
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.games._frozen import repaired
from trials.metrics import accuracy
from trials.provenance import of_code
from trials.runtime import DefenderContext, TrialRuntime
from trials.spec import MethodConfig, Record, Trial
from trials.splits import cut
from trials.types import DefenderView


@dataclass(frozen=True, slots=True)
class Chosen:
    """The winner to apply, None where nothing could be tuned, and those passed over with what they
    cost the model.
    """

    winner: Winner | None
    passed_over: Sequence[dict[str, Any]] = ()


def choose(
    sweep: Sweep,
    records: list[Record],
    runtime: TrialRuntime,
    diverged: Sequence[dict[str, Any]] = (),
) -> Chosen:
    """The best winner that keeps the given model's own clean accuracy within Δ, and those passed
    over for costing more.

    What a setting costs the given model needs no trigger to be measured: it is fitted on the fit
    images and measured on the select images, here where tuning has not done so. Where every winner
    costs too much, the least costly one is chosen. ``diverged`` has what is known of winners that
    broke the model, which are not tried again.
    """
    passed_over = list(diverged)
    broken = {entry["defense"] for entry in diverged}
    dear: list[tuple[float, Winner]] = []
    for winner in (w for w in winners(records, sweep.rule) if w.defense not in broken):
        entry = _tuned(winner) if costs_given(winner) else _cost(sweep, winner, runtime)
        if entry["cost"] is not None:
            if entry["cost"] <= winner.delta + 1e-9:
                return Chosen(winner, passed_over)
            dear.append((entry["cost"], winner))
        passed_over.append(entry)
    if not dear:
        return Chosen(None, passed_over)
    least = min(dear, key=lambda cost: cost[0])[1]
    return Chosen(least, [p for p in passed_over if p["defense"] != least.defense])


def _tuned(winner: Winner) -> dict[str, Any]:
    """What the winner costs the given model, as tuning measured it."""
    return {
        "defense": winner.defense,
        "eta": winner.eta,
        "cda_of_given_model": winner.cda0,
        "n": winner.n_clean,
        "cda_of_repaired_model": winner.cda,
        "cost": winner.cda_loss,
    }


def _cost(sweep: Sweep, winner: Winner, runtime: TrialRuntime) -> dict[str, Any]:
    """The same, measured here; None where it breaks the model."""
    ctx, (fit, select, _) = _ctx(sweep, winner, runtime)
    held = ctx.view.trusted.take(select)
    before = accuracy(ctx.view.model, held)
    entry = {
        "defense": winner.defense,
        "eta": winner.eta,
        "cda_of_given_model": before,
        "n": len(held),
    }
    try:
        after = accuracy(_repaired(sweep, winner, ctx, fit), held)
    except ArithmeticError as problem:
        return {**entry, "cost": None, "error": str(problem)}
    return {**entry, "cda_of_repaired_model": after, "cost": before - after}


def apply(
    sweep: Sweep,
    chosen: Chosen,
    records: list[Record],
    runtime: TrialRuntime,
    out: Path,
    understood: Understood | None = None,
    stopped: str = "",
) -> tuple[dict[str, Any], Applied]:
    """Repair the given model with the winner, measure it on the report images, write weights and
    choice.

    Weights are written only where the model was changed.

    Returns:
        What ``choice.json`` holds, and what the page needs.
    """
    winner, own, model = chosen.winner, None, None
    if winner is not None:
        ctx, (fit, select, report) = _ctx(sweep, winner, runtime)
        held = ctx.view.trusted.take(report)
        try:
            model = _repaired(sweep, winner, ctx, torch.cat([fit, select]))
            own = own_of(ctx.view.model, model, held, mirrored=_tuning(sweep)["mirrored"])
        except ArithmeticError as problem:  # on more images than it was chosen with
            entry = {
                "defense": winner.defense,
                "eta": winner.eta,
                "cost": None,
                "error": str(problem),
            }
            diverged = [p for p in chosen.passed_over if p["cost"] is None]
            next_best = choose(sweep, records, runtime, [*diverged, entry])
            return apply(sweep, next_best, records, runtime, out, understood, stopped)
    passed = tuple(
        Passed(defense=p["defense"], eta=p["eta"], cost=p["cost"]) for p in chosen.passed_over
    )
    asked = tuple(d.name for d in sweep.defenses)
    applied = Applied(
        winner=winner,
        own=own,
        passed_over=passed,
        asked=asked,
        understood=understood,
        stopped=stopped,
    )
    weights: Path | None = None
    seen = confirmed(winner, records) or winner if winner else None
    if model is None or verdicts.left_alone(winner, seen):
        repaired_files.remove(out)
    elif winner:
        weights = repaired_files.write(model, winner.victim, runtime, out)
    choice = {
        **_said(sweep, applied, records),
        "trials": {"done": 0, "failed": 0, **Counter(r.status for r in records)},
        "run": run_of(sweep),
        "made_by": of_code(),
        "model_sha256": understood.model_sha256 if understood else None,
        "images_sha256": understood.images_sha256 if understood else None,
        "repaired_sha256": _digest(weights) if weights else None,
        **(_numbers(winner, own, records) if winner and own else {}),
        "passed_over": list(chosen.passed_over),
        "understood": understood.as_json() if understood else None,
    }
    (out / CHOICE).write_text(json.dumps(choice, indent=1) + "\n")
    return choice, applied


def _said(sweep: Sweep, applied: Applied, records: list[Record]) -> dict[str, Any]:
    """The verdict, and what is said of it, as the page says it too."""
    told = answer("", winners(records, sweep.rule), records, applied)
    if told is None or applied.winner is None:
        given = verdicts.verdict_of(applied, None, records)
        notes = verdicts.notes(given, applied, None, records)
        verdict, said = str(given), [verdicts.headline(given, applied, None)]
        copies = unplanted(records)
    else:
        verdict, said, notes = (
            str(told.verdict),
            [told.headline, *told.sentences],
            list(told.cautions),
        )
        copies = doubts(records, applied.winner.trial, applied.winner.delta)
    warned = list(applied.understood.warnings) if applied.understood else []
    return {
        "verdict": verdict,
        "exit_code": 0 if verdict == "repaired" else verdicts.NOT_REPAIRED,
        "sentence": " ".join([*said, *notes]),
        "said": said,
        "notes": notes,
        "copies": list(copies),
        "warnings": warned,
        "defenses": {
            f.defense: {"done": f.done, "failed": f.failed, **({"why": f.why} if f.failed else {})}
            for f in verdicts.fates(records, applied.asked)
        },
    }


def _numbers(winner: Winner, own: Own, records: list[Record]) -> dict[str, Any]:
    judged = confirmed(winner, records)
    told = judged or winner
    real = real_asr(winner, told)
    return {
        "defense": winner.defense,
        "settings": dict(winner.method.params),
        "stop_at_step": winner.step,
        "rule": winner.rule,
        "delta": winner.delta,
        "expected": {
            "measured_on": "report images, which chose nothing"
            if judged
            else "select images, which chose the winner",
            "asr": told.eta,
            "asr_before": told.asr0,
            "asr_interval_95": list(told.interval) if told.interval else None,
            "cda": told.cda,
            "cda_before": told.cda0,
            "cda_interval_95": list(told.cda_interval) if told.cda_interval else None,
            "n_triggered": told.n_triggered,
            "n_clean": told.n_clean,
            "by_kind": {
                one.kind: {
                    "asr_before": one.before,
                    "asr": one.asr,
                    "asr_interval_95": list(one.interval) if one.interval else None,
                    "n_triggered": one.n_triggered,
                }
                for one in by_kind(winner, told)
            },
            "reconstructed_asr": told.reconstructed,
            "reconstructed_asr_before": told.reconstructed0,
            "retuned_asr": judged.retuned if judged else None,
            "path_share": judged.path_share if judged else None,
            "real_asr_interval_90": list(real.interval) if real else None,
            "real_asr_pairs": {"n": real.pairs, "victims": real.victims} if real else None,
        },
        "this_model": {
            "measured_on": "report images",
            "cda_before": own.before,
            "cda": own.after,
            "cda_interval_95": list(wilson(own.after, own.n)),
            "cost": own.cost,
            "cost_interval_95": list(own.cost_interval),
            "mirrored": own.mirrored,
            "n_clean": own.n,
        },
    }


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _ctx(
    sweep: Sweep, winner: Winner, runtime: TrialRuntime
) -> tuple[DefenderContext, tuple[Tensor, Tensor, Tensor]]:
    """The given model with the winner's defense, and the fit, select and report places of its
    trusted images.
    """
    trial = Trial(
        game=MethodConfig("tuning"),
        victim=winner.victim,
        method=winner.method,
        trusted=1.0,
        seed=sweep.seeds[0],
    )
    ctx = runtime.defender(trial)
    return ctx, cut(ctx.view.trusted.y, 0, 1, ctx.rng("split"))


def _repaired(sweep: Sweep, winner: Winner, ctx: DefenderContext, places: Tensor) -> nn.Module:
    """The given model after the winner's steps on the trusted images at ``places``."""
    every = int(_tuning(sweep)["record_every"])
    view = DefenderView(ctx.view.model, ctx.view.trusted.take(places))
    return repaired(
        ctx.repair if winner.step else None, view, ctx.rng("repair", 0), every, winner.step
    )


def _tuning(sweep: Sweep) -> Mapping[str, Any]:
    return catalog.resolve("games", MethodConfig("tuning", sweep.tuning)).params
