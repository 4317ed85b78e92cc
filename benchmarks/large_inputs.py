"""Steps of defenses on images of 224 pixels, against a plain loop of PyTorch.

    python -m benchmarks.large_inputs [--models NAME ...] [--size N] [--batch N] [--rounds N]
        [--out FILE]

In one run, for each model and step: ours, and a plain loop that does the same forward and backward
passes with PyTorch's defaults (fp32, contiguous tensors, no augmentation), and both again in bf16
where the repair has that (plain: the loss under autocast), all sides taking turns.
A side is one call: it copies the model, as a repair does, and takes one step, or evaluates. On the
CPU the clock is the process's own time over its threads, so that another load on the machine
counts on neither side; each figure is the best of N rounds. Writes
benchmarks/results/large_inputs.json, or FILE.
"""

import argparse
import copy
import importlib.util
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks._shared import parsed, write
from trials import catalog
from trials.architecture import parsed as architecture
from trials.classifier import Classifier
from trials.inversion import invert
from trials.metrics import predictions
from trials.runtime import generator
from trials.types import DefenderView, Images

Side = Callable[[], object]
Sides = dict[str, dict[str, Side]]  # of a step: by precision, ours and the plain one
Plain = Callable[[nn.Module, Tensor], Tensor]  # a loss of the model on the images
MODELS = ["timm:tf_efficientnet_lite0", "torchvision:vit_b_16"]
CLASSES = 2  # all classes are inverted together: a step is of batch / 2 images of each
RATE = 0.001


