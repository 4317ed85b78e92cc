"""Trigger inversion: for each class, a small additive pattern that makes the model see that class in any image.

Source: Wang et al. 2019, 'Neural Cleanse', IEEE S&P; the additive form clip(x + T, 0, 1) is Algorithm 6 of Lukas &
Kerschbaum 2023, arXiv:2305.09671.
Deviation: all classes in one batch, which gives the same as one class after the other, since the model is in eval
mode and Adam treats each number by itself. T is kept in [-1, 1], beyond which it stamps the same. No augmentation.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.kinds import Images
from trials.spec import SpecError
from trials.train import frozen, to_float

# Pixels (times channels) in one forward pass; activations for the gradient take some hundred times as much.
_PASS = {"cpu": 2**20, "cuda": 2**22}


def invert(
    model: nn.Module, images: Images, rng: Generator, *, steps: int, lr: float, batch: int, norm_weight: float
) -> Tensor:
    """Triggers (classes, c, h, w) in [-1, 1], to be added to images in [0, 1] and clipped; the model is left alone.

    Args:
        model: the model to invert.
        images: clean images, on the model's device; those of a class are not used for its own trigger.
        rng: seeds one generator a class, so that no class's trigger depends on the others.
        steps: Adam steps (betas 0.5, 0.9).
        lr: learning rate; pixels lie in [0, 1].
        batch: images a step and class, drawn with replacement.
        norm_weight: weight of the L1 norm, summed over pixels and averaged over images, beside the cross-entropy.

    Raises:
        SpecError: a class has no images of other classes.
    """
    model = frozen(model)
    like = next(model.parameters())
    seeds = torch.randint(2**62, (images.classes,), generator=rng).tolist()
    pixels = images.x[0].numel() * batch
    chunk = max(1, _PASS.get(like.device.type, 2**20) // pixels)
    found = torch.empty(images.classes, *images.x.shape[1:], device=like.device, dtype=like.dtype)
    for first in range(0, images.classes, chunk):
        labels = torch.arange(first, min(first + chunk, images.classes), device=like.device)
        trigger, draws = _start(images, labels.tolist(), seeds, steps, batch)
        trigger = trigger.to(found).requires_grad_(True)
        adam = torch.optim.Adam([trigger], lr=lr, betas=(0.5, 0.9))
        for step in range(steps):
            x = to_float(images.x[draws[:, step].flatten().to(images.x.device)]).to(like)
            stamped = stamp_on(x, trigger.repeat_interleave(batch, 0))
            wrong = F.cross_entropy(model(stamped), labels.repeat_interleave(batch), reduction="sum") / batch
            (trigger.grad,) = torch.autograd.grad(wrong + norm_weight * (stamped - x).abs().sum() / batch, [trigger])
            adam.step()
            with torch.no_grad():
                trigger.clamp_(-1, 1)
        found[labels] = trigger.detach()
    return found


def stamp_on(x: Tensor, trigger: Tensor) -> Tensor:
    """Float images in [0, 1] with the trigger added, clipped to [0, 1]."""
    return (x + trigger).clamp(0, 1)


def _start(images: Images, labels: list[int], seeds: list[int], steps: int, batch: int) -> tuple[Tensor, Tensor]:
    """First triggers, U(-0.005, 0.005), and the places (labels, steps, batch) of the images of each step."""
    triggers, draws = [], []
    for label in labels:
        others = (images.y != label).nonzero().flatten().cpu()
        if not len(others):
            raise SpecError(f"class {label} cannot be inverted: all trusted images are of it. Trust more images.")
        own = Generator().manual_seed(seeds[label])
        triggers.append(torch.rand(images.x.shape[1:], generator=own, dtype=torch.float64) * 0.01 - 0.005)
        draws.append(others[torch.randint(len(others), (steps, batch), generator=own)])
    return torch.stack(triggers), torch.stack(draws)
