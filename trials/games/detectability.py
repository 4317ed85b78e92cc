"""The detectability game: a detector looks at a model, clean or attacked, and says how suspicious
it is.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Algorithm 2.
Deviation: one trial gives one model's score, so that a pool of clean models is shared by all
attacks; the ROC AUC is taken over the stored scores. Beside it, how well the detector finds the
target class and the trigger is measured.
"""

from collections.abc import Generator as Steps

import torch

from trials.games._frozen import repaired
from trials.games._recovery import recovered
from trials.reporting import reporter
from trials.runtime import EvaluatorContext
from trials.spec import Count, Point, PositiveInt

_IMAGES = 512  # of the test set, on which the triggers are compared


def play(
    ctx: EvaluatorContext, /, *, stop_at: Count = 0, record_every: PositiveInt = 50
) -> Steps[Point, None, dict[str, float]]:
    """The detector's score of the model, and of each class; the higher, the more suspicious.

    Args:
        stop_at: step at which the repair ends whose model the detector may compare with; 0 runs it
            to its end.
        record_every: steps between two stops of the repair, as in the game that chose ``stop_at``.
    """
    assert ctx.inspect is not None
    view = ctx.view()
    repair, inspection = reporter.split("repair", "inspection")
    with repair:
        model = repaired(ctx.repair, view, ctx.rng("repair", 0), record_every, stop_at)
    with inspection:
        found = ctx.inspect(view.model, model, view.trusted, ctx.rng("inspect"))
    metrics = {"score": found.score, **found.extra, "classes": float(len(found.scores))}
    metrics |= {f"score_{k}": float(s) for k, s in enumerate(found.scores)}
    metrics |= {f"norm_{k}": float(n) for k, n in enumerate(found.norms)}
    if ctx.attacked:
        test = ctx.test()
        few = test.take(torch.arange(0, len(test), max(1, len(test) // _IMAGES)))
        metrics |= recovered(ctx.poisoning(), few, found)
    return metrics
    yield  # a game is a generator; this one has no curve
