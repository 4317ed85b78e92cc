"""After tuning: which winner the given model itself can bear, and that model repaired with it."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from results.intervals import wilson
from results.judging import confirmed
from results.selection import REPAIRED, Winner, winners
from results.words import last_line
from sweep.config import Sweep
from trials import catalog
from trials.bench import Bench, Defender
from trials.checkpoints import save_weights
from trials.games._frozen import repaired
from trials.kinds import View
from trials.metrics import accuracy
from trials.spec import Choice, Record, SpecError, Trial
from trials.splits import cut


def choose(sweep: Sweep, records: list[Record], bench: Bench) -> tuple[Winner, list[dict[str, Any]]]:
    """The best winner that keeps the given model's own clean accuracy within Δ, and those passed over for costing more.

    What a setting costs the given model needs no trigger to be measured: it is fitted on the fit images and measured on
    the select images. Where every winner costs too much, the least costly one is chosen.

    Raises:
        SpecError: no configuration was tuned to its end.
    """
    found = winners(records, sweep.rule)
    if not found:
        errors = [last_line(r.error) or "no traceback" for r in records if r.status == "failed"]
        raise SpecError(f"nothing could be tuned. First failure: {errors[0] if errors else 'none recorded'}")
    passed_over: list[dict[str, Any]] = []
    for winner in found:
        lab, (fit, select, _) = _lab(sweep, winner, bench)
        held = lab.view.trusted.take(select)
        before, after = accuracy(lab.view.model, held), accuracy(_repaired(sweep, winner, lab, fit), held)
        if before - after <= winner.delta + 1e-9:
            return winner, passed_over
        entry = {"defense": winner.defense, "cda_of_given_model": before, "cda_of_repaired_model": after}
        passed_over.append({**entry, "n": len(held)})
    costs = [p["cda_of_given_model"] - p["cda_of_repaired_model"] for p in passed_over]
    least = costs.index(min(costs))
    return found[least], passed_over[:least] + passed_over[least + 1 :]


def apply(
    sweep: Sweep, winner: Winner, passed_over: list[dict[str, Any]], records: list[Record], bench: Bench, out: Path
) -> dict[str, Any]:
    """Repair the given model with the winner, measure it on the report images, write weights and choice."""
    lab, (fit, select, report) = _lab(sweep, winner, bench)
    held = lab.view.trusted.take(report)
    model = _repaired(sweep, winner, lab, torch.cat([fit, select]))
    before, after, n = accuracy(lab.view.model, held), accuracy(model, held), len(held)
    save_weights(model, out / "repaired.safetensors")
    judged = confirmed(winner, records)
    told = judged or winner
    choice = {
        "defense": winner.defense,
        "settings": dict(winner.choice.params),
        "stop_at_step": winner.step,
        "rule": winner.rule,
        "delta": winner.delta,
        "expected": {
            "measured_on": "report images, which chose nothing" if judged else "select images, which chose the winner",
            "asr": told.eta,
            "asr_before": told.asr0,
            "asr_interval_95": list(told.interval) if told.interval else None,
            "cda": told.cda,
            "cda_before": told.cda0,
            "cda_interval_95": list(told.cda_interval) if told.cda_interval else None,
            "n_triggered": told.n_triggered,
            "n_clean": told.n_clean,
        },
        "this_model": {
            "measured_on": "report images",
            "cda_before": before,
            "cda": after,
            "cda_interval_95": list(wilson(after, n)),
            "n_clean": n,
        },
        "passed_over": passed_over,
    }
    (out / "choice.json").write_text(json.dumps(choice, indent=1) + "\n")
    verdict = "repaired with" if told.eta <= REPAIRED else "no defense repaired the planted backdoors; the best was"
    sentence = (
        f"{verdict} {winner.defense} for {winner.step} steps: the ASR of planted backdoors went from {told.asr0:.1%} "
        f"to {told.eta:.1%}, this model's clean accuracy on {n} report images from {before:.1%} to {after:.1%}."
    )
    if before - after > winner.delta + 1e-9:
        sentence += f" That is more than the {winner.delta:.0%} allowed: do not use it before you have tuned further."
    elif passed_over:
        names = ", ".join(str(p["defense"]) for p in passed_over)
        sentence += f" Passed over, because they cost this model more accuracy than allowed: {names}."
    return {**choice, "sentence": sentence}


def _lab(sweep: Sweep, winner: Winner, bench: Bench) -> tuple[Defender, tuple[Tensor, Tensor, Tensor]]:
    """The given model with the winner's defense, and the fit, select and report places of its trusted images."""
    trial = Trial(game=Choice("tuning"), victim=winner.victim, method=winner.choice, trusted=1.0, seed=sweep.seeds[0])
    lab = bench.defender(trial)
    return lab, cut(lab.view.trusted.y, 0, 1, lab.rng("split"))


def _repaired(sweep: Sweep, winner: Winner, lab: Defender, places: Tensor) -> nn.Module:
    """The given model after the winner's steps on the trusted images at ``places``."""
    every = int(catalog.resolve("games", Choice("tuning", sweep.tuning)).params["record_every"])
    view = View(lab.view.model, lab.view.trusted.take(places))
    return repaired(lab.repair if winner.step else None, view, lab.rng("repair", 0), every, winner.step)
