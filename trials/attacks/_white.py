"""White squares at fixed places: the trigger of the four-pixel and the one-pixel mark."""

from dataclasses import dataclass

from torch import Tensor

from trials.spec import SpecError
from trials.types import Images


@dataclass(frozen=True, slots=True)
class WhiteSquares:
    """Paints white squares of ``side`` pixels, with their upper left corners at ``corners``.

    A corner is (row, column); negative ones count from the bottom and from the right.
    """

    corners: tuple[tuple[int, int], ...]
    side: int

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        out = x.clone()
        for row, column in self.corners:
            top, left = row % x.shape[2], column % x.shape[3]
            out[:, :, top : top + self.side, left : left + self.side] = 255
        return out


def refuse_below(train: Images, side: int, attack: str) -> None:
    """Raises SpecError where the images are smaller than ``side`` pixels."""
    least = min(train.x.shape[2:])
    if least < side:
        raise SpecError(
            f"{attack}: the mark needs images of at least {side} pixels, got {least}. Take a "
            "larger size of the data set."
        )
