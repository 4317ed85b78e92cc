"""Passes over many images: logits, latents and losses, batch by batch, in eval mode."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trials.classifier import with_latents
from trials.metrics import BATCH, BATCH_CPU
from trials.reporting import reporter
from trials.train import to_float
from trials.types import Images
from trials.views import DataView

_PREDICTED = "latents of the trained model"


class Seen(NamedTuple):
    """What the model that was trained on all rows makes of the rows and of the trusted images.

    Attributes:
        latents: float (n, d), the input of its head, of ``view.train``.
        predicted: int64 (n,), its classes for these.
        trusted: float (t, d), latents of ``view.trusted``.
    """

    latents: Tensor
    predicted: Tensor
    trusted: Tensor


def seen_by_trained(view: DataView) -> Seen:
    """Latents and predictions, kept: every filter that looks at latents reads the same pass."""

    def make() -> dict[str, Tensor]:
        model = view.trained()
        latents, logits = latents_of(model, view.train.x)
        trusted, _ = latents_of(model, view.trusted.x)
        return {"latents": latents, "predicted": logits.argmax(1), "trusted": trusted}

    found = view.keep(_PREDICTED, make)
    return Seen(found["latents"], found["predicted"], found["trusted"])


def batches(x: Tensor) -> Iterator[Tensor]:
    """The images as floats in [0, 1], as many at a time as their device takes quickly."""
    size = BATCH_CPU if x.device.type == "cpu" else BATCH
    for start in range(0, len(x), size):
        yield to_float(x[start : start + size])
        reporter.report(min(len(x), start + size), len(x))


@torch.inference_mode()
def logits_of(model: nn.Module, x: Tensor) -> Tensor:
    """Float (n, classes), on the CPU; the model's mode is restored."""
    mode = model.training
    model.eval()
    try:
        return finite(torch.cat([model(part).float().cpu() for part in batches(x)]))
    finally:
        model.train(mode)


@torch.inference_mode()
def latents_of(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Latents (n, d) and logits (n, classes), on the CPU. The model is in eval mode."""
    latents, logits = [], []
    for part in batches(x):
        inner, outer = with_latents(model, part)
        latents.append(inner.float().cpu())
        logits.append(outer.float().cpu())
    return finite(torch.cat(latents)), finite(torch.cat(logits))


def losses_of(model: nn.Module, images: Images) -> Tensor:
    """Cross-entropy of each image, float (n,), on the CPU, the images not augmented."""
    return F.cross_entropy(logits_of(model, images.x), images.y.cpu(), reduction="none")


def finite(values: Tensor) -> Tensor:
    """The values. Raises ArithmeticError where one is not finite."""
    if not torch.isfinite(values).all():
        raise ArithmeticError("the model diverged: what it gives is not finite")
    return values
