"""Clean unlearning: the loss on trusted images is raised until the model errs on them.

Source: Li et al. 2023, 'Reconstructive Neuron Pruning for Backdoor Defense', arXiv:2305.14876.
"""

import itertools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trials.reporting import reporter

MOST = 1000  # steps at most
USUAL = 100  # steps that a forecast of the time left counts with
_LOOK = 5  # steps between two looks at the accuracy


def unlearn(
    method: str,
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    lr: float,
    stop: float,
    most: int = MOST,
) -> float:
    """Ascend the cross-entropy (SGD, momentum 0.9, weight decay 5e-4) until the accuracy over the
    last batches is at most ``stop``; returns that accuracy.

    Args:
        method: the defense's name, for errors.
        model: changed, in train mode.

    Raises:
        RuntimeError: ``most`` steps did not reach ``stop``.
        ArithmeticError: the ascent diverged.
    """
    tuner = torch.optim.SGD(
        model.parameters(), lr, momentum=0.9, weight_decay=5e-4, maximize=True, foreach=True
    )
    seen: list[Tensor] = []
    model.train()
    for step, (x, y) in enumerate(itertools.islice(batches, most), 1):
        logits = model(x)
        if not torch.isfinite(logits).all():
            raise ArithmeticError(
                f"{method}: the model diverged while it unlearned: lower unlearn_lr."
            )
        seen.append((logits.argmax(1) == y).double().mean())
        if step % _LOOK == 0:
            reached = float(torch.stack(seen[-_LOOK:]).mean())
            if reached <= stop:
                return reached
        tuner.zero_grad(set_to_none=True)
        loss = F.cross_entropy(logits, y)
        loss.backward()  # type: ignore[no-untyped-call]
        tuner.step()
        reporter.report(step, most, loss)
    raise RuntimeError(
        f"{method}: after {most} steps of unlearning the accuracy is "
        f"{float(torch.stack(seen[-_LOOK:]).mean()):.3f}, "
        f"not {stop:g}: raise unlearn_lr or stop."
    )
