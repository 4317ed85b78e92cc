"""How much to remove, by what is left of the defender's own poison once a model is trained on the
rest.
"""

import torch

from trials.filtering import FilteringContext
from trials.metrics import accuracy, success
from trials.rejection import Ranked, from_level
from trials.self_poisoning.own_rows import OwnRows
from trials.types import Poisoning

SHARES = (0.0, 0.05, 0.1, 0.2, 0.4)  # that are tried; nothing comes first


def share_within(
    ctx: FilteringContext, own: OwnRows, rows: Ranked, most: float, delta: float
) -> float:
    """The share of ``SHARES`` that leaves the defender's attacks the least ASR, of those that cost
    at most ``delta`` of the accuracy on the held-back images; the smallest of these where several
    leave as little.

    Each share is a training on what it keeps, the defender's rows that are not found included, and
    of no class more than the share ``most`` is removed, as in the last training.
    """
    at_most: list[tuple[float, float]] = []
    accuracy_of_all = 0.0
    size = len(ctx.rows) + len(own.rows)  # the held-back images are measured on
    for share in SHARES:
        gone = from_level(rows, rows.top(round(share * rows.n)), most)
        kept = (~gone)[:size].nonzero().flatten()
        train = ctx.view.train.take(kept.to(ctx.view.train.y.device))
        rng = ctx.rng("budget")
        seed = int(torch.randint(2**31 - 1, (1,), generator=rng))
        model = ctx.view.fit(ctx.view.fresh(seed), Poisoning(train), rng)
        held = own.held.to(ctx.view.train.x.device)
        cda = accuracy(model, held)
        accuracy_of_all = accuracy_of_all if at_most else cda
        if cda >= accuracy_of_all - delta - 1e-9:
            left = max(success(model, goal.cases(held)) for goal in own.goals)
            at_most.append((left, share))
    return min(at_most)[1]
