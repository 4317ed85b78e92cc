"""How alike a planted backdoor is to one that was trained in: the same treatments on both.

    python -m benchmarks.self_poisoning [--victims N] [--copies N] [--most N] [--steps N]

A narrow ResNet-18 with the attack of examples/digits.toml is trained; into copies of it a backdoor
is planted by five schedules; then every copy, and the victim with its real backdoor, is treated
alike (same trusted images and settings), and the ASR that is left is measured on all test images.
Writes benchmarks/results/self_poisoning.json and docs/self-poisoning.md.
"""

import argparse
import itertools
import tempfile
import textwrap
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import fmean

import torch
from torch import nn

from benchmarks._shared import ROOT, digits, parsed, runtime_of, trial_of, width, write
from sweep.spec.sweep_file import Sweep
from trials import catalog, train
from trials.games._copy_training import mixed
from trials.metrics import accuracy, success
from trials.runtime import TrialRuntime, generator
from trials.self_poisoning.layout import Layout, layout_made, layout_of
from trials.spec import MethodConfig, Scalar
from trials.types import DefenderView, Goal, Images


@dataclass(frozen=True)
class Schedule:
    """A constant learning rate until ASR and CDA have held for ``hold`` steps; without ``lr``, the
    game as it is.
    """

    name: str
    lr: float = 0.0
    share: float = 0.0
    hold: int = -1  # -1: stop at an ASR of REACH, whatever the CDA
    freeze_bn: bool = False


COMMAND = "python -m benchmarks.self_poisoning"
REACH, CDA_LOSS, LOOK = 0.95, 0.02, 5  # LOOK: steps between two looks
SCHEDULES = (
    Schedule("half stamped, lr .01, BatchNorm frozen, stop at ASR .95", 0.01, 0.5, freeze_bn=True),
    Schedule("half stamped, lr .01, stop at ASR .95", 0.01, 0.5),
    Schedule("a tenth stamped, lr .03, stop at ASR .95", 0.03, 0.1),
    Schedule("a tenth stamped, lr .05, held for 150 steps", 0.05, 0.1, 150),
    Schedule("scheme labels of self_poison"),
)
TREATMENTS: dict[str, tuple[str, dict[str, Scalar]]] = {
    "none": ("none", {}),
    "bn_refresh": ("bn_refresh", {"steps": 60, "batch": 32}),
    "fine-tuning, lr .01": ("fine_tuning", {"lr": 0.01, "batch": 32}),
    "fine-tuning, lr .1": ("fine_tuning", {"lr": 0.1, "batch": 32}),
    "weight decay": ("weight_decay", {"lr": 0.03, "lambda_w": 0.01, "batch": 32}),
}
REAL = "the real backdoor, trained in"
Left = dict[str, list[tuple[float, float]]]  # by treatment: (ASR, CDA) of each model


def self_poisoning(
    runtime: TrialRuntime, sweep: Sweep, schedule: Schedule, copy: int, most: int
) -> tuple[nn.Module, Layout, int]:
    """A poisoned copy, its layout, and the steps that self-poisoning took."""
    kept = list[tuple[nn.Module, Mapping[str, float]]]()
    ctx = runtime.defender(trial_of(sweep, MethodConfig("none")))
    game = catalog.resolve(
        "games", MethodConfig("self_poison", {**sweep.self_poisoning[0], "copy": copy})
    )
    if not schedule.lr:
        ctx = replace(ctx, save=lambda model, facts: kept.append((train.frozen(model), facts)))
        points = list(catalog.find("games", "self_poison")(ctx, **game.params))
        ((model, facts),) = kept
        layout = layout_made(ctx.view.trusted, ctx.rng, game, facts)
        return model, layout, points[-1].step
    layout = layout_of(ctx.view.trusted, ctx.rng, game)
    model, select = train.clone(ctx.view.model), ctx.view.trusted.take(layout.select)
    clean, batch = ctx.view.trusted.take(layout.fit), int(game.params["batch"])
    number, always = max(1, round(schedule.share * batch)), itertools.repeat(True)
    batches = mixed(clean, layout, batch, number, always, ctx.rng("mix", copy))
    triggered, before = layout.goal.cases(select), accuracy(model, select)
    optimizer, since, step = train.make_optimizer(model, "sgd", schedule.lr, 5e-4), -1, 0
    for step, _ in train.tune(model, batches, optimizer, most, LOOK, freeze_bn=schedule.freeze_bn):
        loss = before - accuracy(model, select)
        holds = success(model, triggered) >= REACH and (
            schedule.hold < 0 or loss <= CDA_LOSS + 1e-9
        )
        since = -1 if not holds else step if since < 0 else since
        if holds and step - since >= schedule.hold:
            break
    return train.frozen(model), layout, step


