"""Tuning a detector by self-poisoning: how surely it points at the planted target of copies that
the defender poisoned.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, section V-C, which tunes defenses so.
Deviation: the paper does not tune its detectors. A defender has few poisoned copies and one model
to compare them with, too few for a ROC curve over models; so the planted target's score is compared
with those of the copy's other classes.
"""

from collections.abc import Generator as Steps
from statistics import fmean

from trials.games._frozen import repaired
from trials.games._recovery import rank_of
from trials.reporting import reporter
from trials.runtime import DefenderContext
from trials.spec import Count, Point, PositiveInt
from trials.types import DefenderView


def play(
    ctx: DefenderContext,
    /,
    *,
    copies: PositiveInt = 3,
    stop_at: Count = 0,
    record_every: PositiveInt = 50,
) -> Steps[Point, None, dict[str, float]]:
    """The detector on each copy: ``auc``, the share of other classes that score below the target
    (ties half), its mean.

    Args:
        copies: self-poisoned copies, those of tuning.
        stop_at: step at which the repair ends whose model the detector may compare with; 0 runs it
            to its end.
        record_every: steps between two stops of the repair.
    """
    assert ctx.inspect is not None
    aucs, margins = [], []
    phases = reporter.split(*(f"copy {i} of {copies}" for i in range(1, copies + 1)))
    for i in range(copies):
        copy = ctx.copy(i)
        trusted = ctx.view.trusted.take(copy.fit)
        view = DefenderView(copy.model, trusted)
        with phases[i]:
            repair, inspection = reporter.split("repair", "inspection")
            with repair:
                model = repaired(ctx.repair, view, ctx.rng("repair", i), record_every, stop_at)
            with inspection:
                found = ctx.inspect(copy.model, model, trusted, ctx.rng("inspect", i))
        others = [float(s) for k, s in enumerate(found.scores) if k != copy.goal.target]
        aucs.append(1 - (rank_of(found.scores, copy.goal.target) - 1) / len(others))
        margins.append(float(found.scores[copy.goal.target]) - max(others))
    each = {f"auc_{i}": a for i, a in enumerate(aucs)}
    return {"auc": fmean(aucs), "margin": fmean(margins), "copies": float(copies), **each}
    yield  # a game is a generator; this one has no curve
