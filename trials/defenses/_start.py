"""What every defense begins with: its own copy of the model, and trusted batches where that model
is.
"""

from collections.abc import Collection, Iterator

import torch
from torch import Generator, Tensor, nn

from trials.classifier import require
from trials.spec import SpecError
from trials.train import clone, stream
from trials.types import DefenderView


def device_of(model: nn.Module) -> torch.device:
    return next(model.parameters()).device


def fits(method: str, view: DefenderView, needs: Collection[str]) -> None:
    """Raises SpecError with one line where the model lacks what the defense needs."""
    require(method, view.model, needs, shape=view.trusted.x.shape[1:])


def start(
    view: DefenderView, rng: Generator, batch: int
) -> tuple[nn.Module, Iterator[tuple[Tensor, Tensor]]]:
    """A copy of the model to tune, and endless augmented batches of the trusted images on its
    device.

    Raises:
        SpecError: there are no trusted images.
    """
    if not len(view.trusted):
        raise SpecError("there are no trusted images to repair with: raise the trusted fraction.")
    return clone(view.model), stream(view.trusted.to(device_of(view.model)), batch, rng)
