"""Forward passes of each defense against the fewest that its definition allows.

    python -m benchmarks.passes

Hooks count the batches and images that go through the model and its copies; two runs of different
length tell the passes a step from those before the first one. Writes
benchmarks/results/passes.json.
"""

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from benchmarks._shared import parsed, write
from trials import catalog, inverted
from trials.classifier import Classifier
from trials.runtime import generator
from trials.spec import MethodConfig
from trials.types import DefenderView, Images

BATCH, CLASSES, TEACHER, INVERSION, RANKING = 16, 10, 7, 3, 10
ANP, RNP, RENEWED = 4, 3, 2


@dataclass(frozen=True)
class Fewest:
    """The fewest passes, in images over the batch size: each step, and before the first step; and
    why.
    """

    step: float
    before: float
    why: str


FEWEST = {
    "none": Fewest(0, 0, "nothing runs"),
    "bn_refresh": Fewest(1, 0, "one forward, no backward"),
    "fine_tuning": Fewest(1, 0, "one forward"),
    "weight_decay": Fewest(1, 0, "one forward; the decay is in the optimizer"),
    "fine_pruning": Fewest(
        1, RANKING, f"one forward; the ranking is one pass over {RANKING} batches"
    ),
    "pivotal_tuning": Fewest(
        2, 0, "latents of the tuned and of the given model, on augmented images"
    ),
    "clp": Fewest(0, 1 / BATCH, "one image, to see which normalisation reads which convolution"),
    "i_bau": Fewest(
        0,
        10 * 2 + 10 * 3,
        "a round of ten batches: answer and slope; perturbed, answer and slope again",
    ),
    "sau": Fewest(
        2 * 2 + 2 * 5 + 2,
        0,
        "answers and five steps of two models; clean, perturbed, and the given one's twice",
    ),
    "d3": Fewest(1, 0, "one forward; labels by default"),
    "ft_sam": Fewest(2, 0, "the gradient at the weights, and the one at the moved weights"),
    "anp": Fewest(
        0, 3 * ANP, f"three forwards in each of {ANP} iterations: worst case, clean, perturbed"
    ),
    "rnp": Fewest(
        0, 5 + RNP, f"five forwards until the first look at unlearning, and {RNP} steps on masks"
    ),
    "nft": Fewest(1, 0, "one forward, of mixed images"),
    "overlay_soup": Fewest(
        2, 1 / BATCH + 10 * RENEWED, f"member and given model; {RENEWED} batches at ten points"
    ),
    "fst": Fewest(2, 0, "the tuned and the given model"),
    "tsbd": Fewest(
        2,
        5,
        "five forwards until the first look at unlearning; a gradient here, and one a step up",
    ),
    "ulrl": Fewest(1, 5, "five forwards until the first look at unlearning, then one a step"),
    "nad": Fewest(2, TEACHER, f"student and teacher; the teacher's {TEACHER} steps come before"),
    "neural_cleanse": Fewest(
        1, INVERSION * CLASSES, f"one forward; {INVERSION} steps of inversion for each class"
    ),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "nad": {"teacher_steps": TEACHER},
    "neural_cleanse": {"steps_per_class": INVERSION},
    "fine_pruning": {"ranking_batches": RANKING, "rho": 0.5},
    "i_bau": {"rounds": 1},
    "anp": {"iterations": ANP},
    "rnp": {"recover_steps": RNP, "stop": 1.0},
    "tsbd": {"stop": 1.0},
    "ulrl": {"stop": 1.0},
    "overlay_soup": {"members": 1, "refresh": RENEWED * BATCH},
}


def count(name: str, steps: int) -> float:
    """Images that went through the model or a copy of it, over the batch size."""
    torch.manual_seed(0)
    model = catalog.find("models", "resnet18")(CLASSES, 16, width=2).eval().requires_grad_(False)
    seen = 0

    def add(module: nn.Module, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if type(module) is type(model):
            seen += len(args[0])

    x = torch.randint(0, 256, (10 * BATCH, 3, 16, 16), dtype=torch.uint8, generator=generator(0))
    trusted = Images(x, torch.arange(len(x)) % CLASSES, CLASSES, pad=1)
    known = catalog.describe("defenses", name).settings
    params = {
        k: v
        for k, v in {"steps": steps, "batch": BATCH, **SETTINGS.get(name, {})}.items()
        if k in known
    }
    settings = catalog.resolve("defenses", MethodConfig(name, params)).params
    inverted.forget()  # a run of another length would share it
    # what a model has is looked for once, whatever runs on it
    Classifier(model, x.shape[1:]).lacks(catalog.NEEDS)
    handle = register_module_forward_pre_hook(add)
    try:
        for _ in catalog.find("defenses", name)(
            DefenderView(model, trusted), generator(1), 10_000, **settings
        ):
            pass
    finally:
        handle.remove()
    return seen / BATCH


def main() -> int:
    """Count, print a table, write the figures; 1 if a defense takes more than the fewest."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked = parsed(words)
    torch.set_num_threads(1)
    rows, wasteful = {}, []
    print(f"{'defense':16} {'a step':>8} {'fewest':>8} {'before':>8} {'fewest':>8}  why")
    for name in catalog.names("defenses"):
        short, long = count(name, 4), count(name, 12)
        step = (long - short) / 8
        before, fewest = short - 4 * step, FEWEST[name]
        rows[name] = {
            "step": step,
            "step_fewest": fewest.step,
            "before": before,
            "before_fewest": fewest.before,
            "why": fewest.why,
        }
        if (step, before) != (fewest.step, fewest.before):
            wasteful.append(name)
        print(f"{name:16} {step:8g} {fewest.step:8g} {before:8g} {fewest.before:8g}  {fewest.why}")
    print(
        "MORE THAN NEEDED: " + ", ".join(wasteful) if wasteful else "each takes the fewest passes"
    )
    write(
        "passes", {"forward_passes_of_a_batch": rows, "more_than_needed": wasteful}, tiny=asked.tiny
    )
    return 1 if wasteful else 0


if __name__ == "__main__":
    sys.exit(main())
