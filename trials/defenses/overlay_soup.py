"""Overlay soup: models taught to answer as before whatever picture lies over an image, averaged
with the model pruned.

Source: ours; the pruning is Zheng et al. 2022, arXiv:2208.03111, the average Wortsman et al. 2022,
arXiv:2203.05482.
Deviation: the share of the members' mean is the curve's axis: a step is that share in per cent, the
rest is the pruned model. At each share the running statistics are taken anew from augmented trusted
images. The overlays are generic: white noise, smooth noise, or another trusted image with its
colours in another order, faint, and on half of the images only in a random half of 4 x 4 cells.
Their opacity was chosen knowing which attack was to be repaired.
"""

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trials.defenses._descent import descend, divergence
from trials.defenses._start import device_of, fits, start
from trials.defenses._units import outliers_cut
from trials.reporting import reporter
from trials.spec import Count, Fraction, NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import clone, frozen, in_precision, make_optimizer, stream
from trials.types import DefenderView

FAMILY = "perturbation"
NEEDS = frozenset({"paired_norms"})

_CELLS = 4  # a side
_POINTS = 10


def repair(
    view: DefenderView,
    rng: Generator,
    every: int,
    /,
    *,
    steps: PositiveInt = 50,
    lr: PositiveFloat = 0.1,
    batch: PositiveInt = 64,
    members: PositiveInt = 4,
    u: PositiveFloat = 2.7,
    share: Fraction = 0.6,
    opacity: Fraction = 0.4,
    cells: Literal["half", "never"] = "half",
    clip: NonNegativeFloat = 0.0,
    refresh: Count = 2000,
    precision: Literal["fp32", "bf16"] = "fp32",
) -> Iterator[tuple[int, nn.Module]]:
    """Minimise the divergence of the member's answer to overlaid images from the given model's to
    clean ones; average.

    Args:
        steps: optimizer steps of a member (SGD, Nesterov momentum 0.9; the rate falls along half a
            cosine).
        lr: learning rate of a member's first step.
        batch: images a step.
        members: models that are averaged.
        u: all start from the model without the channels whose z-score of Lipschitzness is above
            this.
        share: of each batch that is overlaid.
        opacity: greatest opacity of an overlay; drawn between a quarter of it and this.
        cells: whether half of the overlays show in a random half of 4 x 4 cells alone.
        clip: largest norm of a gradient; 0 clips nothing.
        refresh: augmented trusted images, about, from which running statistics are taken; 0
            averages them.
        precision: of the networks in a step, fp32 or bf16; weights, losses and running statistics
            are always fp32.

    Raises:
        SpecError: no convolution is followed by batch normalisation.
    """
    fits("overlay_soup", view, NEEDS)
    first, batches = start(view, rng, batch)
    outliers_cut(first, view.trusted.x[:1], u)
    given = frozen(view.model)
    mean: dict[str, Tensor] = {}
    whole = members * steps + _POINTS
    for member in range(members):
        name = f"member {member + 1} of {members}"
        reporter.part(name, member * steps / whole, (member + 1) * steps / whole)
        model = clone(first)

        def loss(student: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            with torch.no_grad():
                wanted = given(x)
            return divergence(
                student(overlaid(x, rng, share, opacity, cells == "half")), wanted
            ).mean()

        tuner = make_optimizer(model, "sgd", lr)
        host = in_precision(precision, loss)
        for _ in descend(model, batches, tuner, steps, steps, host, schedule="cosine", clip=clip):
            pass
        for key, value in model.state_dict().items():
            mean[key] = mean.get(key, 0) + value.double() / members
    pixels = view.trusted.to(device_of(first))
    again = stream(
        pixels, batch, Generator().manual_seed(int(torch.randint(2**62, (1,), generator=rng)))
    )
    known = [next(again)[0] for _ in range(-(-refresh // batch))]
    soup = clone(first)
    pruned = {key: value.clone() for key, value in first.state_dict().items()}
    reporter.part("averaging, per cent", 1 - _POINTS / whole, 1)
    for point in range(1, _POINTS + 1):
        part = point / _POINTS
        soup.load_state_dict(
            {k: ((1 - part) * v.double() + part * mean[k]).to(v) for k, v in pruned.items()}
        )
        renewed(soup, known)
        reporter.report(round(100 * part), reporter.upto(100))
        yield round(100 * part), soup


def overlaid(x: Tensor, rng: Generator, share: float, opacity: float, in_cells: bool) -> Tensor:
    """The first ``share`` of the batch (n, c, h, w) in [0, 1], each under a picture of its own; the
    rest as it is.
    """
    number = round(share * len(x))
    if not number:
        return x
    some = x[:number]
    n, c, h, w = some.shape
    noise = torch.rand(n, c, h, w, generator=rng)
    smooth = F.interpolate(
        torch.rand(n, c, _CELLS, _CELLS, generator=rng), (h, w), mode="bicubic", align_corners=False
    )
    other = x[torch.randint(len(x), (n,), generator=rng).to(x.device)][
        :, torch.randperm(c, generator=rng)
    ]
    kind = torch.randint(3, (n, 1, 1, 1), generator=rng).to(x.device)
    picture = torch.where(
        kind == 0, noise.to(x), torch.where(kind == 1, smooth.clamp(0, 1).to(x), other)
    )
    faint = (opacity * (0.25 + 0.75 * torch.rand(n, 1, 1, 1, generator=rng))).to(x)
    if in_cells:
        shown = (
            torch.rand(n, _CELLS * _CELLS, generator=rng).argsort(1).argsort(1)
            < _CELLS * _CELLS // 2
        )
        shown |= torch.rand(n, 1, generator=rng) < 0.5
        grid = F.interpolate(shown.view(n, 1, _CELLS, _CELLS).float(), (h, w), mode="nearest")
        faint = faint * grid.to(x)
    return torch.cat([some + faint * (picture - some), x[number:]])


@torch.no_grad()
def renewed(model: nn.Module, batches: list[Tensor]) -> None:
    """Take the running statistics of BatchNorm anew, as means over the batches; none leave them as
    they are.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not batches or not norms:
        return
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a mean over all batches
    model.train()
    for x in batches:
        model(x)
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    model.eval()
