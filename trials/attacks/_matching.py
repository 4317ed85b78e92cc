"""How well poison's gradient of the training loss matches the one that an attacker wants, and the
slope of that in the poison's pixels.

The slope takes two passes. The first gives the gradient g of all poisons, batch by batch. With v
for the slope of the match in g, the second differentiates the loss's derivative along v, forward
through the parameters and then backward to the pixels: exactly what differentiating g itself would
give, in less time and memory, and batches add up to what one batch of all would give.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import jvp

from trials.attacks._folding import Folded, folded

Batch = tuple[Tensor, Tensor]  # images float (n, c, h, w) in [0, 1], and their labels int64 (n,)


@dataclass(frozen=True, slots=True)
class Aim:
    """A surrogate in eval mode with the gradient that poison is to have on it.

    Attributes:
        model: the surrogate.
        network: the same as a function of its parameters.
        wanted: by parameter, the gradient of the attacker's loss; the parameters that are matched.
        measure: ``cosine``: 1 minus the cosine over all parameters together; ``layers``: the mean
            of that over parameters whose wanted gradient is not zero; ``product``: minus the scalar
            product, over the wanted gradient's square; ``squared``: the squared distance, over the
            same.
    """

    model: nn.Module
    network: Folded
    wanted: Mapping[str, Tensor]
    measure: str

    @property
    def low(self) -> "Aim":
        """The same, its surrogate computed in bfloat16."""
        return replace(self, network=replace(self.network, low=True))

    def match(self, batches: Sequence[Batch]) -> float:
        """How far the gradient of all batches together is from the wanted one; lower is nearer."""
        return float(self._distance(self._gradient(batches)).item())

    def slope(self, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
        """What ``match`` gives, a scalar, and its gradient in the images, as these.

        Raises:
            ArithmeticError: the gradient is not finite.
        """
        mine = {name: g.requires_grad_() for name, g in self._gradient(batches).items()}
        distance = self._distance(mine)
        along = dict(zip(mine, torch.autograd.grad(distance, list(mine.values())), strict=True))
        total = sum(len(y) for _, y in batches)
        slopes = [self._derivative(x, y, along) * (len(y) / total) for x, y in batches]
        slope = torch.cat(slopes)
        if not slope.isfinite().all():
            raise ArithmeticError(
                f'the slope of match = "{self.measure}" is not finite: the poison\'s or the wanted '
                "gradient is zero or overflows on a surrogate"
            )
        return distance.detach(), slope

    def _gradient(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """Of the mean training loss of all images, by parameter that is matched."""
        held = dict(self.model.named_parameters())
        matched = [held[name] for name in self.wanted]
        total = sum(len(y) for _, y in batches)
        found = [torch.zeros_like(p) for p in matched]
        for x, y in batches:
            loss = F.cross_entropy(self.network(held, x), y, reduction="sum") / total
            for whole, part in zip(found, torch.autograd.grad(loss, matched), strict=True):
                whole.add_(part)
        return dict(zip(self.wanted, found, strict=True))

    def _distance(self, mine: Mapping[str, Tensor]) -> Tensor:
        pairs = [(mine[name], wanted) for name, wanted in self.wanted.items()]
        products = torch.stack([(a * b).sum() for a, b in pairs])
        squares = torch.stack([(a * a).sum() for a, _ in pairs])
        theirs = torch.stack([(b * b).sum() for _, b in pairs])
        if self.measure == "cosine":
            return 1 - products.sum() / (squares.sum() * theirs.sum()).sqrt().clamp(min=1e-30)
        if self.measure == "layers":
            return (1 - products / (squares * theirs).sqrt().clamp(min=1e-30)).mean()
        if self.measure == "product":
            return -products.sum() / theirs.sum()
        return (squares.sum() - 2 * products.sum() + theirs.sum()) / theirs.sum()

    def _derivative(self, x: Tensor, y: Tensor, along: Mapping[str, Tensor]) -> Tensor:
        """The gradient in ``x`` of the mean loss's derivative in the parameters along ``along``."""
        x = x.detach().requires_grad_()
        parameters = {name: p.detach() for name, p in self.model.named_parameters()}
        moved = {name: parameters.pop(name) for name in along}

        def loss(held: dict[str, Tensor]) -> Tensor:
            return F.cross_entropy(self.network(parameters | held, x), y)

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of torch, about itself
            _, derivative = jvp(loss, (moved,), (dict(along),))
        (slope,) = torch.autograd.grad(derivative, x)
        return slope


