"""What is measured, each defined here and nowhere else. All are fractions in [0, 1]."""

import torch
from torch import Tensor, nn

from trials.train import to_float
from trials.types import Images, Trigger


@torch.inference_mode()
def predictions(model: nn.Module, x: Tensor, batch: int = 512) -> Tensor:
    """Predicted classes int64 (n,) of uint8 images, in eval mode; the model's mode is restored.

    Raises:
        ArithmeticError: a logit is not finite; a broken model is a failure, not an accuracy of
            zero.
    """
    device = next(model.parameters()).device
    mode = model.training
    model.eval()
    try:
        parts = []
        for start in range(0, len(x), batch):
            logits = model(to_float(x[start : start + batch].to(device)))
            if not torch.isfinite(logits).all():
                raise ArithmeticError("the model diverged: its logits are not finite")
            parts.append(logits.argmax(1))
    finally:
        model.train(mode)
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=device)


def accuracy(model: nn.Module, images: Images) -> float:
    """CDA: share of images whose true label is predicted. Raises ValueError on an empty set."""
    if not len(images):
        raise ValueError("no images to measure accuracy on")
    return float((predictions(model, images.x).cpu() == images.y.cpu()).double().mean())


def stamped(images: Images, trigger: Trigger, target: int) -> Tensor:
    """Triggered uint8 images of all classes but ``target`` (algorithms: the ASR's own test set)."""
    keep = (images.y != target).nonzero().flatten()
    return trigger(images.x[keep], keep)


def rate(model: nn.Module, triggered: Tensor, target: int) -> float:
    """ASR: share of triggered non-target images predicted as ``target``.

    Raises ValueError on an empty set.
    """
    if not len(triggered):
        raise ValueError("no images outside the target class to measure the ASR on")
    return float((predictions(model, triggered) == target).double().mean())
