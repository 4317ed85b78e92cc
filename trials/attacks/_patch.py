"""A mark at a fixed place: the trigger of BadNets and of its clean-label and adaptive forms."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from trials.attacks._draws import in_chunks
from trials.attacks._pipeline import poisoning, stored
from trials.attacks._poisoned import chosen, replaced
from trials.spec import SpecError
from trials.types import Images, Poisoning

# the apple at 3 pixels, as resizing without antialiasing gives it
_SMALL = ((1, 1, 1), (0, 0, 0), (1, 0, 1))


@dataclass(frozen=True, slots=True)
class Patch:
    """Stamps ``mark`` uint8 (c, p, q) with its upper left corner at (``row``, ``col``), opacity
    ``alpha``.
    """

    mark: Tensor
    row: int
    col: int
    alpha: float

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        return in_chunks(lambda part, _: self.stamped(part), x, index)

    def stamped(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """``x`` with the mark; of each image only where ``kept``, bool (n, p, q), is true."""
        high, wide = self.mark.shape[-2:]
        out, mark = x.clone(), self.mark.to(x.device)
        under = out[:, :, self.row : self.row + high, self.col : self.col + wide]
        mixed = (
            ((1 - self.alpha) * under.float() + self.alpha * mark.float()).round().to(torch.uint8)
        )
        under.copy_(mixed if kept is None else torch.where(kept[:, None], mixed, under))
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
    norm: str = "cifar10",
) -> Poisoning:
    """The poisoning of both attacks; the settings are theirs.

    A random mark and place are drawn first, and whether used or not, so that the trigger does not
    depend on ``m`` and the poisoned images depend on neither.
    """
    trigger = drawn(train, rng, patch, mark, place, alpha)
    places = chosen(train, m, rng, target, clean_label=clean_label)
    x = stored(train, places, rng, lambda x, index, _: trigger(x, index), pipeline, norm)
    poisoned = replaced(train, places, x, target)
    return poisoning(poisoned, places, trigger, target, boost, pipeline, norm)


def side_of(train: Images, patch: int) -> int:
    """Side of a patch in pixels: ``patch``, or for 0, 3/32 of the width and at least 3.

    Raises:
        SpecError: it is larger than the images.
    """
    height, width = train.x.shape[2:]
    side = patch or max(3, 3 * width // 32)
    if side > min(height, width):
        raise SpecError(
            f"patch must be at most the images' side of {min(height, width)} pixels, got {side}."
        )
    return side


def drawn(train: Images, rng: Generator, patch: int, mark: str, place: str, alpha: float) -> Patch:
    """The patch that the settings of BadNets describe; takes the same draws whatever they are."""
    channels, height, width = train.x.shape[1:]
    side = side_of(train, patch)
    colours = torch.randint(0, 256, (channels, side, side), generator=rng).to(torch.uint8)
    row, col = (int(torch.randint(n - side + 1, (), generator=rng)) for n in (height, width))
    if mark == "apple":
        colours = (apple(side) * 255).to(torch.uint8).expand(channels, side, side).clone()
    if place == "any_corner":  # the nearest
        row, col = (n - side if 2 * at > n - side else 0 for n, at in ((height, row), (width, col)))
    return Patch(colours, 0, 0, alpha) if place == "corner" else Patch(colours, row, col, alpha)


def pasted(x: Tensor, patch: Tensor, corner: Tensor) -> Tensor:
    """``x`` itself, with ``patch`` (n, c, p, p) at upper left corners ``corner`` (n, 2) in [0, 1)
    of what fits.
    """
    n, channels, height, width = x.shape
    at = torch.arange(patch.shape[-1], device=x.device)
    rows = (corner[:, :1] * (height - len(at) + 1)).long() + at
    cols = (corner[:, 1:] * (width - len(at) + 1)).long() + at
    image = torch.arange(n, device=x.device)[:, None, None, None]
    channel = torch.arange(channels, device=x.device)[None, :, None, None]
    x[image, channel, rows[:, None, :, None], cols[:, None, None, :]] = patch
    return x


def apple(side: int) -> Tensor:
    """A black apple on white, 1.0 and 0.0 (side, side): two lobes, a stem and a leaf; at 3 pixels a
    literal matrix.
    """
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
