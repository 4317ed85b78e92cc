"""What a step of gradient matching costs: ours, in bf16, without folding normalisations, and
differentiating the gradient, in one run.

    python -m benchmarks.brewing [--images N] [--width N] [--rounds N]

The slope of the match in the poison's pixels, on an untrained ResNet-18 in eval mode and images of
noise, in the processor's seconds (a shared machine delays the wall's), the median of rounds taken
in turn. All must give the same slope, bf16 nearly. Writes benchmarks/results/brewing.json.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks._shared import parsed, write
from trials.attacks._folding import Folded
from trials.attacks._matching import Aim, aim_of
from trials.models import resnet18
from trials.train import to_float


def differentiated(aim: Aim, x: Tensor, y: Tensor) -> Tensor:
    """The slope by way of a graph of the gradient, as is usual."""
    x = x.detach().requires_grad_()
    held = dict(aim.model.named_parameters())
    loss = F.cross_entropy(aim.model(x), y)
    mine = torch.autograd.grad(loss, [held[name] for name in aim.wanted], create_graph=True)
    pairs = list(zip(mine, aim.wanted.values(), strict=True))
    product = torch.stack([(a * b).sum() for a, b in pairs]).sum()
    own = torch.stack([(a * a).sum() for a, _ in pairs]).sum()
    theirs = torch.stack([(b * b).sum() for _, b in pairs]).sum()
    (slope,) = torch.autograd.grad(1 - product / (own * theirs).sqrt(), x)
    return slope


def timed(function: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """The processor's seconds, and what it gives."""
    began = time.process_time()
    made = function()
    return time.process_time() - began, made


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--images", type=int, default=100)
    words.add_argument("--width", type=int, default=16)
    words.add_argument("--rounds", type=int, default=7)
    given = parsed(words, images=8, width=4, rounds=2)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = resnet18.build(10, 32, width=given.width).eval()
    model.to(memory_format=torch.channels_last)
    x = to_float(torch.randint(0, 256, (given.images, 3, 32, 32)).to(torch.uint8))
    y = torch.arange(given.images) % 10
    aim = aim_of(model, x[:1].flip(3), "xent", 0, 5, "cosine", 0)
    plain = replace(aim, network=Folded(model))
    sides: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: aim.slope([(x, y)])[1],
        "bf16": lambda: aim.low.slope([(x, y)])[1],
        "unfolded": lambda: plain.slope([(x, y)])[1],
        "differentiated": lambda: differentiated(aim, x, y),
    }
    slopes = {name: side() for name, side in sides.items()}  # the first call loads code
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(given.rounds):
        for name, side in sides.items():
            seconds[name].append(timed(side)[0])
    apart = (slopes["ours"] - slopes["differentiated"]).abs().max()
    apart = apart / slopes["differentiated"].abs().max()
    medians = {name: median(each) for name, each in seconds.items()}
    exact, low = slopes["ours"].flatten(), slopes["bf16"].flatten()
    figures = {
        "images": given.images,
        "width": given.width,
        "rounds": given.rounds,
        "seconds_a_slope": medians,
        "times_as_fast": medians["differentiated"] / medians["ours"],
        "times_as_fast_unfolded": medians["unfolded"] / medians["ours"],
        "times_as_fast_bf16": medians["differentiated"] / medians["bf16"],
        "cosine_bf16": float(F.cosine_similarity(exact, low, dim=0)),
        "largest_difference": float(apart),
    }
    write("brewing", figures, tiny=given.tiny)


if __name__ == "__main__":
    main()
