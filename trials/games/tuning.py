"""The tuning game: run one setting of a defense on self-poisoned copies, whose trigger the defender
knows.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, sections V-B (the largest CDA loss) and V-C, A-E
(self-poisoning).
Deviation: several copies with their own triggers run in lockstep and are averaged, on images held
out from fitting; the reference release measures one copy on test images. What a setting costs is
measured on the given model itself, which needs no trigger.
"""

from collections.abc import Generator as Steps
from typing import Literal

from trials.games._copy_set import CopySet
from trials.runtime import DefenderContext
from trials.spec import Count, Fraction, Point, PositiveInt


def play(
    ctx: DefenderContext,
    /,
    *,
    copies: PositiveInt = 3,
    delta: Fraction = 0.02,
    record_every: PositiveInt = 50,
    patience: Count = 3,
    cost: Literal["given", "copies"] = "given",
) -> Steps[Point, None, dict[str, float]]:
    """Mean ASR over the copies, and the CDA, on their select images, until the CDA stays lower by
    more than ``delta``.

    Args:
        copies: self-poisoned copies; each has its own trigger, target and, in cross-fitting, its
            own select images.
        delta: largest loss of clean accuracy that is accepted, absolute.
        record_every: optimizer steps between two points of the curve.
        patience: points in a row that may lie beyond ``delta`` before the run stops; a high
            learning rate costs accuracy at first and wins it back. Such points are never chosen.
        cost: what the CDA is measured on: the given model, which the defense repairs as it does the
            copies, or the copies. Of the first, ``extra`` has that of the copies as
            ``cda_copies``.
    """
    copy_set = CopySet(ctx, copies, "select", cost)
    start = copy_set.start()
    yield start
    beyond = 0
    for step, models in copy_set.repairs(record_every):
        point = copy_set.measure(step, models)
        yield point
        beyond = beyond + 1 if point.cda < start.cda - delta - 1e-9 else 0
        if beyond > patience:
            break
    return {
        "cda0": start.cda,
        "asr0": start.asr,
        "stopped": float(beyond > patience),
        **copy_set.sizes,
    }
