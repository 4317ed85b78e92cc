"""A defense run with its step frozen."""

from torch import Generator, nn

from trials.reporting import reporter
from trials.types import DefenderView, Repair


def repaired(
    repair: Repair | None, view: DefenderView, rng: Generator, every: int, stop_at: int
) -> nn.Module:
    """The view's model in eval mode after ``stop_at`` steps of the defense, or all of them for 0;
    as it is for None.
    """
    model = view.model
    reporter.until(stop_at)
    for step, model in repair(view, rng, every) if repair else ():  # noqa: B007
        if stop_at and step >= stop_at:
            break
    return model.eval()
