"""Forgetting: how many predictions on the trusted images a defense changes; measures no backdoor.

Source: an example for the documentation.
Deviation: the curve's ASR is the share of changed predictions.
"""

from collections.abc import Generator as Steps

from trials.metrics import accuracy, predictions
from trials.runtime import DefenderContext
from trials.spec import Point, PositiveInt


def play(
    ctx: DefenderContext, /, *, record_every: PositiveInt = 30
) -> Steps[Point, None, dict[str, float]]:
    """Yield a point every ``record_every`` steps of the defense; return the metrics of the record.

    Args:
        ctx: what a defender is given: the model, the trusted images, the defense. A game that may
            see the attack and the test set takes an EvaluatorContext instead.
        record_every: optimizer steps between two points.
    """
    assert ctx.repair is not None
    trusted = ctx.view.trusted
    before = predictions(ctx.view.model, trusted.x)
    changed = 0.0
    for step, model in ctx.repair(ctx.view, ctx.rng("repair", 0), record_every):
        changed = float((predictions(model, trusted.x) != before).float().mean())
        yield Point(step, accuracy(model, trusted), changed)
    return {"changed": changed}
