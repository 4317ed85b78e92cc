"""SCAn: classes whose latents are better told as two groups than as one, and the smaller group.

Source: SCAn (Tang, Wang, Tang, Zhang 2021, 'Demon in the Variant: Statistical Analysis of DNNs for
Robust Backdoor Contamination Detection', arXiv:1908.00686): a latent is its class's identity plus a
variation that all classes share; both covariances by expectation maximisation; a class is suspect
if its likelihood ratio of two groups against one lies e^2 median deviations from the median.
Deviation: latents are projected on their top principal directions first, as 250 trusted images
give no covariance of 512 dimensions. The two groups begin along the class's top direction, with
several shares, of which the likeliest split counts, so that nothing is drawn. For a score of every
row, the margin by which it lies nearer to the smaller group, times the class's ratio.
"""

import itertools
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor

from trials.filters._passes import seen_by_trained
from trials.spec import PositiveFloat, PositiveInt
from trials.views import DataView, SampleScores

NEEDS = frozenset({"head"})
REJECTS = True
REJECTS_BY = frozenset({"flagged"})
_STOP, _MOST = 1e-5, 100  # change, relative, and rounds at which iterations end
_SHARES = (0.5, 0.8, 0.9, 0.95, 0.98)  # of a class, that begin in the larger group
_FEWEST = 4  # rows of a class; fewer are not split
_NORMAL = 1.4826  # standard deviations in a median deviation


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    dimensions: PositiveInt = 64,
    variation: Literal["trusted", "rows"] = "trusted",
    flagged: PositiveFloat = 7.39,
) -> SampleScores:
    """Margins towards the smaller group of the row's class, times the class's ratio a row.

    Args:
        view: the rows, and the trusted images.
        rng: not used: nothing is drawn.
        dimensions: top principal directions of the latents that are looked at.
        variation: the images whose latents give the two covariances.
        flagged: its own rule suspects the smaller group of classes whose ratio lies so many median
            deviations above the median.
    """
    seen, labels = seen_by_trained(view), view.train.y.cpu()
    latents = torch.cat([seen.latents, seen.trusted]).double()
    centred = latents - latents.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:dimensions].T
    rows, known = points[: len(labels)], points[len(labels) :]
    if variation == "trusted":
        within = variation_of(known, view.trusted.y.cpu())
    else:
        within = variation_of(rows, labels)
    whitened = rows @ _root_of_inverse(within)
    scores, small = torch.zeros(len(labels)), torch.zeros(len(labels), dtype=torch.bool)
    ratios: dict[int, float] = {}
    for label in torch.unique(labels).tolist():
        mine = (labels == label).nonzero().flatten()
        if len(mine) < _FEWEST:
            continue
        found = split(whitened[mine])
        ratios[label] = found.ratio
        scores[mine] = (found.margins * found.ratio).float()
        small[mine] = found.smaller
    index = anomalies(ratios)
    suspect = torch.tensor([k for k, value in index.items() if value > flagged], dtype=torch.int64)
    return SampleScores(
        scores, small & torch.isin(labels, suspect), {"flagged_classes": float(len(suspect))}
    )


def variation_of(points: Tensor, labels: Tensor) -> Tensor:
    """float64 (d, d): the covariance of the variation within classes.

    Args:
        points: float64 (n, d), centred.
        labels: int64 (n,).
    """
    classes = torch.unique(labels)
    member = (labels[:, None] == classes).double()
    sizes = member.sum(0)
    sums = member.T @ points
    each = member @ (sums / sizes[:, None])
    identity, within = _covariance(each), _covariance(points - each)
    for _ in range(_MOST):
        before = identity, within
        means = [
            identity @ torch.linalg.pinv(n * identity + within, hermitian=True) @ total
            for n, total in zip(sizes, sums, strict=True)
        ]
        each = member @ torch.stack(means)
        identity, within = _covariance(each), _covariance(points - each)
        moved = (identity - before[0]).norm() + (within - before[1]).norm()
        if moved <= _STOP * (before[0].norm() + before[1].norm()):
            break
    found: Tensor = within
    return found


def _covariance(points: Tensor) -> Tensor:
    """(d, d), for one direction too, where torch's has no dimension."""
    d = points.shape[1]
    return points.T.cov(correction=0).reshape(d, d)


class Split(NamedTuple):
    """Two groups of a class's rows.

    Attributes:
        smaller: bool (n,), the smaller group.
        margins: float64 (n,), 1 at its centre and -1 at the other's.
        ratio: twice the logarithm of the likelihood ratio, a row.
    """

    smaller: Tensor
    margins: Tensor
    ratio: float


def split(points: Tensor) -> Split:
    """The likeliest of several splits of points (n, d) whose variation is 1 in each direction."""
    centred = points - points.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    along = centred @ directions[0]
    sides = itertools.product(_SHARES, (along, -along))
    found = [_settled(points, side > side.quantile(share)) for share, side in sides]
    return max(found, key=lambda s: s.ratio)


def _settled(points: Tensor, group: Tensor) -> Split:
    """Two means, from this group on; a group that loses all its rows is none."""
    for _ in range(_MOST):
        if not group.any() or group.all():
            nothing = torch.zeros(len(points), dtype=torch.bool)
            return Split(nothing, nothing.double(), 0.0)
        ones, others = points[group].mean(0), points[~group].mean(0)
        apart = ones - others
        margins = 2 * ((points - (ones + others) / 2) @ apart) / apart.square().sum()
        before, group = group, margins > 0
        if torch.equal(before, group):
            break
    share = float(before.double().mean())
    ratio = share * (1 - share) * float(apart.square().sum())
    return Split(before, margins, ratio) if share <= 0.5 else Split(~before, -margins, ratio)


def anomalies(ratios: dict[int, float]) -> dict[int, float]:
    """How many median deviations each class's ratio lies above the median of them."""
    if not ratios:
        return {}
    values = torch.tensor(list(ratios.values()), dtype=torch.float64)
    middle = values.quantile(0.5)
    deviation = _NORMAL * (values - middle).abs().quantile(0.5)
    index = (values - middle) / deviation.clamp_min(1e-12)
    return dict(zip(ratios, index.tolist(), strict=True))


def _root_of_inverse(covariance: Tensor) -> Tensor:
    """float64 (d, d), symmetric: what makes the variation 1 in each direction that has some."""
    values, vectors = torch.linalg.eigh(covariance)
    root = torch.where(values > 1e-9 * values.max(), values.clamp_min(1e-300).rsqrt(), 0.0)
    found: Tensor = (vectors * root) @ vectors.T
    return found
