"""Defenses at given settings on trained victims with a real attack: what each leaves, and what it
costs.

    python -m benchmarks.repairs --victim SWEEP.toml:0:FOLDER --defense fst --defense clp:most=0.1
    --seeds 1 2

A victim is a sweep's file, the place of one of its victims in it, and the folder of that victim's
weights.safetensors. Trusted images are drawn and cut as the robustness game does: four fifths
repair, one fifth (held out) is what the defender sees. A defense whose curve has many points gives
rows for the last point that costs at most 1, 2 and 3 points of CDA on the held-out images; all
others give one row, their end. CDA and ASR are the test set's, which chooses nothing. Adds its rows
to benchmarks/results/repairs.csv.
"""

import argparse
import csv
import functools
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks._shared import OUTPUT, TINY, digits, parsed, runtime_of, trial_of
from sweep.spec import sweep_file
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.metrics import accuracy, success
from trials.runtime import TrialRuntime, generator
from trials.spec import MethodConfig, Scalar
from trials.splits import cut
from trials.storage.artifacts import Artifacts
from trials.train import clone
from trials.types import Cases, DefenderView, Images

LOSSES = (0.01, 0.02, 0.03)  # of a curve, the last point that costs no more on held-out images
PATIENCE = 4  # points in a row beyond the greatest of them that end a run
KEY = ("victim", "attack", "defense", "settings", "seed", "within")


@dataclass(frozen=True)
class Victim:
    """A trained model, the images that repair it and those that judge it."""

    name: str
    attack: str
    model: nn.Module
    fit: Images
    held: Images
    test: Images
    triggered: Cases

    def measured(self, model: nn.Module) -> tuple[float, float]:
        """CDA and ASR on the test images."""
        return accuracy(model, self.test), success(model, self.triggered)

    @functools.cached_property
    def start(self) -> tuple[float, float, float]:
        """CDA and ASR on the test images, and CDA on the held-out ones, of the given model."""
        return *self.measured(self.model), accuracy(self.model, self.held)


def victim_of(
    name: str, sweep: Sweep, runtime: TrialRuntime, model: nn.Module, images: int
) -> Victim:
    """The sweep's first victim, measured on at most ``images`` clean test images and as many
    triggered ones.
    """
    victim = sweep.victims[0]
    trial = trial_of(sweep, MethodConfig("none"))
    ctx = runtime.evaluator(trial)
    trusted, test, poisoning = runtime.trusted(trial), ctx.test(), ctx.poisoning()
    fit, select, report = cut(trusted.y, 0, 1, ctx.rng("split"))
    cases = poisoning.implants[0].goal.cases(test)
    few = spread(len(cases), images)
    return Victim(
        name=name,
        attack=victim.attacks[0].name,
        model=model.eval().requires_grad_(False),
        fit=trusted.take(torch.cat([fit, select])),
        held=trusted.take(report),
        test=test.take(spread(len(test), images)),
        triggered=Cases(cases.x[few], cases.wanted[few], cases.places[few]),
    )


def spread(number: int, most: int) -> Tensor:
    """At most ``most`` places out of ``number``, evenly spaced."""
    return torch.linspace(0, number - 1, min(number, most)).round().long()


def given(words: str, images: int, folder: str) -> Victim:
    """The victim of ``SWEEP.toml:PLACE:FOLDER``."""
    spec, number, weights = words.split(":")
    sweep = sweep_file.read(Path(spec))
    sweep = replace(sweep, victims=sweep.victims[int(number) : int(number) + 1])
    runtime = TrialRuntime(Artifacts(folder))
    model = runtime.fresh(sweep.victims[0])
    model.load_state_dict(load_file(Path(weights, "weights.safetensors")))
    return victim_of(Path(weights).resolve().name, sweep, runtime, model, images)


def method_config(words: str) -> MethodConfig:
    """The defense of ``NAME`` or ``NAME:KEY=VALUE,KEY=VALUE``."""
    name, _, rest = words.partition(":")
    pairs = (pair.split("=") for pair in rest.split(",") if pair)
    return MethodConfig(name, {k: value(v) for k, v in pairs})


