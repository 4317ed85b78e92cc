"""What measuring costs in a trial, ours beside a naive way, on the same repairs in the same run.

    python -m benchmarks.evaluation [--steps N]

A few configurations are run on self-poisoned copies; each time a point is recorded (every 50
steps), the same models are measured twice. Ours: the select images, stamped once, batches of 512,
inference mode. Naive: the whole trusted set, stamped anew, batches of 64, gradients on. The two
must give the same ASR and CDA on the select images, and so select the same point. On digits; on
CIFAR-10 too (width 16, a short training) where POISONSWEEP_DATA names its folder. Writes
benchmarks/results/evaluation.json.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks._shared import digits, must, parsed, runtime_of, trial_of, width, write
from sweep.spec import sweep_file
from sweep.spec.sweep_file import Sweep
from trials.dependencies import copy_of
from trials.games._copy_set import CopySet
from trials.run import run
from trials.runtime import DefenderContext, TrialRuntime
from trials.spec import MethodConfig, Trial
from trials.train import to_float
from trials.types import Copy

EVERY = 50
DELTA = 0.02
LR = {"fine_tuning": 0.02, "weight_decay": 0.03, "pivotal_tuning": 0.02}


@dataclass
class Side:
    """Seconds spent measuring, and (ASR, CDA) by (configuration, step)."""

    seconds: float = 0.0
    points: dict[tuple[str, int], tuple[float, float]] = field(default_factory=dict)

    def selected(self) -> tuple[str, int]:
        """Lowest ASR within Δ of the start; ties to the higher CDA, then to fewer steps."""
        start = next(iter(self.points.values()))[1]
        within = {k: v for k, v in self.points.items() if v[1] >= start - DELTA - 1e-9}
        return min(within, key=lambda k: (within[k][0], -within[k][1], k[1]))


def naive(model: nn.Module, x: Tensor) -> Tensor:
    """Predictions in batches of 64, with everything that a backward pass would need."""
    model.eval()
    return torch.cat([model(to_float(x[i : i + 64])).argmax(1) for i in range(0, len(x), 64)])


def naive_rates(
    ctx: DefenderContext, copies: list[Copy], models: list[nn.Module]
) -> tuple[float, float]:
    """Mean ASR and CDA on the select images, read from a pass over all trusted images, stamped
    anew.
    """
    trusted, asrs, cdas = ctx.view.trusted, [], []
    for copy, model in zip(copies, models, strict=True):
        clean = naive(model, trusted.x) == trusted.y
        hit = (
            naive(model, copy.goal.trigger(trusted.x, torch.arange(len(trusted))))
            == copy.goal.target
        )
        cdas.append(float(clean[copy.select].double().mean()))
        others = copy.select[trusted.y[copy.select] != copy.goal.target]
        asrs.append(float(hit[others].double().mean()))
    return sum(asrs) / len(asrs), sum(cdas) / len(cdas)


def compare(runtime: TrialRuntime, trials: list[Trial]) -> dict[str, Any]:
    """Both sides over all trials; repairs are run once."""
    ours, theirs, repairing = Side(), Side(), 0.0
    for trial in trials:
        assert trial.method is not None
        for i in range(int(trial.game.params["copies"])):
            planted = copy_of(trial, i)
            if not runtime.artifacts.has(planted.id):
                must(run(planted, runtime))
        ctx = runtime.defender(trial)
        copies = [ctx.copy(i) for i in range(int(trial.game.params["copies"]))]
        for model in (c.model for c in copies):
            model.requires_grad_(True)  # as a naive caller has it
        began = time.perf_counter()
        panel = CopySet(ctx, len(copies), "select")
        ours.seconds += time.perf_counter() - began
        stages = panel.repairs(EVERY)
        step, models = 0, [c.model for c in copies]
        while True:
            key = (trial.method.name, step)
            began = time.perf_counter()
            point = panel.measure(step, models)
            middle = time.perf_counter()
            theirs.points[key] = naive_rates(ctx, copies, models)
            after = time.perf_counter()
            ours.points[key] = (point.asr, point.cda)
            ours.seconds += middle - began
            theirs.seconds += after - middle
            following = next(stages, None)
            repairing += time.perf_counter() - after
            if following is None:
                break
            step, models = following
    differences: list[float] = []
    for at, measured in ours.points.items():
        differences += [abs(a - b) for a, b in zip(measured, theirs.points[at], strict=True)]
    largest = max(differences)
    return {
        "points": len(ours.points),
        "repair_seconds": round(repairing, 2),
        "ours_seconds": round(ours.seconds, 3),
        "naive_seconds": round(theirs.seconds, 3),
        "ours_share": round(ours.seconds / (ours.seconds + repairing), 4),
        "naive_share": round(theirs.seconds / (theirs.seconds + repairing), 4),
        "largest_difference": largest,
        "ours_selects": list(ours.selected()),
        "naive_selects": list(theirs.selected()),
        "same_point": ours.selected() == theirs.selected(),
    }


def cifar10(root: str) -> Sweep:
    """A short training of width 16 and a quick self-poisoning: enough for an ASR that moves."""
    return sweep_file.parse(
        {
            "trusted": 0.05,
            "victim": {
                "dataset": {"name": "cifar10", "root": str(Path(root).resolve() / "cifar10")},
                "model": {"name": "resnet18", "width": 16},
                "training": {"name": "fast", "epochs": 2, "batch": 128, "peak": 0.1},
                "reserve": 0.85,  # trained on 7,500 images
                "attacks": [{"name": "badnets", "m": 500}],
            },
            "tuning": {"copies": 1},
            "self_poisoning": {
                "scheme": "labels",
                "batch": 128,
                "steps": 300,
                "rounds": 2,
                "share": 0.3,
                "reach": 0.7,
            },
            "defenses": [{"name": "none"}],
        },
        "evaluation",
    )


def trials(sweep: Sweep, steps: int, batch: int) -> list[Trial]:
    return [
        trial_of(
            sweep,
            MethodConfig(name, {"steps": steps, "batch": batch, "lr": lr}),
            record_every=EVERY,
        )
        for name, lr in LR.items()
    ]


def main() -> int:
    """Measure, print, write the figures; 1 if the sides select different points."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument(
        "--steps", type=int, default=200, help="optimizer steps of each configuration"
    )
    asked = parsed(words, steps=EVERY)
    torch.set_num_threads(1)
    sweep = digits(tiny=asked.tiny)
    sweeps = {f"digits, width {width(sweep)}, batch 32": (sweep, 32)}
    if asked.tiny:
        print("a tiny run: digits only")
    elif data := os.environ.get("POISONSWEEP_DATA"):
        sweeps["CIFAR-10, width 16, batch 64"] = (cifar10(data), 64)
    else:
        print("POISONSWEEP_DATA is not set: digits only")
    found = {}
    for name, (sweep, batch) in sweeps.items():
        with tempfile.TemporaryDirectory() as folder:
            row = found[name] = compare(
                runtime_of(sweep, folder), trials(sweep, asked.steps, batch)
            )
        print(
            f"{name}: measuring takes {row['ours_share']:.1%} of a trial's time, naively "
            f"{row['naive_share']:.1%};"
        )
        same = "the same point" if row["same_point"] else "DIFFERENT points"
        print(f"  both select {same}: {row['ours_selects']}", flush=True)
        write(
            "evaluation",
            {"record_every": EVERY, "steps": asked.steps, "aim_share": 0.3, "sets": found},
            tiny=asked.tiny,
        )
    return 0 if all(r["same_point"] for r in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
