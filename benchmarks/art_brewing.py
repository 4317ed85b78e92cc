"""Gradient matching beside that of the Adversarial Robustness Toolbox, on one model and the same
images, in one run.

    pip install adversarial-robustness-toolbox
    POISONSWEEP_DATA=... python -m benchmarks.art_brewing [--poisons N] [--iterations N]

A ResNet-18 is trained on clean images of CIFAR-10. Then one test image's gradient is matched by
images of the class wanted, without augmentation, in one descent of so many passes over all of
them: by ours with the settings of Witches' Brew, in fp32 and in bf16, by theirs with its own.
Seconds are the processor's, of every process started, and the wall's. ``match`` is 1 - cosine of
the 8-bit images, measured by ours in fp32 for all; the clean images' is beside it. Writes
benchmarks/results/art_brewing.json.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from benchmarks._shared import must, parsed, write
from sweep.planning import expansion
from sweep.spec import sweep_file
from sweep.spec.sweep_file import Sweep
from trials.attacks._brewing import Brew
from trials.attacks._matching import Aim, aim_of
from trials.run import run
from trials.runtime import TrialRuntime
from trials.storage.artifacts import Artifacts
from trials.train import clone, to_float

EPSILON = 16
SOURCE, WANTED = 0, 1


def ours(aim: Aim, x: Tensor, y: Tensor, iterations: int, precision: str = "fp32") -> Tensor:
    brew = Brew(
        epsilon=EPSILON,
        iterations=iterations,
        rate=0.4 * EPSILON,
        schedule=True,
        start="normal",
        optimizer="sign_adam",
        batch=len(x),
        shift=0.0,
        flip=False,
        precision=precision,
    )
    return brew.poisons([aim], x, y, Generator().manual_seed(0))[0]


def theirs(model: nn.Module, shown: Tensor, x: Tensor, y: Tensor, iterations: int) -> Tensor:
    from art.attacks.poisoning import GradientMatchingAttack  # noqa: PLC0415
    from art.estimators.classification import PyTorchClassifier  # noqa: PLC0415

    torch.manual_seed(0)
    loss, shape = nn.CrossEntropyLoss(), tuple(x.shape[1:])
    made = PyTorchClassifier(model, loss, shape, 10, device_type="cpu", clip_values=(0, 1))
    rates = [0.1, 0.01, 0.001, 0.0001]
    drops = [int(part * iterations) for part in (0.4, 0.6, 0.8, 0.88)]  # as of its 250
    attack = GradientMatchingAttack(
        made,
        percent_poison=1.0,
        epsilon=EPSILON / 255,
        max_trials=1,
        max_epochs=iterations,
        learning_rate_schedule=(rates, drops),
        batch_size=len(x),
        verbose=0,
    )
    floats = to_float(x).contiguous().numpy()
    wanted = np.array([WANTED])
    poisons, _ = attack.poison(shown.contiguous().numpy(), wanted, floats, y.numpy())
    return (torch.from_numpy(poisons) * 255).round().clamp(0, 255).to(torch.uint8)


def timed(function: Callable[[int], Tensor], iterations: int) -> tuple[float, float, Tensor]:
    """Wall and processor seconds, and the poisons."""
    function(1)  # the first call loads code
    wall, spent = time.perf_counter(), sum(os.times()[:4])
    poisons = function(iterations)
    return time.perf_counter() - wall, sum(os.times()[:4]) - spent, poisons


def swept(given: argparse.Namespace) -> Sweep:
    """The sweep whose clean victim is the attacker's surrogate."""
    real = {"name": "cifar10", "root": "$POISONSWEEP_DATA/cifar10", "subset": given.images}
    training = {"name": "fast", "epochs": given.epochs, "batch": 128, "peak": 0.2}
    victim = {
        "dataset": "digits" if given.tiny else real,
        "model": "small_cnn" if given.tiny else {"name": "resnet18", "width": given.width},
        "training": {**training, "precision": "bf16"} if given.bf16 else training,
        "attacks": [{"name": "badnets", "m": 0}],
    }
    return sweep_file.parse({"victim": victim, "defenses": [{"name": "none"}]}, "art")


def compared(runtime: TrialRuntime, given: argparse.Namespace) -> dict[str, Any]:
    """Each side's seconds and match."""
    trial = expansion.victims(swept(given))[0]
    must(run(trial, runtime))
    model = clone(runtime.trained(trial.victim)).eval()
    images = runtime.poisoning(trial.victim).train
    places = (images.y == WANTED).nonzero().flatten()[: given.poisons]
    x, y = images.x[places], images.y[places]
    shown = to_float(images.x[(images.y == SOURCE).nonzero().flatten()[:1]])
    aim = aim_of(model, shown, "xent", SOURCE, WANTED, "cosine", 0)
    sides: dict[str, Callable[[int], Tensor]] = {
        "ours": lambda n: ours(aim, x, y, n),
        "ours_bf16": lambda n: ours(aim, x, y, n, "bf16"),
        "theirs": lambda n: theirs(model, shown, x, y, n),
    }
    figures: dict[str, Any] = {"poisons": len(x), "match_of_clean": match(aim, x, y)}
    for name, side in sides.items():
        wall, spent, poisons = timed(side, given.iterations)
        figures[name] = {"wall_s": wall, "cpu_s": spent, "match": match(aim, poisons, y)}
    for each in ("cpu_s", "wall_s"):
        for one in ("ours", "ours_bf16"):
            figures[f"theirs_over_{one}_{each}"] = figures["theirs"][each] / figures[one][each]
    return figures


def match(aim: Aim, x: Tensor, y: Tensor) -> float:
    return aim.match([(to_float(x), y)])


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--images", type=int, default=10000)
    words.add_argument("--width", type=int, default=16)
    words.add_argument("--epochs", type=int, default=8)
    words.add_argument("--poisons", type=int, default=100)
    words.add_argument("--iterations", type=int, default=250)
    words.add_argument("--bf16", action="store_true", help="the training of the model, not more")
    given = parsed(words, poisons=8, iterations=3, epochs=2)
    try:
        import art  # noqa: PLC0415
    except ImportError:
        print("skipped: adversarial-robustness-toolbox is not installed")
        return
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        figures = compared(TrialRuntime(Artifacts(folder)), given)
    settings = {name: getattr(given, name) for name in ("images", "width", "iterations")}
    write("art_brewing", {"art": art.__version__, **settings, **figures}, tiny=given.tiny)


if __name__ == "__main__":
    main()
