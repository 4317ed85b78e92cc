"""The one training loop, on tensors: data that is already in memory needs no loader processes."""

import copy
import itertools
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.classifier import hand_on
from trials.reporting import reporter
from trials.spec import SpecError
from trials.types import Images

Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def to_float(x: Tensor) -> Tensor:
    """uint8 (n, c, h, w) to float32 in [0, 1], channels last (a third faster on the CPU)."""
    return x.to(torch.float32, memory_format=torch.channels_last).div_(255)


def clone(model: nn.Module) -> nn.Module:
    """A copy whose parameters take gradients; the given model is left alone."""
    other = copy.deepcopy(model)
    hand_on(model, other)
    for parameter in other.parameters():
        parameter.requires_grad_(True)
        parameter.grad = None
    return other


def frozen(model: nn.Module) -> nn.Module:
    """A copy in eval mode whose parameters take no gradients."""
    other = copy.deepcopy(model).eval()
    hand_on(model, other)
    return other.requires_grad_(False)


def augment(x: Tensor, rng: Generator, pad: int, flip: bool) -> Tensor:
    """Shift each image by its own draw in [-pad, pad]^2, zeros coming in, and mirror half of them.

    Args:
        x: uint8 (n, c, h, w); left alone.
        rng: on the CPU; 3 draws an image.
    """
    n, c, h, w = x.shape
    if pad:
        shift = torch.randint(0, 2 * pad + 1, (2, n), generator=rng).to(x.device)
        padded = F.pad(x, (pad, pad, pad, pad))
        rows = (shift[0, :, None] + torch.arange(h, device=x.device))[:, None, :, None]
        cols = (shift[1, :, None] + torch.arange(w, device=x.device))[:, None, None, :]
        first = torch.arange(n, device=x.device)[:, None, None, None]
        x = padded[first, torch.arange(c, device=x.device)[None, :, None, None], rows, cols]
    if flip:
        mirror = (torch.rand(n, generator=rng) < 0.5).to(x.device)
        x = torch.where(mirror[:, None, None, None], x.flip(3), x)
    return x


def shuffled(index: Tensor, size: int, rng: Generator) -> Iterator[Tensor]:
    """Batches of ``index`` for ever, reshuffled each pass; a pass's last, smaller batch is dropped
    if others exist.
    """
    size = min(size, len(index))
    while True:
        order = index[torch.randperm(len(index), generator=rng).to(index.device)]
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]


def stream(data: Images, size: int, rng: Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Augmented float batches (x in [0, 1], y) of ``data`` for ever."""
    for index in shuffled(torch.arange(len(data), device=data.y.device), size, rng):
        yield to_float(augment(data.x[index], rng, data.pad, data.flip)), data.y[index]


def make_optimizer(
    model: nn.Module, name: str, lr: float, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """``sgd`` (Nesterov momentum 0.9) or ``adam`` (decoupled weight decay) over all parameters."""
    if name == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr,
            momentum=0.9,
            nesterov=True,
            weight_decay=weight_decay,
            foreach=True,
        )
    if name == "adam":
        return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, foreach=True)
    raise SpecError(f"unknown optimizer {name!r}. Known: sgd, adam.")


def cross_entropy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(full(model(x)), y)


def full(x: Tensor) -> Tensor:
    """``x`` in at least float32: what a loss is made of, whatever the networks ran in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def autocast(device: torch.device, low: bool) -> torch.autocast:
    """While it is open, convolutions and matrix products are in bfloat16 (``low``) or as their
    inputs are.

    Weights stay float32 and get float32 gradients. Casts of them are kept until it closes: they may
    not be changed before.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=low)


def in_precision(precision: str, loss: Loss) -> Loss:
    """The loss, all networks in it run in ``precision``: fp32, or bf16 (``autocast``).

    In bf16 a loss has to take logits and activations through ``full``.
    """
    if precision == "fp32":
        return loss

    def lowered(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with autocast(x.device, low=True):
            return loss(model, x, y)

    return lowered


def tune(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    steps: int,
    every: int,
    loss: Loss = cross_entropy,
    after: Callable[[nn.Module], None] | None = None,
    freeze_bn: bool = False,
) -> Iterator[tuple[int, nn.Module]]:
    """Take ``steps`` optimizer steps on ``model`` in train mode; yield (step, model) each ``every``
    and at the end.

    The caller may put the yielded model into eval mode to measure it; train mode is set again for
    the next step.

    Args:
        loss: ``loss(model, x, y)``, a scalar.
        after: called with the model after each optimizer step (to keep pruned channels at zero,
            say).
        freeze_bn: BatchNorm uses its running statistics and leaves them alone.
    """
    norms = [
        m for m in model.modules() if freeze_bn and isinstance(m, nn.modules.batchnorm._BatchNorm)
    ]
    last = reporter.upto(steps, every)
    for step, (x, y) in enumerate(itertools.islice(batches, steps), 1):
        model.train()
        for norm in norms:
            norm.eval()
        optimizer.zero_grad(set_to_none=True)
        value = loss(model, x, y)
        value.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        reporter.report(step, last, value)
        if after is not None:
            after(model)
        if step % every == 0 or step == steps:
            yield step, model
