"""Losses of every row, epoch by epoch, of a model that is trained for it."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.filters._passes import losses_of
from trials.reporting import reporter
from trials.train import augment, shuffled, to_float
from trials.types import Images

BatchLoss = Callable[[Tensor, Tensor], Tensor]
Seen = Literal["after_epoch", "in_training", "at_end"]


def tracked(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Images,
    rng: Generator,
    loss: BatchLoss,
    *,
    epochs: int,
    batch: int,
    augmented: bool,
    seen: Seen = "after_epoch",
) -> Tensor:
    """Float (n, epochs) on the CPU: each image's cross-entropy in each epoch; (n, 1) where it is
    seen at the end. The learning rate stays, so fewer epochs are the first of these.

    Args:
        model: trained in place.
        optimizer: of the model's parameters.
        images: what it is trained on, on the model's device.
        rng: shuffles and augments.
        loss: of the logits and labels of a batch.
        epochs: passes over the images.
        batch: images a step; a smaller last batch is dropped if there are others.
        augmented: shift and mirror what is trained on.
        seen: after_epoch: by a pass over all images after the epoch, in eval mode and not
            augmented. in_training: in the batch that the image is trained in, before its step, in
            training mode and augmented as the batch is, so that one pass, before the first epoch,
            is enough; an image that an epoch drops keeps the loss that it had. at_end: by one pass
            after the last epoch.
    """
    data = shuffled(torch.arange(len(images), device=images.y.device), batch, rng)
    steps = len(images) // min(batch, len(images))
    columns = []
    last = losses_of(model, images) if seen == "in_training" else None
    for epoch in range(epochs):
        model.train()
        for step, index in enumerate(islice(data, steps), 1):
            x, y = images.x[index], images.y[index]
            if augmented:
                x = augment(x, rng, images.pad, images.flip)
            optimizer.zero_grad(set_to_none=True)
            logits = model(to_float(x))
            value = loss(logits, y)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if last is not None:
                each = F.cross_entropy(logits.detach().float(), y, reduction="none")
                last[index.cpu()] = each.cpu()
            reporter.report(epoch * steps + step, epochs * steps, value)
        if last is not None:
            columns.append(last.clone())
        elif seen == "after_epoch" or epoch == epochs - 1:
            columns.append(losses_of(model, images))
    return torch.stack(columns, 1)


def drawn_seed(rng: Generator) -> int:
    """A seed for what takes an integer."""
    return int(torch.randint(2**31 - 1, (1,), generator=rng))


def with_trusted(train: Images, trusted: Images) -> Images:
    """The rows of the training set, and the trusted images after them."""
    x, y = torch.cat([train.x, trusted.x]), torch.cat([train.y, trusted.y])
    return replace(train, x=x, y=y)