def treat(
    model: nn.Module,
    trusted: Images,
    test: Images,
    goal: Goal,
    into: Left,
    steps: int,
) -> None:
    """Add the ASR and CDA on the test set after each treatment."""
    triggered = goal.cases(test)
    for name, (defense, params) in TREATMENTS.items():
        held = {} if defense == "none" else {"steps": steps}
        method = catalog.resolve("defenses", MethodConfig(defense, {**held, **params}))
        repair = catalog.find("defenses", method.name)
        view = DefenderView(model, trusted)
        ends = [m for _, m in repair(view, generator(0, "treat"), 10_000, **method.params)]
        left = ends[-1] if ends else model
        into[name].append((success(left, triggered), accuracy(left, test)))


def measure(asked: argparse.Namespace) -> tuple[dict[str, Left], dict[str, list[int]]]:
    """What every treatment leaves of every kind of backdoor, and the steps that self-poisoning
    took.
    """
    kinds = [REAL, *(s.name for s in SCHEDULES)]
    found: dict[str, Left] = {name: defaultdict(list) for name in kinds}
    steps: dict[str, list[int]] = defaultdict(list)
    for seed in range(asked.victims):
        with tempfile.TemporaryDirectory() as folder:
            sweep = digits(seed, tiny=asked.tiny)
            runtime = runtime_of(sweep, folder)
            ctx = runtime.evaluator(trial_of(sweep, MethodConfig("none")))
            view, test, poisoning = ctx.view(), ctx.test(), ctx.poisoning()
            for copy in range(asked.copies):
                for schedule in SCHEDULES:
                    model, layout, took = self_poisoning(runtime, sweep, schedule, copy, asked.most)
                    steps[schedule.name].append(took)
                    # the cut of this copy, the same for every schedule
                    fitted = view.trusted.take(layout.fit)
                    treat(
                        model,
                        fitted,
                        test,
                        layout.goal,
                        found[schedule.name],
                        asked.steps,
                    )
                treat(
                    view.model,
                    fitted,
                    test,
                    poisoning.implants[0].goal,
                    found[REAL],
                    asked.steps,
                )
                print(f"victim {seed}, copy {copy} done", flush=True)
    return found, steps


def apart(kind: Left, real: Left) -> float:
    """Mean over the treatments (not ``none``) of the absolute difference of mean ASR to the real
    backdoor's.
    """
    return fmean(abs(_asr(kind[t]) - _asr(real[t])) for t in TREATMENTS if t != "none")


def _asr(pairs: list[tuple[float, float]]) -> float:
    return fmean(a for a, _ in pairs)


def _cda(pairs: list[tuple[float, float]]) -> float:
    return fmean(c for _, c in pairs)


def table(found: dict[str, Left], steps: dict[str, list[int]]) -> str:
    """The ASR and CDA left, in Markdown."""
    lines = ["| backdoor | steps | " + " | ".join(TREATMENTS) + " | apart from the real one |"]
    lines.append("|---|--:|" + "--:|" * (len(TREATMENTS) + 1))
    for name, left in found.items():
        cells = [f"{_asr(left[t]):.2f} at {_cda(left[t]):.2f}" for t in TREATMENTS]
        took = f"{fmean(steps[name]):.0f}" if name in steps else "-"
        gap = "-" if name == REAL else f"{apart(left, found[REAL]):.2f}"
        lines.append(f"| {name} | {took} | " + " | ".join(cells) + f" | {gap} |")
    return "\n".join(lines)