def value(text: str) -> Scalar:
    try:
        read = json.loads(text)
    except json.JSONDecodeError:
        return text
    return read if isinstance(read, int | float | bool) else text


def rows_of(victim: Victim, wanted: MethodConfig, seed: int) -> Iterator[dict[str, Any]]:
    """A row for a run's end, or for each of ``LOSSES`` of a curve."""
    resolved = catalog.resolve("defenses", wanted)
    cda, asr, start = victim.start
    begun, spent = time.process_time(), 0.0
    curve = [(0, victim.model, start, 0.0)]  # step, model, CDA on held-out images, seconds so far
    repair = catalog.find("defenses", wanted.name)
    for step, model in repair(
        DefenderView(victim.model, victim.fit), generator(seed, "repair"), 50, **resolved.params
    ):
        spent += time.process_time() - begun
        curve.append((step, clone(model), accuracy(model, victim.held), spent))
        if len(curve) > PATIENCE and all(
            point[2] < start - LOSSES[-1] for point in curve[-PATIENCE:]
        ):
            break
        begun = time.process_time()
    ends = {"end": curve[-1]}
    if len(curve) > 2:
        ends = {f"{loss:g}": farthest(curve, start - loss) for loss in LOSSES}
    settings = " ".join(f"{k}={v}" for k, v in sorted(wanted.params.items()))
    for within, (step, model, held, seconds) in ends.items():
        now_cda, now_asr = victim.measured(model)
        yield {
            "victim": victim.name,
            "attack": victim.attack,
            "defense": wanted.name,
            "settings": settings,
            "seed": seed,
            "within": within,
            "step": step,
            "cda0": round(cda, 4),
            "asr0": round(asr, 4),
            "cda_loss": round(cda - now_cda, 4),
            "cda_loss_held": round(start - held, 4),
            "asr": round(now_asr, 4),
            "cpu_seconds": round(seconds, 1),
            "n_clean": len(victim.test),
            "n_triggered": len(victim.triggered),
        }


def farthest(
    curve: list[tuple[int, nn.Module, float, float]], least: float
) -> tuple[int, nn.Module, float, float]:
    """The last point whose CDA on held-out images is at least ``least``; step 0 always is."""
    return [point for point in curve if point[2] >= least - 1e-9][-1]


def key_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells a row from others."""
    return tuple(str(row[k]) for k in KEY)


def keep(rows: list[dict[str, Any]], path: Path) -> None:
    """Add the rows to the file, in place of those of the same run."""
    old: list[Mapping[str, Any]] = []
    if path.exists():
        with path.open(encoding="utf-8", newline="") as stream:
            old = list(csv.DictReader(stream))
    merged = {key_of(row): row for row in [*old, *rows]}
    whole = path.with_suffix(".part")
    with whole.open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(merged[key] for key in sorted(merged))
    whole.replace(path)


def main() -> None:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument(
        "--victim", action="append", default=[], help="SWEEP.toml:PLACE:FOLDER; several times"
    )
    words.add_argument(
        "--defense", action="append", default=[], help="NAME:KEY=VALUE,...; several times"
    )
    words.add_argument("--seeds", type=int, nargs="+", default=[1], help="of the defense")
    words.add_argument(
        "--images", type=int, default=10_000, help="most test images, clean and triggered each"
    )
    asked = parsed(words, defense=["fst:steps=4", "fine_tuning:steps=100"], images=200)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if asked.tiny:
            sweep = digits(tiny=True)
            runtime = runtime_of(sweep, folder)
            victims = [
                victim_of(
                    "digits",
                    sweep,
                    runtime,
                    runtime.defender(trial_of(sweep, MethodConfig("none"))).view.model,
                    200,
                )
            ]
        else:
            victims = [given(v, asked.images, folder) for v in asked.victim]
        for victim in victims:
            for wanted in map(method_config, asked.defense):
                for seed in asked.seeds:
                    rows = list(rows_of(victim, wanted, seed))
                    for row in rows:
                        print(json.dumps(row), flush=True)
                    if asked.tiny:
                        print(f"{TINY}{json.dumps({'rows': rows})}")
                    else:
                        keep(rows, OUTPUT / "repairs.csv")


if __name__ == "__main__":
    main()
