"""SPECTRE: how far a row lies out of its class once the class's latents are whitened robustly.

Source: SPECTRE (Hayase, Kong, Somani, Oh 2021, 'SPECTRE: Defending Against Backdoor Attacks Using
Robust Statistics', arXiv:2104.11315): a class's latents on their top directions, whitened by a
robust mean and covariance, and a quantum entropy score of 4; of the class with the highest mean
score 1.5 times the assumed poison is removed. The number of directions is that of the highest mean
score.
Deviation: the robust covariance is scikit-learn's minimum covariance determinant, where the authors
have an estimator of their own in Julia; of fewer directions it is a part of that of the most.
Numbers of directions that are tried are powers of two.
"""

from typing import Any, Literal

import torch
from sklearn.covariance import MinCovDet
from torch import Generator, Tensor

from trials.filters._passes import seen_by_trained
from trials.filters._tracking import drawn_seed
from trials.spec import PositiveFloat, PositiveFraction, PositiveInt
from trials.views import DataView, SampleScores

NEEDS = frozenset({"head"})
REJECTS = True
REJECTS_BY = frozenset({"assumed"})
_MARGIN = 1.5  # times the assumed share of poison
_ROWS = 5  # rows for each dimension of which a covariance is taken
_FLOOR = 1e-6  # of a covariance's largest eigenvalue


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    assumed: PositiveFraction = 0.01,
    dimensions: PositiveInt = 64,
    chosen: Literal["best", "most"] = "best",
    covariance: Literal["robust", "trusted"] = "robust",
    alpha: PositiveFloat = 4.0,
) -> SampleScores:
    """Quantum entropy scores.

    Args:
        view: the rows, and the trusted images.
        rng: begins the robust estimate.
        assumed: share of poison among all rows; its own rule suspects 1.5 times as many, of the
            class with the highest mean score.
        dimensions: top directions of a class at most; of fewer than five rows each, fewer are.
        chosen: of the powers of two up to that, the number with the highest mean score, or the
            most.
        covariance: whitens by the robust estimate of the class's own rows, or by the mean of its
            trusted images and the covariance that those of all classes have about theirs.
        alpha: how much a direction counts in which the whitened rows vary.
    """
    seen, labels, known = seen_by_trained(view), view.train.y.cpu(), view.trusted.y.cpu()
    seed, scores, means = drawn_seed(rng), torch.zeros(len(labels)), dict[int, float]()
    for label in torch.unique(labels).tolist():
        mine = (labels == label).nonzero().flatten()
        latents = seen.latents[mine].double()
        basis = _directions(latents, dimensions)
        means[label] = 0.0
        if not basis.shape[1]:
            continue
        sizes = [k for k in _powers(basis.shape[1]) if chosen == "best" or k == basis.shape[1]]
        points = latents @ basis
        if covariance == "trusted":
            mean, spread = _trusted(seen.trusted.double() @ basis, known, label)
        else:
            mean, spread = _robust(points, seed)
        found = [_scored(points[:, :k], mean[:k], spread[:k, :k], alpha) for k in sizes]
        best = max(found, key=lambda s: float(s.mean()))
        scores[mine], means[label] = best.float(), float(best.mean())
    suspects = torch.zeros(len(labels), dtype=torch.bool)
    mine = (labels == max(means, key=lambda k: means[k])).nonzero().flatten()
    number = min(int(_MARGIN * assumed * len(labels) + 1e-9), len(mine))
    suspects[mine[scores[mine].argsort(descending=True, stable=True)[:number]]] = True
    return SampleScores(scores, suspects)


def quantum_entropy(points: Tensor, alpha: float) -> Tensor:
    """float64 (n,): each whitened point's squares, weighted by how far the points vary in each
    direction beyond 1.

    Args:
        points: float64 (n, k); without poison of variance 1 in each direction.
        alpha: 0 weights all directions alike.
    """
    excess = points.T @ points / len(points) - torch.eye(points.shape[1], dtype=points.dtype)
    largest = float(torch.linalg.eigvalsh(excess).max())
    scale = largest if abs(largest) > 1e-9 else 1.0
    weights = torch.linalg.matrix_exp(alpha * excess / scale)
    found: Tensor = ((points @ weights) * points).sum(1) / weights.trace()
    return found


def _directions(latents: Tensor, dimensions: int) -> Tensor:
    """float64 (d, k): the top directions of a class, as many as its rows allow."""
    centred = latents - latents.mean(0)
    _, values, directions = torch.linalg.svd(centred, full_matrices=False)
    live = int((values > 1e-6 * values.max()).sum()) if len(values) else 0
    found: Tensor = directions[: min(dimensions, live, len(latents) // _ROWS)].T
    return found


def _powers(most: int) -> list[int]:
    """Powers of two below the most, and the most."""
    return [2**i for i in range(most.bit_length()) if 2**i < most] + [most]


def _trusted(latents: Tensor, labels: Tensor, label: int) -> tuple[Tensor, Tensor]:
    """Mean of a class's trusted latents (t, k), and the covariance of all about their classes'
    means; of a class without any, the mean of all.
    """
    means = torch.stack([latents[labels == k].mean(0) for k in labels.tolist()])
    mine = latents[labels == label] if bool((labels == label).any()) else latents
    return mine.mean(0), (latents - means).T.cov(correction=0).reshape(latents.shape[1], -1)


def _robust(points: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    fit: Any = MinCovDet(random_state=seed).fit(points.numpy())
    return torch.from_numpy(fit.location_), torch.from_numpy(fit.covariance_)


def _scored(points: Tensor, mean: Tensor, covariance: Tensor, alpha: float) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    whitened = (points - mean) @ vectors * values.clamp_min(_FLOOR * float(values.max())).rsqrt()
    return quantum_entropy(whitened, alpha)