def aim_of(
    model: nn.Module,
    x: Tensor,
    loss: str,
    source: int,
    wanted: int,
    measure: str,
    layers: int,
    batch: int = 512,
) -> Aim:
    """What the attacker wants of a surrogate: its gradient of their loss on the images they target.

    Args:
        model: the surrogate, in eval mode, its parameters taking gradients.
        x: the targeted images, float (n, c, h, w) in [0, 1].
        loss: ``xent``: the cross-entropy of the class wanted; ``margin``: the largest other logit
            minus its own (Carlini and Wagner); ``untargeted``: minus the cross-entropy of the true
            class.
        source: the true class.
        wanted: the class wanted.
        measure: see ``Aim``.
        layers: how many parameters are matched, those of the largest gradient; 0 for all.
        batch: images at a time.
    """
    named = dict(model.named_parameters())
    found = {name: torch.zeros_like(p) for name, p in named.items()}
    for start in range(0, len(x), batch):
        part = x[start : start + batch]
        value = _LOSSES[loss](model(part), source, wanted) * (len(part) / len(x))
        gradient = torch.autograd.grad(value, list(named.values()))
        for whole, g in zip(found.values(), gradient, strict=True):
            whole.add_(g)
    if layers:
        largest = sorted(found, key=lambda name: -float(found[name].norm().item()))[:layers]
        found = {name: g for name, g in found.items() if name in set(largest)}
    if measure == "layers":  # a zero gradient has no direction, and no slope
        found = {name: g for name, g in found.items() if g.any()} or found
    return Aim(model, folded(model, x[:1]), found, measure)


def gradient_norms(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """float32 (n,), how large each image's gradient of the cross-entropy is in all parameters.

    One image at a time, as any network takes that.

    Args:
        model: in eval mode, its parameters taking gradients.
        x: float (n, c, h, w) in [0, 1].
        y: int64 (n,).
    """
    parameters = list(model.parameters())

    def norm(shown: Tensor, label: Tensor) -> Tensor:
        gradient = torch.autograd.grad(F.cross_entropy(model(shown), label), parameters)
        return torch.stack([g.square().sum() for g in gradient]).sum().sqrt()

    return torch.stack([norm(*one) for one in in_batches(x, y, 1)])


def _towards(logits: Tensor, source: int, wanted: int) -> Tensor:
    return F.cross_entropy(logits, torch.full((len(logits),), wanted, device=logits.device))


def _away(logits: Tensor, source: int, wanted: int) -> Tensor:
    return -F.cross_entropy(logits, torch.full((len(logits),), source, device=logits.device))


def _margin(logits: Tensor, source: int, wanted: int) -> Tensor:
    others = logits.clone()
    others[:, wanted] = -torch.inf
    return (others.amax(1) - logits[:, wanted]).mean()


_LOSSES = {"xent": _towards, "untargeted": _away, "margin": _margin}


def augmented(x: Tensor, draws: Tensor, shift: float, flip: bool) -> Tensor:
    """Each image shifted by up to ``shift`` of its width, between pixels too, and mirrored if that
    is drawn; zeros come in, and gradients pass.

    Args:
        x: float (n, c, h, w).
        draws: float (n, 3) in [0, 1): for each image its shift right, its shift down, and whether
            it is mirrored.
        shift: largest shift, as a share of the width (and of the height).
        flip: mirror left to right where the third draw is below one half.
    """
    theta = torch.zeros(len(x), 2, 3, dtype=x.dtype, device=x.device)
    theta[:, 0, 0] = torch.where(draws[:, 2] < 0.5, -1.0, 1.0) if flip else 1.0
    theta[:, 1, 1] = 1.0
    theta[:, :, 2] = 2 * shift * (2 * draws[:, :2] - 1)  # the grid is two units wide
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)


def in_batches(x: Tensor, y: Tensor, size: int) -> Iterator[Batch]:
    """Consecutive batches of at most ``size`` images."""
    for start in range(0, len(x), size):
        yield x[start : start + size], y[start : start + size]
