"""Confirmation: the chosen setting once more on the copies, measured on report images that chose
nothing.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, section V-C.
Deviation: the paper reports the number that it selected by; choosing the lowest of many makes that
number too good.
"""

from collections.abc import Generator as Steps
from typing import Literal

from trials.games._copy_set import CopySet, Cost
from trials.runtime import DefenderContext
from trials.spec import Count, Point, PositiveInt


def play(
    ctx: DefenderContext,
    /,
    *,
    copies: PositiveInt = 3,
    stop_at: Count = 0,
    record_every: PositiveInt = 50,
    cost: Literal["given", "copies"] = "given",
    probe: bool = True,
    reconstruct: bool = False,
    mirrored: bool = False,
    smooth: bool = False,
) -> Steps[Point, None, dict[str, float]]:
    """CDA and ASR on the report images before the defense and after ``stop_at`` steps.

    Args:
        copies: self-poisoned copies, those of tuning.
        stop_at: step that tuning chose; 0 leaves the model as it is.
        record_every: steps between two stops of the defense, as in tuning.
        cost: what the CDA is measured on, the given model or the copies, as in tuning.
        probe: measure how deep the repair of the copies goes: ``retuned_asr``, the ASR once a
            repaired copy was tuned for five epochs on its fit images and five stamped ones, and
            ``path_share``, the share of the line from the poisoned to the repaired weights with an
            ASR above a half.
        reconstruct: measure how far the reconstructed trigger still works, as in
            tuning.
        mirrored: measure the given model's CDA on mirror images, too, as in tuning.
        smooth: look for smooth triggers, too, as in tuning.
    """
    beside: Cost = "copies" if cost == "copies" else "both"
    copy_set = CopySet(ctx, copies, "report", beside, reconstruct, mirrored, smooth)
    start = end = copy_set.start()
    depth = dict[str, float]()
    yield start
    for step, models in copy_set.repairs(record_every, stop_at) if stop_at else ():
        if step >= stop_at:
            end = copy_set.measure(step, models)
            depth = copy_set.depth(models) if probe else {}
            yield end
            break
    return {
        "cda0": start.cda,
        "asr0": start.asr,
        "cda": end.cda,
        "asr": end.asr,
        "step": end.step,
        **depth,
        **copy_set.sizes,
    }
