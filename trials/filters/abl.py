"""ABL's isolation: the rows whose loss falls fastest when the loss may not fall below a floor.

Source: Li et al. 2021, 'Anti-Backdoor Learning', arXiv:2110.11571: training without augmentation on
a loss that is kept from falling below 0.5, after which the 1 % of rows with the lowest loss are
isolated.
Deviation: the isolated rows are removed and the victim is trained anew, as BaDLoss compares it; the
authors unlearn them by gradient ascent. The victim's architecture is trained, by SGD at a constant
rate, so that fewer epochs are the first of more. Losses are of images that are not augmented. Of
the authors' two losses, flooding and local gradient ascent, one stands here: their gradients are
the same, the sign of the loss less the floor times the loss's own.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from trials.filters._tracking import drawn_seed, tracked, with_trusted
from trials.spec import NonNegativeFloat, PositiveFloat, PositiveFraction, PositiveInt, SpecError
from trials.train import make_optimizer
from trials.views import DataView, SampleScores

REJECTS = True
REJECTS_BY = frozenset({"isolated"})


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    isolated: PositiveFraction = 0.01,
    epochs: PositiveInt = 10,
    tracked_epochs: PositiveInt = 20,
    flooded: Literal["batch", "row"] = "batch",
    floor: NonNegativeFloat = 0.5,
    augmented: bool = False,
    lr: PositiveFloat = 0.1,
    weight_decay: NonNegativeFloat = 1e-4,
    batch: PositiveInt = 64,
) -> SampleScores:
    """The negative of each row's loss.

    Args:
        view: the rows; the trusted images are trained on with them.
        rng: draws the model's weights and its batches.
        isolated: share of the rows with the lowest losses that its own rule suspects.
        epochs: after so many of the tracked epochs the losses are taken.
        tracked_epochs: epochs that are trained.
        flooded: the loss is mirrored at the floor for the batch's mean (the authors) or for every
            row (BaDLoss).
        floor: below which the loss is not to fall.
        augmented: augment in that training.
        lr: learning rate of SGD.
        weight_decay: of SGD.
        batch: images a step.
    """
    check(view, epochs=epochs, tracked_epochs=tracked_epochs)

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        each = F.cross_entropy(logits, y, reduction="none")
        found = each.mean() if flooded == "batch" else each
        return ((found - floor).abs() + floor).mean()

    def make() -> dict[str, Tensor]:
        model = view.fresh(drawn_seed(rng))
        losses = tracked(
            model,
            make_optimizer(model, "sgd", lr, weight_decay),
            with_trusted(view.train, view.trusted),
            rng,
            loss,
            epochs=tracked_epochs,
            batch=batch,
            augmented=augmented,
        )
        return {"losses": losses}

    training = f"epochs={tracked_epochs} augmented={augmented} lr={lr:g} batch={batch}"
    name = (
        f"abl: losses, {training} weight_decay={weight_decay:g} flooded={flooded} floor={floor:g}"
    )
    losses = view.keep(name, make)["losses"][: len(view.train)]
    found = losses[:, epochs - 1]
    suspects = torch.zeros(len(found), dtype=torch.bool)
    suspects[found.argsort(stable=True)[: int(isolated * len(found) + 1e-9)]] = True
    return SampleScores(-found, suspects, losses=losses)


def check(view: DataView, /, *, epochs: int, tracked_epochs: int, **_: object) -> None:
    """Raises SpecError for more epochs than are trained."""
    if epochs > tracked_epochs:
        raise SpecError(
            f"abl: epochs = {epochs} of {tracked_epochs} that are tracked: lower epochs, or raise "
            "tracked_epochs."
        )
