"""Trigger inversion of all classes in one batch against one class after the other.

    python -m benchmarks.detection [--steps N] [--rounds N] [--widths N ...]

Both detectors, each in its own form, inspect an untrained ResNet-18 of digits (ten classes, 16
pixels), with the same generator. The sides take turns, so that another load on the machine falls on
both; each figure is the best of the rounds, in processor seconds and in seconds on the clock.
Writes benchmarks/results/detection.csv.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from benchmarks._shared import parsed, write_rows
from trials import catalog, inversion
from trials.runtime import generator
from trials.types import Images, Suspicion

WIDTHS, BATCH, TRUSTED = (4, 16), 16, 200
DETECTORS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "neural_cleanse (mask)": ("neural_cleanse", {"form": "mask", "round_steps": 2}),
    "neural_cleanse (additive)": ("neural_cleanse", {"form": "additive", "lr": 0.01}),
    "calibrated_inversion": ("calibrated_inversion", {}),
}
SIDES = {"together": dict(inversion._PASS), "one by one": {"cpu": 1, "cuda": 1}}  # pixels in a pass


def net(width: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model: nn.Module = catalog.find("models", "resnet18")(10, 16, width=width, norm="half")
    return model.eval().to(memory_format=torch.channels_last)


def inspect(
    name: str, settings: Mapping[str, Any], width: int, trusted: Images, steps: int
) -> Suspicion:
    score: Callable[..., Suspicion] = catalog.find("detectors", name)
    return score(
        net(width, 0), net(width, 1), trusted, generator(0), steps=steps, batch=BATCH, **settings
    )


def measure(label: str, width: int, trusted: Images, steps: int, rounds: int) -> dict[str, Any]:
    """The best times of both sides, and by how much their results differ."""
    name, settings = DETECTORS[label]
    best: dict[str, tuple[float, float]] = {}
    found: dict[str, Suspicion] = {}
    for _ in range(rounds):
        for side, pixels in SIDES.items():
            inversion._PASS.update(pixels)
            clock, used = time.perf_counter(), time.process_time()
            found[side] = inspect(name, settings, width, trusted, steps)
            took = time.process_time() - used, time.perf_counter() - clock
            best[side] = tuple(map(min, best.get(side, took), took))  # type: ignore[assignment]
    inversion._PASS.update(SIDES["together"])
    one, other = (found[side].triggers for side in SIDES)
    return {
        "detector": label,
        "width": width,
        "classes": trusted.classes,
        "steps": steps,
        "batch": BATCH,
        "together_cpu_s": round(best["together"][0], 3),
        "one_by_one_cpu_s": round(best["one by one"][0], 3),
        "together_s": round(best["together"][1], 3),
        "one_by_one_s": round(best["one by one"][1], 3),
        "times_faster": round(best["one by one"][0] / best["together"][0], 2),
        "largest_difference": float((one - other).abs().max()),
    }


def main() -> None:
    """Measure, print a table, write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=10, help="steps of an inversion (default: 10)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="rounds, of which the best counts (default: 3)"
    )
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    given = parsed(parser, steps=2, rounds=1, widths=WIDTHS[:1])
    torch.set_num_threads(1)
    digits: Images = catalog.find("datasets", "digits")("train")
    trusted = digits.take(torch.arange(TRUSTED))
    rows = []
    print(
        f"{'detector':26} {'width':>5} {'together':>9} {'one by one':>10} {'ratio':>6} "
        f"{'largest difference':>19}"
    )
    for width in given.widths:
        for label in DETECTORS:
            row = measure(label, width, trusted, given.steps, given.rounds)
            rows.append(row)
            print(
                f"{label:26} {width:5} {row['together_cpu_s']:8.2f}s "
                f"{row['one_by_one_cpu_s']:9.2f}s "
                f"{row['times_faster']:6.2f} {row['largest_difference']:19.1e}",
                flush=True,
            )
    write_rows("detection", rows, tiny=given.tiny)


if __name__ == "__main__":
    main()
