"""Trigger inversion: for each class, a small additive pattern that makes the model see that class
in any image.

Source: Wang et al. 2019, 'Neural Cleanse', IEEE S&P; the additive form clip(x + T, 0, 1) and the
term of a repaired model are Algorithms 6 and 4 of Lukas & Kerschbaum 2023, arXiv:2305.09671.
Deviation: all classes in one batch, which gives the same as one class after the other, since the
model is in eval mode and Adam treats each number by itself. T is kept in [-1, 1], beyond which it
stamps the same. No augmentation.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.reporting import reporter
from trials.spec import SpecError
from trials.train import frozen, to_float
from trials.types import Images

# Pixels (times channels) in one forward pass; activations for the gradient take some hundred times
# as much.
_PASS = {"cpu": 2**20, "cuda": 2**22}


def invert(
    model: nn.Module,
    images: Images,
    rng: Generator,
    *,
    steps: int,
    lr: float,
    batch: int,
    norm_weight: float,
    first: tuple[float, float] = (-0.005, 0.005),
    repaired: nn.Module | None = None,
    repaired_weight: float = 0.0,
) -> Tensor:
    """Triggers (classes, c, h, w) in [-1, 1], to be added to images in [0, 1] and clipped; the
    models are left alone.

    Args:
        model: the model to invert.
        images: clean images, on the model's device; those of a class are not used for its own
            trigger.
        rng: seeds one generator a class, so that no class's trigger depends on the others.
        steps: Adam steps (betas 0.5, 0.9).
        lr: learning rate; pixels lie in [0, 1].
        batch: images a step and class, drawn with replacement.
        norm_weight: weight of the L1 norm, summed over pixels and averaged over images, beside the
            cross-entropy.
        first: triggers start evenly drawn between these two.
        repaired: a model, on the same device, that is to see the true classes in spite of the
            trigger; or None.
        repaired_weight: weight of the repaired model's cross-entropy.

    Raises:
        SpecError: a class has no images of other classes.
    """
    like = next(model.parameters())
    model, calm = (
        frozen(model),
        frozen(repaired) if repaired is not None and repaired_weight else None,
    )
    found = torch.empty(images.classes, *images.x.shape[1:], device=like.device, dtype=like.dtype)
    together = list(chunks(images, rng, like.device, batch, 1 if calm is None else 2))
    for number, (labels, seeds) in enumerate(together):
        trigger, draws = _start(images, labels.tolist(), seeds, steps, batch, first)
        trigger = trigger.to(found).requires_grad_(True)
        adam = torch.optim.Adam([trigger], lr=lr, betas=(0.5, 0.9))
        for step in range(steps):
            x, y = batch_at(images, draws[:, step], like)
            stamped = stamp_on(x, trigger.repeat_interleave(batch, 0))
            loss = (
                F.cross_entropy(model(stamped), labels.repeat_interleave(batch), reduction="sum")
                / batch
            )
            if calm is not None:
                loss = (
                    loss
                    + repaired_weight * F.cross_entropy(calm(stamped), y, reduction="sum") / batch
                )
            (trigger.grad,) = torch.autograd.grad(
                loss + norm_weight * (stamped - x).abs().sum() / batch, [trigger]
            )
            adam.step()
            with torch.no_grad():
                trigger.clamp_(-1, 1)
            done = number * steps + step + 1
            reporter.report(done, len(together) * steps, loss, len(labels))
        found[labels] = trigger.detach()
    return found


def stamp_on(x: Tensor, trigger: Tensor) -> Tensor:
    """Float images in [0, 1] with the trigger added, clipped to [0, 1]."""
    return (x + trigger).clamp(0, 1)


def chunks(
    images: Images, rng: Generator, device: torch.device, batch: int, models: int = 1
) -> Iterator[tuple[Tensor, list[int]]]:
    """The classes (int64, on ``device``) to invert together, as many as memory takes, and the seeds
    of all classes.

    Args:
        images: what is inverted on.
        rng: draws the seeds; one a class, whatever the chunks.
        device: of the model.
        batch: images a step and class.
        models: models that each image goes through.
    """
    seeds: list[int] = torch.randint(2**62, (images.classes,), generator=rng).tolist()
    size = max(1, _PASS.get(device.type, 2**20) // (images.x.shape[1:].numel() * batch * models))
    for begin in range(0, images.classes, size):
        yield torch.arange(begin, min(begin + size, images.classes), device=device), seeds


def draw(images: Images, label: int, steps: int, batch: int, own: Generator) -> Tensor:
    """Places (steps, batch) of images that are not of class ``label``.

    Raises SpecError if there are none.
    """
    others = (images.y != label).nonzero().flatten().cpu()
    if not len(others):
        raise SpecError(
            f"class {label} cannot be inverted: all trusted images are of it. Trust more images."
        )
    return others[torch.randint(len(others), (steps, batch), generator=own)]


def batch_at(images: Images, places: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """The images at ``places`` (labels, batch) in one batch, as floats like ``like``, and their
    true classes.
    """
    where = places.flatten().to(images.x.device)
    return to_float(images.x[where]).to(like), images.y[where].to(like.device)


def _start(
    images: Images,
    labels: list[int],
    seeds: list[int],
    steps: int,
    batch: int,
    first: tuple[float, float] = (-0.005, 0.005),
) -> tuple[Tensor, Tensor]:
    """First triggers, evenly drawn, and the places (labels, steps, batch) of the images of each
    step.
    """
    triggers, draws = [], []
    low, high = first
    for label in labels:
        own = Generator().manual_seed(seeds[label])
        triggers.append(
            torch.rand(images.x.shape[1:], generator=own, dtype=torch.float64) * (high - low) + low
        )
        draws.append(draw(images, label, steps, batch, own))
    return torch.stack(triggers), torch.stack(draws)
