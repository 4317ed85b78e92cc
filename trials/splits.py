"""Stratified draws: which training images the defender trusts, and how they are cut into fit,
select and report.
"""

import torch
from torch import Generator, Tensor

from trials.spec import SpecError
from trials.types import Images

REPORT_SHARE = 0.2  # of the trusted images; the rest is cut for fitting and selecting


def stratified_order(y: Tensor, candidates: Tensor, rng: Generator) -> Tensor:
    """``candidates`` (int64 places in ``y``) shuffled, classes spread evenly, so that each prefix
    is stratified.
    """
    shuffled = candidates[torch.randperm(len(candidates), generator=rng)]
    labels = y[shuffled]
    rank = torch.empty(len(shuffled), dtype=torch.float64)
    for label in set(labels.tolist()):
        mine = (labels == label).nonzero().flatten()
        # else rounding favours the first classes
        offset = torch.rand(1, generator=rng, dtype=torch.float64)
        rank[mine] = (torch.arange(len(mine), dtype=torch.float64) + offset) / len(mine)
    return shuffled[rank.argsort(stable=True)]


def draw_trusted(train: Images, r: float, banned: Tensor, rng: Generator) -> Tensor:
    """Places of the trusted images: a stratified draw of r times the training set, none of
    ``banned``.

    Raises:
        SpecError: r is outside (0, 1], gives fewer than 5 images a class (too few to fit, select
            and report on), or more than there are besides ``banned``.
    """
    check_trusted(r, len(train), train.classes)
    free = len(train) - len(banned)
    if round(r * len(train)) > free:
        raise SpecError(
            f"r (trusted) = {r:g} of {len(train)} images is more than the {free} that may be "
            "trusted: the others are "
            f"poisoned or trained on. Lower r to {int(1000 * free / len(train)) / 1000:g} or less."
        )
    allowed = torch.ones(len(train), dtype=torch.bool)
    allowed[banned] = False
    return stratified_order(train.y, allowed.nonzero().flatten(), rng)[: round(r * len(train))]


def check_trusted(r: float, n_train: int, classes: int) -> None:
    """Raises SpecError for an r that cannot be split into fit, select and report."""
    if not 0 < r <= 1:
        hint = f" It is a fraction: write {r / 100:g} for {r:g} %." if 1 < r <= 100 else ""
        raise SpecError(f"r (trusted) must lie in (0, 1], got {r:g}.{hint}")
    if round(r * n_train) < 5 * classes:
        raise SpecError(
            f"r (trusted) = {r:g} of {n_train} images gives {round(r * n_train)} trusted images, "
            f"but {classes} classes "
            f"need at least {5 * classes} to fit, select and report on. Raise r to "
            f"{5 * classes / n_train:.3g} or more."
        )


def cut(y: Tensor, copy: int, folds: int, seed_rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Places for fitting, selecting and reporting, on the CPU; disjoint, stratified, together all
    of ``y``.

    The report part (a fifth) is the same for every copy. The rest is cut into ``max(folds, 4)``
    parts for one fold and ``folds`` parts otherwise; copy i selects on part i mod folds and fits on
    the others (cross-fitting).
    """
    # sorted by class, shuffled within each: so every k-th image is a stratified sample, while in an
    # order that alternates between classes every k-th image may be of one class
    y, mixed = y.cpu(), torch.randperm(len(y), generator=seed_rng)
    order = mixed[y[mixed].argsort(stable=True)]
    n_report = round(REPORT_SHARE * len(y))
    spread = torch.zeros(len(y), dtype=torch.bool)
    spread[torch.linspace(0, len(y) - 1, n_report).round().long()] = True
    report, rest = order[spread], order[~spread]
    parts = 4 if folds == 1 else folds
    mine = torch.arange(len(rest)) % parts == copy % folds
    return rest[~mine], rest[mine], report
