"""Cognitive distillation: how little of a row the model needs to say what it says of it.

Source: Huang, Ma, Erfani, Bailey 2023, arXiv:2301.10908 (Cognitive Backdoor Patterns): of each
image a mask of one channel, by 100 steps of Adam, so that the logits stay while a random colour
fills what is masked; the mask of a poisoned image is small.
Deviation: instead of a colour the mean of the trusted images can fill. BaDLoss's share of 15 % is
the filter's own rule, where the authors take the mean of clean images less some deviations.
"""

from typing import Literal

import torch
from torch import Generator, Tensor, nn

from trials.filters._passes import batches, finite
from trials.filters._tracking import drawn_seed
from trials.reporting import reporter
from trials.spec import NonNegativeFloat, PositiveFloat, PositiveFraction, PositiveInt
from trials.train import to_float
from trials.views import DataView, SampleScores

REJECTS = True
REJECTS_BY = frozenset({"removed"})
_BEGIN = 1.0  # of what the hyperbolic tangent makes a mask of: 0.88
_BETAS = (0.1, 0.1)  # of Adam


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    fill: Literal["colour", "mean"] = "colour",
    gamma: NonNegativeFloat = 0.01,
    beta: NonNegativeFloat = 10.0,
    steps: PositiveInt = 100,
    lr: PositiveFloat = 0.1,
    removed: PositiveFraction = 0.15,
) -> SampleScores:
    """The negative of the mean of each row's mask.

    Args:
        view: the rows.
        rng: draws the colours.
        fill: what is seen where the mask is 0: a random colour for each image, or the mean of the
            trusted images, which leaves a background that all of them have as it is.
        gamma: weight of the mask's sum.
        beta: weight of the mean squared difference of neighbours in the mask.
        steps: of Adam.
        lr: its learning rate.
        removed: its own rule suspects this share of the rows, of the smallest masks.
    """
    seed = drawn_seed(rng)

    def make() -> dict[str, Tensor]:
        model = view.trained()
        mode, mean = model.training, to_float(view.trusted.x).mean(0, keepdim=True)
        model.eval()
        try:
            own, (n, channels) = Generator().manual_seed(seed), view.train.x.shape[:2]
            drawn, start, found = torch.rand(n, channels, 1, 1, generator=own), 0, []
            for x in batches(view.train.x):
                colours = mean
                if fill == "colour":
                    colours = drawn[start : start + len(x)].to(x.device)
                with reporter.untimed("masks"):
                    found.append(_masks(model, x, colours, (gamma, beta, steps, lr)).cpu())
                start += len(x)
        finally:
            model.train(mode)
        return {"sizes": finite(torch.cat(found))}

    descent = f"gamma={gamma:g} beta={beta:g} steps={steps} lr={lr:g}"
    name = f"cognitive_distillation: masks, fill={fill} {descent}"
    sizes = view.keep(name, make)["sizes"]
    suspects = torch.zeros(len(sizes), dtype=torch.bool)
    suspects[sizes.argsort(stable=True)[: int(removed * len(sizes) + 1e-9)]] = True
    return SampleScores(-sizes, suspects)


def _masks(
    model: nn.Module, x: Tensor, colours: Tensor, given: tuple[float, float, int, float]
) -> Tensor:
    """Float (n,) in [0, 1]: the means of the masks of a batch; each row's depends on itself."""
    gamma, beta, steps, lr = given
    with torch.no_grad():
        wanted = model(x)
    inner = torch.full_like(x[:, :1], _BEGIN).requires_grad_()
    optimizer = torch.optim.Adam([inner], lr, betas=_BETAS)
    for step in range(steps):
        mask = (inner.tanh() + 1) / 2
        apart = (model(x * mask + (1 - mask) * colours) - wanted).abs().mean(1)
        rough = mask.diff(dim=2).square().sum((1, 2, 3)) + mask.diff(dim=3).square().sum((1, 2, 3))
        each = apart + gamma * mask.sum((1, 2, 3)) + beta * rough / mask[0].numel()
        (inner.grad,) = torch.autograd.grad(each.sum(), [inner])
        optimizer.step()
        reporter.report(step + 1, steps)
    return ((inner.detach().tanh() + 1) / 2).mean((1, 2, 3))
