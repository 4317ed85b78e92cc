"""The given model's own clean accuracy before and after the repair, image by image."""

from torch import nn

from results.report.own_accuracy import Own
from results.stats.intervals import paired
from trials.metrics import predictions
from trials.types import Images


def own_of(given: nn.Module, model: nn.Module, held: Images, *, mirrored: bool) -> Own:
    """What became of the given model's accuracy.

    Args:
        given: before the repair.
        model: after it.
        held: images that chose nothing.
        mirrored: each one's mirror image counts, too, where training mirrors.
    """
    seen = held.and_mirrored() if mirrored else held
    views, truth = len(seen) // len(held), seen.y.cpu()
    before, after = (
        (predictions(m, seen.x).cpu() == truth).double().view(views, -1).mean(0)
        for m in (given, model)
    )
    return Own(
        before=float(before.mean()),
        after=float(after.mean()),
        n=len(held),
        cost_interval=paired((before - after).tolist()),
        mirrored=views > 1,
    )