PAGE = """# Planted backdoors and trained-in ones

Tuning on self-poisoned copies is worth something only if a planted backdoor answers to a defense as
the real one does.

<!-- not run: a benchmark of minutes; tests/test_benchmarks.py runs it with --tiny -->
```bash
{command}
```

Each cell is "ASR left at CDA left", on the test set, means over {victims} victims x {copies}
copies; digits, ResNet-18 of width {width}, {trusted} trusted images. The last column is the mean
absolute difference in ASR to the real one over the treatments. The single values are in
benchmarks/results/self_poisoning.json.

{table}

What it means:
{meaning}

Limits: no scheme but `labels` is here, the default of a sweep when this was measured; [Does the
answer hold](answer.md) compares it with `late`, the default now. One data set, one
architecture, one kind of trigger, few victims: differences of a few hundredths are noise.
"""


def meaning(found: dict[str, Left]) -> str:
    """The closest schedule, what a quick one hides, and where the scheme labels still misleads;
    words that follow figures.
    """
    gaps = {s.name: apart(found[s.name], found[REAL]) for s in SCHEDULES}
    closest = min(gaps, key=lambda n: gaps[n])
    quick, slow = (weaker(found[s.name], found[REAL]) for s in (SCHEDULES[0], SCHEDULES[-1]))
    lines = [
        f"the schedule closest to the real backdoor is '{closest}' ({gaps[closest]:.2f} apart)."
    ]
    if quick:
        lines.append(
            f"A quickly planted one ({SCHEDULES[0].name}) loses at least half of what the real "
            "one keeps under "
            f"{', '.join(quick)}: a defense tuned on such copies looks stronger than it is."
        )
    if slow:
        lines.append(
            f"The scheme labels is not the real thing either: under {', '.join(slow)} its backdoor "
            "falls and the real one "
            "stays. A setting chosen for a treatment like that can fail on the real attack, so "
            "read the judge's column."
        )
    return textwrap.fill(" ".join(lines), 118, break_on_hyphens=False)


def weaker(kind: Left, real: Left) -> list[str]:
    """Treatments that leave less than half of what they leave of a real backdoor that survives
    them.
    """
    return [
        t
        for t in TREATMENTS
        if t != "none" and _asr(real[t]) > 0.2 and _asr(kind[t]) < 0.5 * _asr(real[t])
    ]


def main() -> None:
    """Measure, print the table, write figures and page."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--victims", type=int, default=2)
    words.add_argument("--copies", type=int, default=2)
    words.add_argument("--most", type=int, default=1000, help="steps that self-poisoning may take")
    words.add_argument("--steps", type=int, default=100, help="of a treatment")
    asked = parsed(words, victims=1, copies=1, most=10, steps=5)
    torch.set_num_threads(1)
    found, steps = measure(asked)
    figures = {
        "asr_and_cda_left": found,
        "steps": steps,
        "victims": asked.victims,
        "copies": asked.copies,
    }
    write("self_poisoning", figures, tiny=asked.tiny)
    page(found, steps, asked)


def page(found: dict[str, Left], steps: dict[str, list[int]], asked: argparse.Namespace) -> None:
    """Print the table, and write docs/self-poisoning.md unless the run was a tiny one."""
    text = table(found, steps)
    print(text)
    sweep = digits()
    words = PAGE.format(
        command=f"{COMMAND} --victims {asked.victims} --copies {asked.copies}",
        victims=asked.victims,
        copies=asked.copies,
        width=width(sweep),
        trusted=round(sweep.trusted[0] * len(catalog.find("datasets", "digits")("train"))),
        table=text,
        meaning=meaning(found),
    )
    if not asked.tiny:
        (ROOT / "docs" / "self-poisoning.md").write_text(words, encoding="utf-8")


if __name__ == "__main__":
    main()
