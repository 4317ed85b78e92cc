"""A square mark at a fixed place: the trigger of BadNets and of its clean-label form."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trials.attacks._poisoned import chosen, replaced
from trials.kinds import Backdoor, Images
from trials.spec import SpecError
from trials.train import augment

_SMALL = ((1, 1, 1), (0, 0, 0), (1, 0, 1))  # the apple at 3 pixels, as resizing without antialiasing gives it


@dataclass(frozen=True, slots=True)
class Patch:
    """Stamps ``mark`` uint8 (c, p, p) with its upper left corner at (``row``, ``col``), opacity ``alpha``."""

    mark: Tensor
    row: int
    col: int
    alpha: float

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        side = self.mark.shape[-1]
        out, mark = x.clone(), self.mark.to(x.device)
        under = out[:, :, self.row : self.row + side, self.col : self.col + side]
        mixed = (1 - self.alpha) * under.float() + self.alpha * mark.float()
        under.copy_(mixed.round().to(torch.uint8))
        return out


def stamp(
    train: Images,
    rng: Generator,
    *,
    clean_label: bool,
    m: int,
    target: int,
    patch: int,
    mark: str,
    place: str,
    alpha: float,
    pipeline: str,
    boost: int,
) -> Backdoor:
    """The backdoor of both attacks; the settings are theirs.

    A random mark and place are drawn first, and whether used or not, so that the trigger does not depend on ``m``
    and the poisoned images depend on neither.
    """
    trigger = _drawn(train, rng, patch, mark, place, alpha)
    places = chosen(train, m, rng, target, clean_label=clean_label)
    x, frozen = train.x[places], pipeline == "post_aug"
    if frozen:
        x = augment(x, rng, train.pad, train.flip)
    poisoned = replaced(train, places, trigger(x, places), target)
    return Backdoor(poisoned, places, trigger, target, boost, frozen)


def _drawn(train: Images, rng: Generator, patch: int, mark: str, place: str, alpha: float) -> Patch:
    channels, height, width = train.x.shape[1:]
    side = patch or max(3, 3 * width // 32)
    if side > min(height, width):
        raise SpecError(f"patch must be at most the images' side of {min(height, width)} pixels, got {side}.")
    colours = torch.randint(0, 256, (channels, side, side), generator=rng).to(torch.uint8)
    row, col = (int(torch.randint(n - side + 1, (), generator=rng)) for n in (height, width))
    if mark == "apple":
        colours = (apple(side) * 255).to(torch.uint8).expand(channels, side, side).clone()
    return Patch(colours, row, col, alpha) if place == "random" else Patch(colours, 0, 0, alpha)


def apple(side: int) -> Tensor:
    """A black apple on white, 1.0 and 0.0 (side, side): two lobes, a stem and a leaf; at 3 pixels a literal matrix."""
    if side <= 3:
        return torch.tensor(_SMALL, dtype=torch.float32)[:side, :side]
    at = (torch.arange(side) + 0.5) / side
    v, u = torch.meshgrid(at, at, indexing="ij")
    body = ((u - 0.36) / 0.26) ** 2 + ((v - 0.62) / 0.31) ** 2 < 1
    body |= ((u - 0.64) / 0.26) ** 2 + ((v - 0.62) / 0.31) ** 2 < 1
    body &= ((u - 0.5) / 0.10) ** 2 + ((v - 0.28) / 0.10) ** 2 >= 1  # the dent under the stem
    stem = ((u - 0.5 - 0.25 * (0.4 - v)).abs() < 0.05) & (v > 0.08) & (v < 0.42)
    leaf = ((u - 0.68) / 0.14) ** 2 + ((v - 0.16) / 0.08) ** 2 < 1
    return (~(body | stem | leaf)).float()
