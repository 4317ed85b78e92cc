"""What is measured, each defined here and nowhere else. All are fractions in [0, 1]."""

import math

import torch
from torch import Tensor, nn

from trials.train import to_float
from trials.types import Cases, Images

# images a batch; on a CPU, more of them leave its caches (1.7 times as slow with 512)
BATCH, BATCH_CPU = 512, 64


@torch.inference_mode()
def predictions(model: nn.Module, x: Tensor, batch: int = 0) -> Tensor:
    """Predicted classes int64 (n,) of uint8 images, in eval mode; the model's mode is restored.

    ``batch`` images at a time; 0 is as many as the device takes quickly.

    Raises:
        ArithmeticError: a logit is not finite; a broken model is a failure, not an accuracy of
            zero.
    """
    device = next(model.parameters()).device
    batch = batch or (BATCH_CPU if device.type == "cpu" else BATCH)
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
    return right_rate(predictions(model, images.x), images)


def right_rate(predicted: Tensor, images: Images) -> float:
    """``accuracy``, from the classes int64 (n,) that a model predicts for the images.

    Raises ValueError on an empty set.
    """
    if not len(images):
        raise ValueError("no images to measure accuracy on")
    return float((predicted.cpu() == images.y.cpu()).double().mean())


def success(model: nn.Module, cases: Cases) -> float:
    """Share of the cases that the model gives the class that the attacker wants; of a trigger's
    cases, the ASR.

    Raises ValueError where there are no cases.
    """
    return hit_rate(predictions(model, cases.x), cases)


def hit_rate(predicted: Tensor, cases: Cases) -> float:
    """``success``, from the classes int64 (n,) that a model predicts for the cases.

    Raises ValueError where there are no cases.
    """
    if not len(cases):
        raise ValueError("no images to measure the attack on, as none outside its target class")
    return float((predicted == cases.wanted.to(predicted.device)).double().mean())


def auroc(positive: Tensor, negative: Tensor) -> float:
    """Chance that a positive scores higher than a negative, ties counted half.

    Args:
        positive, negative: scores, (n,) and (m,), finite.

    Raises:
        ValueError: one of them is empty.
    """
    if not len(positive) or not len(negative):
        raise ValueError("an area under a ROC curve needs scores on both sides")
    levels = negative.double().sort().values
    above = torch.searchsorted(levels, positive.double(), right=False)
    reached = torch.searchsorted(levels, positive.double(), right=True)
    return float((above + reached).double().mean() / (2 * len(negative)))


def tpr_at(positive: Tensor, negative: Tensor, fpr: float) -> float:
    """Share of the positives above the lowest threshold that at most ``fpr`` of the negatives
    exceed.

    Raises:
        ValueError: one of them is empty, or ``fpr`` is not in [0, 1).
    """
    if not len(positive) or not len(negative) or not 0 <= fpr < 1:
        raise ValueError(f"a rate needs scores on both sides and fpr in [0, 1), got {fpr}")
    allowed = math.floor(fpr * len(negative) + 1e-9)
    cut = negative.double().sort(descending=True).values[allowed]
    return float((positive.double() > cut).double().mean())