class Steps:
    """One model, with as many images as a step takes."""

    def __init__(self, name: str, size: int, batch: int, device: torch.device) -> None:
        torch.manual_seed(0)
        kind, settings = architecture(name)
        network: nn.Module = catalog.find("models", kind)(CLASSES, size, **settings)
        self.given = network.eval().to(device)  # as PyTorch lays it out
        ours = copy.deepcopy(network).to(memory_format=torch.channels_last)
        x = torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8, generator=generator(0))
        y = torch.arange(batch) % CLASSES
        images = Images(x, y, CLASSES, pad=size // 8, flip=True).to(device)
        self.view, self.batch = DefenderView(ours, images), batch
        self.x, self.y = images.x, images.y
        Classifier(ours, (3, size, size)).parts  # noqa: B018 - found once a model, not in each step

    def sides(self) -> dict[str, Sides]:
        """Each step's."""
        constant: dict[str, Any] = {"schedule": "constant", "lr": RATE}
        inversion: dict[str, Side] = {"ours": self.invert, "plain": self.plain_inversion}
        evaluation: dict[str, Side] = {
            "ours": lambda: predictions(self.view.model, self.x),
            "plain": self.plain_evaluation,
        }
        return {
            "fine_tuning": self.both("fine_tuning", self.labels, lr=RATE),
            "fst": self.both("fst", self.soft, **constant),
            "ft_sam": self.both("ft_sam", self.labels, 0.05, **constant),
            "neural_cleanse": {"fp32": inversion},
            "evaluation": {"fp32": evaluation},
        }

    def both(self, defense: str, loss: Plain, radius: float = 0.0, **settings: Any) -> Sides:
        return {
            precision: {
                "ours": self.repair(defense, precision=precision, **settings),
                "plain": self.plain(loss, precision == "bf16", radius),
            }
            for precision in ("fp32", "bf16")
        }

    def repair(self, defense: str, **settings: Any) -> Side:
        method = catalog.find("defenses", defense)

        def step() -> None:
            for _ in method(self.view, generator(1), 1, steps=1, batch=self.batch, **settings):
                pass

        return step

    def invert(self) -> None:
        settings = {"steps": 1, "lr": 0.01, "batch": self.batch // CLASSES, "norm_weight": 0.02}
        invert(self.view.model, self.view.trusted, generator(1), **settings)  # type: ignore[arg-type]

    def labels(self, model: nn.Module, x: Tensor) -> Tensor:
        return F.cross_entropy(model(x), self.y)

    def soft(self, model: nn.Module, x: Tensor) -> Tensor:
        with torch.no_grad():
            given = F.log_softmax(self.given(x) / 2, 1)
        mine = F.log_softmax(model(x) / 2, 1)
        return 4 * F.kl_div(mine, given, reduction="batchmean", log_target=True)

    def plain(self, loss: Plain, low: bool, radius: float = 0.0) -> Side:
        """A step of SGD; with a radius, from the gradient of the worst point so near."""

        def value(model: nn.Module, x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, torch.bfloat16, enabled=low):
                return loss(model, x)

        def step() -> None:
            model = copy.deepcopy(self.given).train()
            optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=0.9, nesterov=True)
            x = self.x.float() / 255
            offsets = self.climb(model, value(model, x), radius) if radius else []
            optimizer.zero_grad()
            value(model, x).backward()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                for parameter, offset in zip(model.parameters(), offsets, strict=False):
                    parameter.sub_(offset)
            optimizer.step()

        return step

    def climb(self, model: nn.Module, loss: Tensor, radius: float) -> list[Tensor]:
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        length = torch.stack([g.norm() for g in gradients]).norm()
        offsets = [g * (radius / length) for g in gradients]
        with torch.no_grad():
            for parameter, offset in zip(model.parameters(), offsets, strict=True):
                parameter.add_(offset)
        return offsets

    def plain_inversion(self) -> None:
        model = copy.deepcopy(self.given).requires_grad_(False)
        triggers = torch.zeros(CLASSES, *self.x.shape[1:], device=self.x.device, requires_grad=True)
        adam = torch.optim.Adam([triggers], 0.01)
        x, each = self.x.float() / 255, self.batch // CLASSES
        stamped = (x + triggers.repeat_interleave(each, 0)).clamp(0, 1)
        wanted = torch.arange(CLASSES, device=x.device).repeat_interleave(each)
        loss = F.cross_entropy(model(stamped), wanted) + 0.02 * (stamped - x).abs().sum() / each
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()

    @torch.no_grad()
    def plain_evaluation(self) -> Tensor:
        found: Tensor = self.given.eval()(self.x.float() / 255).argmax(1)
        return found


def seconds(side: Side, device: torch.device) -> float:
    """One call, by the clock that fits the device."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    start = clock()
    side()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return clock() - start
    return (clock() - start) / torch.get_num_threads()


def fastest(sides: Sides, rounds: int, device: torch.device) -> dict[str, dict[str, float]]:
    """Seconds of each side's fastest call, all sides taking turns."""
    least = {precision: dict.fromkeys(two, math.inf) for precision, two in sides.items()}
    for _ in range(rounds):
        for precision, two in sides.items():
            for name, side in two.items():
                least[precision][name] = min(least[precision][name], seconds(side, device))
    return least


def compared(name: str, size: int, batch: int, rounds: int, device: torch.device) -> dict[str, Any]:
    """Images a second of all sides of each step."""
    found: dict[str, Any] = {}
    for step, sides in Steps(name, size, batch, device).sides().items():
        found[step] = {}
        for precision, least in fastest(sides, rounds, device).items():
            ours, plain = batch / least["ours"], batch / least["plain"]
            found[step][precision] = {"ours": ours, "plain": plain, "ratio": ours / plain}
            told = f"{ours:8.2f}  plain {plain:8.2f}  {ours / plain:.2f}"
            print(f"{name}  {step:15} {precision} {told}", flush=True)
    return found


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    words.add_argument("--models", nargs="+", default=MODELS)
    words.add_argument("--size", type=int, default=224, help="pixels a side")
    words.add_argument("--batch", type=int, default=8, help="images a step, an even number")
    words.add_argument("--rounds", type=int, default=3, help="the first one warms up")
    words.add_argument("--out", type=Path, help="the file of the figures")
    tiny = {"models": ["torchvision:mobilenet_v3_small"], "size": 32, "batch": 4, "rounds": 2}
    args = parsed(words, **tiny)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rows = {}
    for name in args.models:
        if name.startswith("timm:") and not importlib.util.find_spec("timm"):
            print(f"{name} is left out: timm is not installed")
            continue
        rows[name] = compared(name, args.size, args.batch, args.rounds, device)
    asked = {"size": args.size, "batch": args.batch, "rounds": args.rounds, "device": device.type}
    write("large_inputs", {**asked, "images_a_second": rows}, tiny=args.tiny, out=args.out)


if __name__ == "__main__":
    main()
