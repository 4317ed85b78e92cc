"""The robustness game: a defense on the really attacked victim, judged with the attacker's trigger
on the test set.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Algorithm 1 and section V-B.
Deviation: clean accuracy on held-out trusted images is recorded beside the test set's, so that a
rule which a defender could follow stands apart from the oracle that sees the test ASR. These are
the report images; they choose nothing here, and what is judged was chosen before.
"""

from collections.abc import Generator as Steps
from typing import Literal

import torch
from torch import nn

from trials.games._attacks import Attacks
from trials.metrics import accuracy
from trials.reporting import reporter
from trials.runtime import EvaluatorContext
from trials.spec import Count, Fraction, Point, PositiveInt
from trials.splits import cut
from trials.types import DefenderView

ADDED_LATER = frozenset({"asr_of"})


def play(
    ctx: EvaluatorContext,
    /,
    *,
    delta: Fraction = 0.02,
    record_every: PositiveInt = 50,
    patience: Count = 3,
    stop_at: Count = 0,
    asr_of: Literal["max", "mean", "min"] = "max",
) -> Steps[Point, None, dict[str, float]]:
    """The defense's curve on the test set; four fifths of the trusted images repair, one fifth
    validates.

    Args:
        delta: largest loss of clean accuracy that is accepted, absolute.
        record_every: optimizer steps between two points.
        patience: points in a row at which test and validation accuracy may both have lost more than
            ``delta`` before the run stops.
        stop_at: stop after this step and ignore ``delta`` (a setting frozen by tuning); 0 runs the
            defense to its end.
        asr_of: what one ASR is made of those of several attacks on one victim: the largest, the
            mean or the smallest. Each point has every attack's own in ``extra``, as ``asr/NAME``.
    """
    assert ctx.repair is not None
    view, test = ctx.view(), ctx.test()
    fit, select, report = cut(view.trusted.y, 0, 1, ctx.rng("split"))
    held = view.trusted.take(report)
    attacks = Attacks(ctx.poisoning(), test, asr_of)

    def measure(step: int, model: nn.Module) -> Point:
        rates = attacks.measure(model)
        asr = rates.pop("asr")
        extra = {"val_cda": accuracy(model, held), **rates}
        return Point(step, accuracy(model, test), asr, extra=extra)

    start = ctx.once(("robustness", asr_of), lambda: measure(0, view.model))
    yield start
    inner = DefenderView(view.model, view.trusted.take(torch.cat([fit, select])))
    beyond = 0
    reporter.until(stop_at)
    for step, model in ctx.repair(inner, ctx.rng("repair", 0), record_every):
        if stop_at and step < stop_at:
            continue
        point = measure(step, model)
        yield point
        lost = min(start.cda - point.cda, start.extra["val_cda"] - point.extra["val_cda"])
        beyond = beyond + 1 if lost > delta + 1e-9 else 0
        if stop_at or beyond > patience:
            break
    return {
        "cda0": start.cda,
        "asr0": start.asr,
        "val_cda0": start.extra["val_cda"],
        "n_clean": len(test),
        **attacks.sizes(),
        "n_validation": len(held),
    }
