"""Self-poisoning of a training set: the defender adds poison of their own, and trains on it.

Source: the idea of Lukas & Kerschbaum 2023, arXiv:2305.09671 (a defender who poisons copies of the
model knows the trigger), taken to data filters: of the defender's rows it is known that they are
poisoned, so a threshold can be set by them.
Deviation: the paper poisons models; nothing is published of training sets.
"""

from collections.abc import Generator as Steps
from typing import Literal

from trials.data_views import SelfPoisonDataContext
from trials.metrics import accuracy, success
from trials.reporting import TrialProgress, reporter
from trials.self_poisoning.own_rows import joined, own_rows
from trials.spec import PositiveFraction, PositiveInt


def play(
    ctx: SelfPoisonDataContext,
    /,
    *,
    attacks: PositiveInt = 4,
    kinds: Literal["all", "flipped", "patch"] = "all",
    least: PositiveFraction = 0.001,
    most: PositiveFraction = 0.02,
) -> Steps[TrialProgress, None, dict[str, float]]:
    """Train on the rows, the poisoned ones and the held-back images, and keep the model; how far
    each attack was learned is measured on the held-back images.

    Args:
        attacks: how many are planted, each of another kind.
        kinds: all, of which some keep labels; flipped, those that do not; or patch, a patch alone.
        least: share of the training set that an attack poisons at the least, 40 rows anyway.
        most: share of the training set that an attack poisons at the most.
    """
    rows = own_rows(
        ctx.trusted, ctx.n, ctx.rng, attacks=attacks, least=least, most=most, kinds=kinds
    )
    model = ctx.fresh()
    for step, steps, loss in ctx.fit(model, joined((rows.rows, rows.held)), ctx.rng("training")):
        yield reporter.progress(step, steps, loss)
    model.eval()
    held = rows.held.to(ctx.device)
    asr = [success(model, goal.cases(held)) for goal in rows.goals]
    named = dict(zip(rows.names, asr, strict=True))
    metrics = {"cda": accuracy(model, held), "n_clean": len(held)}
    metrics |= {f"asr/{name}": value for name, value in named.items()}
    metrics |= {f"m/{n}": int((rows.number == j).sum()) for j, n in enumerate(rows.names)}
    metrics |= {f"restamped/{n}": m for n, m in zip(rows.names, rows.restamped, strict=True)}
    ctx.save(model, {"asr": asr})
    return {"asr": max(asr), **metrics}
