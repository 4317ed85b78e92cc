"""Deep k-NN: how many of the rows nearest in latent space have another label.

Source: Peri et al. 2020, 'Deep k-NN Defense against Clean-label Data Poisoning Attacks',
arXiv:1909.13374: a row is kept if its label is the plurality of its neighbours'. As published with
Sleeper Agent, k is twice the expected poison, and a row is kept if as many neighbours share its
label as do not.
Deviation: the row itself is no neighbour of its own; trusted images are neighbours.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from trials.filters._passes import seen_by_trained
from trials.reporting import reporter
from trials.spec import PositiveFloat, PositiveFraction, SpecError
from trials.views import DataView, SampleScores

NEEDS = frozenset({"head"})
REJECTS = True
_CHUNK = 1024  # rows whose distances are in memory at once


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    rule: Literal["majority", "plurality"] = "majority",
    assumed: PositiveFraction = 0.01,
    factor: PositiveFloat = 2.0,
) -> SampleScores:
    """The margin, as a share of the neighbours, by which other labels outnumber the row's own.

    Args:
        view: the rows, and the trusted images, which are neighbours too.
        rng: not used: nothing is drawn.
        rule: the row's label against all others together, or against the most frequent other one.
        assumed: share of poison among the rows that is assumed.
        factor: neighbours are so many times the assumed poison.
    """
    check(view, assumed=assumed, factor=factor)
    seen, k = seen_by_trained(view), neighbours(len(view.train), assumed, factor)
    every = torch.cat([seen.latents, seen.trusted])
    labels = torch.cat([view.train.y, view.trusted.y]).cpu()
    rows = len(view.train)
    found = []
    for start in range(0, rows, _CHUNK):
        own = torch.arange(start, min(rows, start + _CHUNK))
        distances = torch.cdist(every[own], every)
        distances[torch.arange(len(own)), own] = torch.inf
        near = labels[distances.topk(k, largest=False).indices]
        found.append(_margins(near, labels[own], view.train.classes, rule))
        reporter.report(int(own[-1]) + 1, rows)
    scores = torch.cat(found)
    return SampleScores(scores, scores > 0, {"k": float(k)})


def neighbours(rows: int, assumed: float, factor: float) -> int:
    """How many neighbours are asked, at least one."""
    return max(1, round(factor * assumed * rows))


def check(view: DataView, /, *, assumed: float, factor: float, **_: object) -> None:
    """Raises SpecError for as many neighbours as there are images."""
    k, most = neighbours(len(view.train), assumed, factor), len(view.train) + len(view.trusted) - 1
    if k > most:
        raise SpecError(
            f"deep_knn: {k} nearest of {most} other images: lower assumed ({assumed:g}) or factor "
            f"({factor:g})."
        )


def _margins(near: Tensor, own: Tensor, classes: int, rule: str) -> Tensor:
    """Float (n,) in [-1, 1], of the labels (n, k) of the neighbours of rows with labels (n,)."""
    counts = F.one_hot(near, classes).sum(1).float()
    same = counts.gather(1, own[:, None])[:, 0]
    if rule == "majority":
        others = counts.sum(1) - same
    else:
        others = counts.scatter(1, own[:, None], -1.0).max(1).values
    return (others - same) / near.shape[1]
