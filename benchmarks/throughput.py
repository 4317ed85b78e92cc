"""Training throughput of ResNet-18 in our loop, against the machine's convolutions and against a
plain loop.

    python -m benchmarks.throughput [--seconds S] [--rounds N] [--threads N ...] [--widths N ...]

In one run, for each number of threads and width: the machine's convolution FLOP/s (a large 3x3
convolution, forward and backward, the better of both memory layouts), the recipe ``fast`` as it is
shipped, and a plain fp32 loop on contiguous tensors; bf16 where the processor multiplies it. Each
figure is the best of N rounds of about S seconds, the sides taking turns, so that another load on
the machine falls on all of them. Writes benchmarks/results/throughput.json.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks._shared import parsed, write
from trials import catalog
from trials.recipes._loop import multiplies_bf16, train
from trials.runtime import generator
from trials.train import augment, shuffled
from trials.types import Images, Poisoning

Side = Callable[[], int]  # one round of work; returns what it did: images, or FLOPs
BATCH = {16: 128, 64: 32}  # width: images a step
STEPS = 2  # of one call of a side


def images(batch: int) -> Images:
    x = torch.randint(0, 256, (STEPS * batch, 3, 32, 32), dtype=torch.uint8, generator=generator(0))
    return Images(x, torch.arange(len(x)) % 10, 10, pad=4, flip=True)


def model_of(width: int, layout: torch.memory_format) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = catalog.find("models", "resnet18")(10, 32, width=width)
    return model.to(memory_format=layout)


def ours(width: int, precision: str) -> Side:
    """Epochs of the recipes' own loop."""
    model, data = model_of(width, torch.channels_last), images(BATCH[width])
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True, foreach=True)
    poisoning = Poisoning(data)

    def epoch() -> int:
        settings: dict[str, Any] = {"epochs": 1, "batch": BATCH[width], "precision": precision}
        for _ in train(model, poisoning, generator(1), optimizer, lambda _: 0.01, None, **settings):
            pass
        return len(data)

    return epoch


def plain(width: int, layout: torch.memory_format) -> Side:
    """The loop that one writes first: fp32, PyTorch's defaults, the same batches."""
    model, data = model_of(width, layout).train(), images(BATCH[width])
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True)
    batches: Iterator[torch.Tensor] = shuffled(torch.arange(len(data)), BATCH[width], generator(1))
    rng = generator(2)

    def epoch() -> int:
        for _ in range(STEPS):
            places = next(batches)
            x = (augment(data.x[places], rng, data.pad, data.flip).float() / 255).contiguous(
                memory_format=layout
            )
            optimizer.zero_grad()
            F.cross_entropy(model(x), data.y[places]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return len(data)

    return epoch


def convolution(layout: torch.memory_format) -> Side:
    """FLOPs of a large convolution, forward and both backward products."""
    conv = nn.Conv2d(256, 256, 3, padding=1, bias=False).to(memory_format=layout)
    x = torch.randn(16, 256, 32, 32).contiguous(memory_format=layout).requires_grad_(True)
    push = torch.randn(16, 256, 32, 32).contiguous(memory_format=layout)

    def once() -> int:
        torch.autograd.grad(conv(x), [x, conv.weight], push)
        return 3 * 2 * 16 * 32 * 32 * 256 * 256 * 9

    return once


def flops_an_image(width: int) -> float:
    """FLOPs of a training step an image: forward and backward, convolutions and products."""
    with FlopCounterMode(display=False) as counter:
        model_of(width, torch.contiguous_format)(torch.zeros(8, 3, 32, 32)).sum().backward()
    return float(counter.get_total_flops()) / 8


def fastest(sides: dict[str, Side], seconds: float, rounds: int) -> dict[str, float]:
    """Units a second of each side: the best of the rounds, the sides taking turns; one call warms
    up.
    """
    best = dict.fromkeys(sides, 0.0)
    for side in sides.values():
        side()
    for _ in range(rounds):
        for name, side in sides.items():
            done, start = 0, time.perf_counter()
            while (taken := time.perf_counter() - start) < seconds or not done:
                done += side()
            best[name] = max(best[name], done / taken)
    return best


def why() -> str:
    """Which precision the recipes choose here, and why."""
    chosen = "fp32 is chosen, as on every processor: in bf16 some networks diverge there."
    if multiplies_bf16():
        return f'{chosen} This one multiplies bf16 itself, so precision = "bf16" is faster.'
    return f"{chosen} This one only imitates bf16."


def main() -> None:
    """Measure, print, write the figures."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--seconds", type=float, default=4.0, help="of each side and round")
    words.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    words.add_argument("--widths", type=int, nargs="+", default=list(BATCH), choices=list(BATCH))
    words.add_argument("--rounds", type=int, default=3, help="of which the best counts")
    asked = parsed(words, seconds=0.01, rounds=1, threads=[1], widths=[16])
    print(why())
    layouts = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
    low = ["bf16"] if multiplies_bf16() else []
    rows = []
    for threads in asked.threads:
        torch.set_num_threads(threads)
        for width in asked.widths:
            batch = BATCH[width]
            sides = {f"conv {k}": convolution(v) for k, v in layouts.items()}
            sides |= {f"plain {k}": plain(width, v) for k, v in layouts.items()}
            sides |= {f"ours {p}": ours(width, p) for p in ["fp32", *low]}
            rate = fastest(sides, asked.seconds, asked.rounds)
            peak = max(rate[f"conv {k}"] for k in layouts)
            each = flops_an_image(width)
            row = {
                "threads": threads,
                "width": width,
                "batch": batch,
                "mflop_an_image": round(each / 1e6, 1),
            }
            row |= {f"conv_gflops_{k}": round(rate[f"conv {k}"] / 1e9, 1) for k in layouts}
            for name in [n for n in rate if not n.startswith("conv")]:
                row[f"{name} images/s"] = round(rate[name], 1)
                row[f"{name} % of peak"] = round(100 * rate[name] * each / peak, 1)
            rows.append(row)
            print(f"\n{threads} threads, width {width}: convolutions {peak / 1e9:.0f} GFLOP/s")
            for name in [n for n in rate if not n.startswith("conv")]:
                share = row[f"{name} % of peak"]
                print(
                    f"  {name:22} {rate[name]:8.1f} images/s  {share:5.1f} % of the convolutions' "
                    "rate",
                    flush=True,
                )
            figures = {"rows": rows, "precision": why(), "multiplies bf16": bool(low)}
            # each time, so that a stopped run keeps its rows
            write("throughput", figures, tiny=asked.tiny)


if __name__ == "__main__":
    main()
