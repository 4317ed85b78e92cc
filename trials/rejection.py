"""Which rows are removed, from what a data filter says of them: a share, a threshold that the
defender's own poison sets, or a fit of two normal distributions.

Source: conformal prediction (Vovk, Gammerman, Shafer 2005) for the threshold that finds all but
``beta`` of each attack: of m rows that are exchangeable with others, the ceil((1 - beta)(m + 1))-th
highest score is reached by a new one with a chance of at least 1 - beta. Rows of one image are not
exchangeable with others, so an image counts once; the lowest of m is reached with a chance of
m / (m + 1), which is all that few images promise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trials.spec import SpecError

FEWEST = 50  # rows of a class that has a threshold of its own; smaller classes are one


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rows by how suspicious they are, no two alike.

    Attributes:
        levels: int64 (n + others,), the higher the more suspicious.
        labels: int64, of each of them.
        n: the first so many are rows of the training set; of these shares are counted.
    """

    levels: Tensor
    labels: Tensor
    n: int

    def top(self, number: int) -> int:
        """The level from which on there are ``number`` rows of the training set."""
        if number <= 0:
            return int(self.levels.max()) + 1
        return int(self.levels[: self.n].sort(descending=True).values[number - 1])


def ranked(scores: Tensor, labels: Tensor, n: int, rng: Generator, quota: str) -> Ranked:
    """Rank rows by their scores, or, ``within``, by their rank in their class.

    Args:
        scores: (n + others,), higher is more suspicious.
        labels: int64, of each.
        n: rows of the training set.
        rng: decides between rows of the same score.
        quota: within, or another word.
    """
    mixed = torch.randperm(len(scores), generator=rng)
    levels = _levels(scores, mixed)
    groups = grouped(labels, n)
    if quota == "within":
        shares = torch.zeros(len(scores), dtype=torch.float64)
        for group in torch.unique(groups).tolist():
            rows = (groups == group).nonzero().flatten()
            shares[rows] = (levels[rows].argsort().argsort() + 0.5).double() / len(rows)
        levels = _levels(shares, mixed)
    return Ranked(levels, groups, n)


def grouped(labels: Tensor, n: int) -> Tensor:
    """The labels, with one of their own, -1, for all classes of which there are few rows."""
    sizes = torch.bincount(labels[:n], minlength=int(labels.max()) + 1)
    return torch.where(sizes[labels] < FEWEST, torch.full_like(labels, -1), labels)


def check_enough(beta: float, rows: int) -> None:
    """Raises SpecError where so many rows of an attack are too few for the threshold to find the
    share 1 - ``beta`` of new rows, even if each is of another image.
    """
    if _rank(beta, rows) > rows:
        raise SpecError(
            f"beta = {beta:g} needs {math.ceil((1 - beta) / beta - 1e-9)} rows of each attack "
            f"of the defender's, got {rows}: raise beta, or least (self_poisoning)."
        )


def _rank(beta: float, rows: int) -> int:
    """Which of so many levels, from the highest, the share 1 - ``beta`` of new rows reaches."""
    return max(1, math.ceil((1 - beta) * (rows + 1) - 1e-9))


def promised(beta: float, rows: int) -> float:
    """The share of new rows that ``finds_all`` promises of a group of so many rows, of which
    ``without_itself`` can see as much: 1 - ``beta``, or all but one row where they are few.
    """
    return min(1 - beta, 1 - 1 / rows)


def finds_all(groups: Sequence[Tensor], beta: float) -> int:
    """The highest level from which on there is, of each of these groups of rows, the share 1 -
    ``beta``, and of new rows like them too; of a group that is too small for that, all of it.

    Args:
        groups: levels int64 (m,) of the rows of an attack, each of another image.
        beta: what may be missed.
    """
    return min(_reached(group, beta) for group in groups)


def without_itself(groups: Sequence[Tensor], beta: float) -> list[Tensor]:
    """Int64, for each row of each group: the level that ``finds_all`` gives without that row, so
    that whether it lies from there on says something of new rows.
    """
    reached = [_reached(group, beta) for group in groups]
    found = []
    for j, group in enumerate(groups):
        ordered = group.sort(descending=True).values
        level = group + 1  # a row that is alone is not found
        if len(group) > 1:
            last = min(_rank(beta, len(group) - 1), len(group) - 1)
            level = torch.where(group < ordered[last - 1], ordered[last - 1], ordered[last])
        others = [*reached[:j], *reached[j + 1 :]]
        found.append(level.clamp(max=min(others)) if others else level)
    return found


def _reached(group: Tensor, beta: float) -> int:
    ordered = group.sort(descending=True).values
    return int(ordered[min(_rank(beta, len(group)), len(group)) - 1])


def two_normals(scores: Tensor) -> int:
    """How many scores the higher of two normal distributions is likelier to have made."""
    from sklearn.mixture import GaussianMixture  # noqa: PLC0415 - slow to load

    values = scores.double().reshape(-1, 1).numpy()
    fit = GaussianMixture(2, random_state=0, n_init=3).fit(values)
    high = int(fit.means_[:, 0].argmax())
    mine = (fit.predict(values) == high) & (values[:, 0] > fit.means_[1 - high, 0])
    return int(mine.sum())


def from_level(rows: Ranked, level: int, cap: float) -> Tensor:
    """Bool, one for each row: those from that level on, but of no class more than the share
    ``cap`` of its rows in the training set.
    """
    gone = rows.levels >= level
    for group in torch.unique(rows.labels[: rows.n]).tolist() if cap < 1 else ():
        mine = rows.labels == group
        levels = rows.levels[: rows.n][mine[: rows.n]].sort(descending=True).values
        most = int(cap * len(levels) + 1e-9)
        if most < len(levels):
            gone &= ~mine | (rows.levels > int(levels[most]))
    return gone


def _levels(values: Tensor, mixed: Tensor) -> Tensor:
    """Int64 places from below, ties in the order ``mixed``."""
    order = mixed[values[mixed].argsort(descending=True, stable=True)]
    levels = torch.empty(len(values), dtype=torch.int64)
    levels[order] = torch.arange(len(values) - 1, -1, -1)
    return levels
