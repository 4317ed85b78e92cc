"""Losses of every row, epoch by epoch, of a model that is trained for it."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import torch
from torch import Generator, Tensor, nn

from trials.filters._passes import losses_of
from trials.reporting import reporter
from trials.train import augment, shuffled, to_float
from trials.types import Images

BatchLoss = Callable[[Tensor, Tensor], Tensor]


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
) -> Tensor:
    """Float (n, epochs) on the CPU: each image's cross-entropy after each epoch, in eval mode and
    never augmented. The learning rate stays, so fewer epochs are the first of these.

    Args:
        model: trained in place.
        optimizer: of the model's parameters.
        images: what it is trained on, on the model's device.
        rng: shuffles and augments.
        loss: of the logits and labels of a batch.
        epochs: passes over the images.
        batch: images a step; a smaller last batch is dropped if there are others.
        augmented: shift and mirror what is trained on.
    """
    data = shuffled(torch.arange(len(images), device=images.y.device), batch, rng)
    steps = len(images) // min(batch, len(images))
    columns = []
    for epoch in range(epochs):
        model.train()
        for step, index in enumerate(islice(data, steps), 1):
            x, y = images.x[index], images.y[index]
            if augmented:
                x = augment(x, rng, images.pad, images.flip)
            optimizer.zero_grad(set_to_none=True)
            value = loss(model(to_float(x)), y)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            reporter.report(epoch * steps + step, epochs * steps, value)
        columns.append(losses_of(model, images))
    return torch.stack(columns, 1)


def drawn_seed(rng: Generator) -> int:
    """A seed for what takes an integer."""
    return int(torch.randint(2**31 - 1, (1,), generator=rng))


def with_trusted(train: Images, trusted: Images) -> Images:
    """The rows of the training set, and the trusted images after them."""
    x, y = torch.cat([train.x, trusted.x]), torch.cat([train.y, trusted.y])
    return replace(train, x=x, y=y)
