"""BaDLoss: the trajectory of an example's loss while a model learns, beside those of clean images.

Source: BaDLoss (Alex, Siddiqui, Sanyal, Krueger 2024, 'Protecting against simultaneous data
poisoning attacks', arXiv:2408.13221): 30 epochs of AdamW, no augmentation, 250 clean probes, 50
nearest, epochs with a spike of the mean loss left out, the 40 % farthest removed.
Deviation: the victim's architecture is tracked, where the authors take a ResNet-50. Every trusted
image is trained on as a probe, and ``probes`` of them are compared with. Distances are not put
through a logarithm, which changes no rank. The metric ``log_loss`` and losses ``in_training`` are
ours. Rows of the data stand for themselves, so that one with a loss of exactly 0 is not taken for
one that is absent.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from trials.filters._tracking import drawn_seed, tracked, with_trusted
from trials.spec import NonNegativeFloat, PositiveFloat, PositiveInt, SpecError
from trials.train import make_optimizer
from trials.views import DataView, SampleScores

_CHUNK = 8192  # rows whose distances are in memory at once
_SPIKE = 2.0  # times the mean loss of the last epochs
_LEAST = 1e-4  # loss that is told apart from none by its logarithm
_LAST = 3  # epochs that a spike is seen against


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    k: PositiveInt = 50,
    probes: PositiveInt = 250,
    metric: Literal["loss", "log_loss", "probability"] = "loss",
    spikes: Literal["left_out", "kept"] = "left_out",
    epochs: PositiveInt = 30,
    tracked_epochs: PositiveInt = 30,
    augmented: bool = False,
    lr: PositiveFloat = 1e-3,
    weight_decay: NonNegativeFloat = 1e-4,
    batch: PositiveInt = 128,
    seen: Literal["after_epoch", "in_training"] = "after_epoch",
) -> SampleScores:
    """Mean distance to the nearest clean trajectories.

    Args:
        view: the rows, and the trusted images, which are the probes.
        rng: draws the model's weights and its batches.
        k: nearest probes that the mean is over.
        probes: trusted images that are compared with, the first of a stratified order.
        metric: what is compared: the loss, whose distances hard clean images rule; its logarithm,
            from 1e-4 on, which tells small losses apart; or the probability of the label.
        spikes: epochs whose mean loss is at least twice that of the last three are left out, or
            kept.
        epochs: the first so many tracked epochs count.
        tracked_epochs: epochs of the training that is tracked.
        augmented: augment in that training; what is tracked never is.
        lr: learning rate of AdamW.
        weight_decay: of AdamW, decoupled.
        batch: images a step.
        seen: losses are measured by a pass over all images after each epoch, or, ours, in the
            training itself (in_training), which spares the passes, in training mode.
    """
    check(view, k=k, probes=probes, epochs=epochs, tracked_epochs=tracked_epochs)

    def make() -> dict[str, Tensor]:
        model = view.fresh(drawn_seed(rng))
        optimizer = make_optimizer(model, "adam", lr, weight_decay)
        losses = tracked(
            model,
            optimizer,
            with_trusted(view.train, view.trusted),
            rng,
            F.cross_entropy,
            epochs=tracked_epochs,
            batch=batch,
            augmented=augmented,
            seen=seen,
        )
        return {"losses": losses}

    training = f"epochs={tracked_epochs} augmented={augmented} lr={lr:g}"
    name = f"badloss: losses, {training} weight_decay={weight_decay:g} batch={batch}"
    name += "" if seen == "after_epoch" else f" seen={seen}"
    whole = view.keep(name, make)["losses"]
    losses = whole[:, :epochs]
    chosen = steady(losses.double().mean(0)) if spikes == "left_out" else list(range(epochs))
    tracks = compared(losses[:, chosen], metric)
    rows = len(view.train)
    distances = to_nearest(tracks[:rows], tracks[rows : rows + probes], k)
    used = {"epochs_used": float(len(chosen))}
    return SampleScores(distances, extra=used, losses=whole[:rows])


def compared(losses: Tensor, metric: str) -> Tensor:
    """The losses (n, e), their logarithm, or the probabilities of the labels."""
    if metric == "log_loss":
        return losses.clamp_min(_LEAST).log()
    return losses if metric == "loss" else torch.exp(-losses)


def check(
    view: DataView, /, *, k: int, probes: int, epochs: int, tracked_epochs: int, **_: object
) -> None:
    """Raises SpecError for more neighbours than probes, more probes than trusted images, or more
    epochs than are tracked.
    """
    if probes > len(view.trusted):
        raise SpecError(
            f"badloss: probes = {probes}, but there are {len(view.trusted)} trusted images: lower "
            "probes, or raise r (trusted)."
        )
    if k > probes:
        raise SpecError(f"badloss: k = {k} nearest of {probes} probes: lower k, or raise probes.")
    if epochs > tracked_epochs:
        raise SpecError(
            f"badloss: epochs = {epochs} of {tracked_epochs} that are tracked: lower epochs, or "
            "raise tracked_epochs."
        )


def steady(means: Tensor) -> list[int]:
    """The epochs without a spike: of a mean loss below twice the mean of the last three that were
    taken; the first three always are.
    """
    taken: list[int] = []
    for epoch, mean in enumerate(means.tolist()):
        last = [float(means[e]) for e in taken[-_LAST:]]
        if len(taken) < _LAST or mean < _SPIKE * sum(last) / _LAST:
            taken.append(epoch)
    return taken


def to_nearest(tracks: Tensor, probes: Tensor, k: int) -> Tensor:
    """Float (n,): mean Euclidean distance of each track (n, e) to the ``k`` nearest of the probes
    (p, e).
    """
    found = []
    for part in torch.split(tracks.float(), _CHUNK):
        exact = torch.cdist(part, probes.float(), compute_mode="donot_use_mm_for_euclid_dist")
        found.append(exact.topk(k, largest=False).values.mean(1))
    return torch.cat(found)
