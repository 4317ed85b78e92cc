"""A repair behind a data filter, as a defender sees it who poisoned the set: what is left of their
own triggers, and of the accuracy on images held back.

Source: the idea of Lukas & Kerschbaum 2023, arXiv:2305.09671, Algorithm 1 (tune a repair on copies
whose trigger is known), on a model of a training set that was poisoned and filtered.
Deviation: the paper repairs copies of a given model. Here the model is trained on what the filter
keeps, with those of the defender's rows that it missed.
"""

from collections.abc import Generator as Steps

from torch import nn

from trials.metrics import accuracy, success
from trials.own_repairs import OwnRepairContext
from trials.reporting import reporter
from trials.spec import LEARNED, Count, Fraction, Point, PositiveInt


def play(
    ctx: OwnRepairContext,
    /,
    *,
    delta: Fraction = 0.02,
    record_every: PositiveInt = 50,
    patience: Count = 3,
) -> Steps[Point, None, dict[str, float]]:
    """The repair's curve on the trusted images held back, which are in no training and repair
    nothing: their accuracy, and the largest ASR of the defender's attacks that were learned, of all
    if none was. Each point has every attack's own in ``extra``, as ``asr/NAME``.

    ``cda_before`` is the accuracy of the model of all rows: what filter and repair cost together is
    counted from it.

    Args:
        delta: largest loss of accuracy that is accepted, absolute.
        record_every: optimizer steps between two points.
        patience: points in a row at which the accuracy may have fallen by more than ``delta``
            since the repair began before the run stops.
    """
    held = ctx.own.held.to(ctx.device)
    cases = {n: g.cases(held) for n, g in zip(ctx.own.names, ctx.own.goals, strict=True)}
    known = [n for n, asr in zip(ctx.own.names, ctx.learned, strict=True) if asr >= LEARNED]

    def measure(step: int, model: nn.Module) -> Point:
        rates = {name: success(model, of) for name, of in cases.items()}
        extra = {f"asr/{name}": rate for name, rate in rates.items()}
        worst = max(rates[name] for name in known or ctx.own.names)
        return Point(step, accuracy(model, held), worst, extra=extra)

    before = accuracy(ctx.before(), held)
    start = measure(0, ctx.view.model)
    yield start
    beyond = 0
    reporter.until(0)
    for step, model in ctx.repair(ctx.view, ctx.rng("repair", 0), record_every):
        point = measure(step, model)
        yield point
        beyond = beyond + 1 if start.cda - point.cda > delta + 1e-9 else 0
        if beyond > patience:
            break
    return {"cda_before": before, "n_held": float(len(held)), "own_learned": float(len(known))}
