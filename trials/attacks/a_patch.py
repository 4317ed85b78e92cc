"""A-Patch: parts of a patch on training images, half of which keep their label; the whole patch on
test images.

Source: Qi et al. 2023, arXiv:2205.13613 (Adaptive-Patch), in the form of Lukas & Kerschbaum 2023,
arXiv:2305.09671, section A-B: the patch of BadNets under a grid of 4x4 cells.
Deviation: the patch of 3 pixels has room for 3x3 cells only, one a pixel. The number of images that
keep their label is exact; the preliminary release draws it by coin and reads the setting as the
number of cells in all (here ``cells`` = 2), and Qi et al. use four patches at the corners instead
of a grid.
"""

from typing import Literal

from torch import Generator

from trials.attacks._adaptive import adapt
from trials.attacks._patch import drawn
from trials.spec import Count, Fraction, PositiveInt
from trials.types import Images, Poisoning


def poison(
    train: Images,
    rng: Generator,
    /,
    *,
    m: Count = 50,
    target: Count = 0,
    patch: Count = 0,
    mark: Literal["apple", "random"] = "apple",
    place: Literal["corner", "random"] = "corner",
    alpha: Fraction = 1.0,
    cells: PositiveInt = 4,
    occlusion: Fraction = 0.5,
    law: Literal["coin", "exact"] = "coin",
    conservatism: Fraction = 0.5,
    boost: PositiveInt = 1,
) -> Poisoning:
    """Stamp parts of the patch on ``m`` training images of other classes and label some of them
    ``target``.

    Args:
        train: clean training set; left alone.
        rng: draws the mark and place, a seed for the hidden cells, then which images are poisoned.
        m: number of poisoned images, those that keep their label among them; at most the number
            outside the target class.
        target: class that the trigger leads to.
        patch: side of the mark in pixels; 0 for 3/32 of the width, at least 3.
        mark: apple, a black glyph on white, or random colours drawn once an attack.
        place: corner, the upper left one, or random, drawn once an attack.
        alpha: opacity of the mark.
        cells: cells along each side of the mark, at most its pixels.
        occlusion: share of the cells that a training image hides.
        law: coin hides each cell with this chance, exact hides this share of each image's cells,
            rounded.
        conservatism: share of the ``m`` images that keep their true label, rounded down.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m``, ``target`` or ``patch`` is too large.
    """
    return adapt(
        train,
        rng,
        drawn(train, rng, patch, mark, place, alpha),
        m=m,
        target=target,
        conservatism=conservatism,
        cells=cells,
        occlusion=occlusion,
        law=law,
        boost=boost,
    )
