"""What the detectors begin and end with: trusted images where the model is, and a suspicion of
finite numbers.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from trials.spec import SpecError
from trials.types import Images, Suspicion


def beside(model: nn.Module, trusted: Images) -> Images:
    """The trusted images on the model's device. Raises SpecError if there are none."""
    if not len(trusted):
        raise SpecError("there are no trusted images to detect with: raise the trusted fraction.")
    return trusted.to(next(model.parameters()).device)


def verdict(
    scores: Tensor,
    norms: Tensor,
    triggers: Tensor,
    masks: Tensor | None,
    extra: Mapping[str, float],
) -> Suspicion:
    """The suspicion, on the CPU, of a model that is as suspicious as its most suspicious class.

    Raises:
        ArithmeticError: a number is not finite; a broken model is a failure, neither clean nor
            poisoned.
    """
    if not all(
        bool(torch.isfinite(t).all())
        for t in (scores, norms, triggers, torch.tensor(list(extra.values())))
    ):
        raise ArithmeticError("the inversion diverged: a trigger or a score is not finite")
    kept = None if masks is None else masks.cpu()
    return Suspicion(float(scores.max()), scores.cpu(), norms.cpu(), triggers.cpu(), kept, extra)
