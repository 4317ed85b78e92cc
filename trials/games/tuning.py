"""The tuning game: run one setting of a defense on self-poisoned copies, whose trigger the defender
knows.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, sections V-B (the largest CDA loss) and V-C, A-E
(self-poisoning).
Deviation: several copies with their own triggers run in lockstep and are averaged, on images held
out from fitting; the reference release measures one copy on test images. What a setting costs is
measured on the given model itself, which needs no trigger; what costs too much is not run on the
copies.
"""

from collections.abc import Generator as Steps
from collections.abc import Iterator, Mapping
from typing import Literal

from trials.games._copy_set import CopySet, Given
from trials.games._payment import SLACK, EarlyStopping, Payment
from trials.reporting import reporter
from trials.runtime import DefenderContext
from trials.spec import Count, Fraction, Point, PositiveInt

DEFAULTS = {"cost": {"copies": {"mirrored": False}}}


def play(
    ctx: DefenderContext,
    /,
    *,
    copies: PositiveInt = 3,
    delta: Fraction = 0.02,
    record_every: PositiveInt = 50,
    patience: Count = 3,
    cost: Literal["given", "both", "copies"] = "given",
    reconstruct: bool = False,
    mirrored: bool = True,
    smooth: bool = False,
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
        cost: what the CDA is measured on. given: the given model, which the defense repairs first,
            once for each way in which the copies' images are cut, or for the first alone where that
            costs more than twice ``delta``; the copies are repaired only up to the last step that
            costs it at most ``delta``, and not at all where there is none. both: the given model
            too, beside the copies, to the end. copies: the copies. Of the first two, ``extra`` has
            the CDA of the copies as ``cda_copies``.
        reconstruct: reconstruct a trigger from the given model, and measure on the model how far
            that still works: ``asr_reconstructed`` in ``extra``. The metric ``mask_share``
            says how suspicious it is. Needs a cost of given or both.
        mirrored: measure the given model's CDA on each select image and on its mirror image, where
            training mirrors them: as sure as with half as many images again. Needs a cost of given
            or both; false, if left out, with a cost of copies.
        smooth: look for a faint picture over the whole image and for a warp too, and take the most
            suspicious of the three: of these two the metric is ``odds_share``. Needs reconstruct.
    """
    copy_set = CopySet(ctx, copies, "select", cost, reconstruct, mirrored, smooth)
    start = copy_set.start()
    yield start
    floor, stop = start.cda - delta - SLACK, EarlyStopping(patience)
    facts: dict[str, float] = {}
    if cost == "given":
        paid = Payment(copy_set, start.cda, delta, record_every).paid(stop)
        reporter.part("", copy_set.share_of_given, 1)
        yield from _affordable(copy_set, paid, floor, record_every)
        facts["cda_given"] = max((g.cda for g in paid.values()), default=start.cda)
    else:
        for step, models in copy_set.repairs(record_every):
            point = copy_set.measure(step, models)
            yield point
            if stop.over(point.cda < floor):
                break
    return {
        "cda0": start.cda,
        "asr0": start.asr,
        "stopped": float(stop.is_over),
        **facts,
        **copy_set.sizes,
    }


def _affordable(
    copy_set: CopySet, paid: Mapping[int, Given], floor: float, every: int
) -> Iterator[Point]:
    """The points of the copies up to the last step at which the given model keeps ``floor``."""
    last = max((step for step, given in paid.items() if given.cda >= floor), default=0)
    for step, models in copy_set.repairs(every, last) if last else ():
        yield copy_set.measure(step, models, paid[step])
        if step >= last:
            return
