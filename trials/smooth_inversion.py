"""Smooth triggers that make a model see one class in any image: a faint picture, or a warp.

A mask finds small marks alone. Of a picture over the whole image, or of a warp, any class has one
that works once it may be rough; of few numbers, spread smoothly, and weak, only a class that was
trained to obey does. The picture has 8 x 8 numbers a channel, laid over with an opacity of 0.14;
the warp moves 4 x 4 points by up to 3/32 of the width.

Source: Wang et al. 2019, 'Neural Cleanse', IEEE S&P, invert a mark for every class and look for the
class that needs least; Guo, Frank, Weinberger 2018, 'Low Frequency Adversarial Perturbation',
arXiv:1809.08758, keep to perturbations of few smooth numbers.
Deviation: both together, which is ours, and not the size is compared but how many images turn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.inversion import batch_at, chunks, draw
from trials.metrics import predictions
from trials.reporting import reporter
from trials.train import frozen, to_float
from trials.types import Images

Form = Literal["picture", "warp"]
OPACITY, PICTURE = 0.14, 8  # of the picture; its numbers a side
MOVE, WARP = 3 / 32, 4  # largest, as a share of the width; the warp's points a side
STEPS, LR, BATCH, FIRST = 300, 0.1, 8, 0.1
SETTINGS = (OPACITY, PICTURE, MOVE, WARP, STEPS, LR, BATCH, FIRST)


@dataclass(frozen=True, slots=True)
class Smooth:
    """Of each class the trigger that turns most images into it.

    Attributes:
        controls: float (classes, numbers, k, k), from which ``laid`` makes the trigger.
        rates: float (classes,), share of images of other classes, which the descent did not see,
            that the model takes for the class.
    """

    controls: Tensor
    rates: Tensor


def picture(x: Tensor, controls: Tensor) -> Tensor:
    """Float images (n, c, h, w), each with its picture (n, c, k, k) laid over faintly."""
    over = torch.sigmoid(_spread(controls, x))
    return torch.lerp(x, over, OPACITY)


def warped(x: Tensor, controls: Tensor) -> Tensor:
    """Float images (n, c, h, w), each moved by its own field (n, 2, k, k)."""
    unit = torch.eye(2, 3, dtype=x.dtype, device=x.device).expand(len(x), 2, 3)
    still = F.affine_grid(unit, list(x.shape), align_corners=True)
    moves = 2 * MOVE * _spread(torch.tanh(controls), x).permute(0, 2, 3, 1)
    at = (still + moves).clamp(-1, 1)
    return F.grid_sample(x, at, mode="bilinear", align_corners=True)


FORMS: dict[Form, Callable[[Tensor, Tensor], Tensor]] = {"picture": picture, "warp": warped}


def laid(form: Form, x: Tensor, controls: Tensor) -> Tensor:
    """Uint8 images (n, c, h, w) with the trigger of these controls (numbers, k, k)."""
    each = controls.to(x.device).expand(len(x), *controls.shape)
    return (FORMS[form](to_float(x), each) * 255).round().clamp(0, 255).to(torch.uint8)


def invert(model: nn.Module, images: Images, rng: Generator, form: Form) -> Smooth:
    """The trigger of each class; the model is left alone.

    Args:
        model: the model to invert.
        images: clean ones, on the model's device; one half leads the descent, the other measures.
        rng: draws the halves, first triggers and images.
        form: of the triggers.

    Raises:
        SpecError: a class has no images of other classes.
    """
    like, model = next(model.parameters()), frozen(model)
    order = torch.randperm(len(images), generator=rng).to(images.y.device)
    leads, measures = images.take(order[::2]), images.take(order[1::2])
    shape = (images.x.shape[1], PICTURE, PICTURE) if form == "picture" else (2, WARP, WARP)
    controls = torch.empty(images.classes, *shape, device=like.device, dtype=like.dtype)
    together = list(chunks(leads, rng, like.device, BATCH))
    for number, (labels, seeds) in enumerate(together):
        first, places = [], []
        for label in labels.tolist():
            own = Generator().manual_seed(seeds[label])
            first.append(FIRST * torch.randn(shape, generator=own))
            places.append(draw(leads, label, STEPS, BATCH, own))
        these, draws = torch.stack(first).to(like).requires_grad_(True), torch.stack(places)
        adam = torch.optim.Adam([these], lr=LR)
        for step in range(STEPS):
            x, _ = batch_at(leads, draws[:, step], like)
            seen = model(FORMS[form](x, these.repeat_interleave(BATCH, 0)))
            wanted = labels.repeat_interleave(BATCH)
            loss = F.cross_entropy(seen, wanted, reduction="sum") / BATCH
            (these.grad,) = torch.autograd.grad(loss, [these])
            adam.step()
            done = number * STEPS + step + 1
            reporter.report(done, len(together) * STEPS, loss, len(labels))
        controls[labels] = these.detach()
    rates = [_rate(model, measures, form, controls[k], k) for k in range(images.classes)]
    return Smooth(controls.cpu(), torch.tensor(rates))


def _spread(controls: Tensor, x: Tensor) -> Tensor:
    size = x.shape[-2:]
    return F.interpolate(controls, size, mode="bicubic", align_corners=True)


def _rate(model: nn.Module, images: Images, form: Form, controls: Tensor, label: int) -> float:
    """Share of the images of other classes that the trigger turns into ``label``."""
    others = images.take((images.y != label).nonzero().flatten())
    turned = predictions(model, laid(form, others.x, controls)) == label
    return float(turned.float().mean())
