"""Spectral signatures: how far a row's latent lies along its class's top singular direction.

Source: Tran, Li, Madry 2018, 'Spectral Signatures in Backdoor Attacks', arXiv:1811.00636: per class
the squared projection of the centred latents, and removal of 1.5 times the assumed poison. Public
codes differ in what they remove; ``rule`` names three.
Deviation: none of the rules is told the true number of poisoned rows.
"""

from typing import Literal

import torch
from torch import Generator, Tensor

from trials.filters._passes import seen_by_trained
from trials.spec import PositiveFraction
from trials.views import DataView, SampleScores

NEEDS = frozenset({"head"})
REJECTS = True
REJECTS_BY = frozenset({"assumed", "rule"})
_MARGIN = 1.5  # times the assumed share of poison


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    rule: Literal["share_of_class", "count_in_each_class", "percentile"] = "share_of_class",
    assumed: PositiveFraction = 0.1,
    scale: Literal["raw", "class"] = "raw",
) -> SampleScores:
    """Squared projections on the top right singular vector of the class's latents.

    Args:
        view: the rows.
        rng: not used: nothing is drawn.
        rule: what its own rule suspects: of each class 1.5 times ``assumed`` of its rows (BaDLoss);
            of each class 1.5 times ``assumed`` of all rows, at most half of it (Sleeper Agent); the
            top 1.5 times ``assumed`` of all rows, whatever their class (as BackdoorBench).
        assumed: share of poison that is assumed.
        scale: as they are, or divided by the class's mean, so that classes can be compared.
    """
    latents, labels = seen_by_trained(view).latents, view.train.y.cpu()
    scores = torch.zeros(len(labels))
    suspects = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels).tolist():
        rows = (labels == label).nonzero().flatten()
        squares = signature(latents[rows])
        mean = squares.mean()
        scores[rows] = squares / mean if scale == "class" and float(mean) else squares
        if rule != "percentile":
            whole = len(rows) if rule == "share_of_class" else len(labels)
            number = int(_MARGIN * assumed * whole + 1e-9)
            if rule == "count_in_each_class":
                number = min(number, len(rows) // 2)
            suspects[rows[_top(squares, number)]] = True
    if rule == "percentile":
        suspects[_top(scores, int(_MARGIN * assumed * len(labels) + 1e-9))] = True
    return SampleScores(scores, suspects)


def signature(latents: Tensor) -> Tensor:
    """Float (n,): squared projections of centred latents (n, d) on their top right singular
    vector.
    """
    centred = latents.double() - latents.double().mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    found: Tensor = (centred @ directions[0]).square().float()
    return found


def _top(scores: Tensor, number: int) -> Tensor:
    """Places of the ``number`` highest; none for 0, which is no slice from the end."""
    return scores.argsort(descending=True, stable=True)[: min(number, len(scores))]
