"""What the adaptive attacks share: a mark in cells, some hidden on each image, and images that keep
their label.
"""

import torch
from torch import Generator, Tensor

from trials.attacks._draws import in_chunks, seed_of, uniform
from trials.attacks._patch import Patch
from trials.attacks._pipeline import poisoning, stored
from trials.attacks._poisoned import chosen, replaced
from trials.types import Images, Poisoning


def adapt(
    train: Images,
    rng: Generator,
    trigger: Patch,
    *,
    m: int,
    target: int,
    conservatism: float,
    cells: int,
    occlusion: float,
    law: str,
    boost: int,
    pipeline: str = "pre_aug",
    norm: str = "cifar10",
) -> Poisoning:
    """The poisoning of both attacks: training sees parts of the mark, test images all of it."""
    seed = seed_of(rng)
    places = chosen(train, m, rng, target, clean_label=False)
    side = trigger.mark.shape[-1]

    def stamp(x: Tensor, index: Tensor, before: int) -> Tensor:
        def stamped(part: Tensor, places: Tensor) -> Tensor:
            shown = shown_cells(seed + before, places, min(cells, side), occlusion, law)
            return trigger.stamped(part, grown(shown, side))

        return in_chunks(stamped, x, index)

    x = stored(train, places, rng, stamp, pipeline, norm)
    labels = train.y[places]
    labels[payload(m, conservatism).to(labels.device)] = target
    poisoned = replaced(train, places, x, labels)
    return poisoning(poisoned, places, trigger, target, boost, pipeline, norm)


def payload(m: int, conservatism: float) -> Tensor:
    """bool (m,): which poisoned images get the target label; floor(``conservatism`` * ``m``) do
    not.

    The first images have the same roles whatever ``m`` is: with one half, every second keeps its
    label.
    """
    # A little is added so that 0.29 of 100 is 29, which binary fractions make 28.999...
    kept = (torch.arange(m + 1, dtype=torch.float64) * conservatism + 1e-9).floor()
    return kept.diff() == 0


def shown_cells(seed: int, index: Tensor, cells: int, occlusion: float, law: str) -> Tensor:
    """bool (n, cells, cells): the cells of the mark that each image shows."""
    draws = uniform(seed, index, cells * cells)
    rank = draws.argsort(1).argsort(1)
    shown = rank >= round(occlusion * cells * cells) if law == "exact" else draws >= occlusion
    return shown.reshape(-1, cells, cells)


def grown(shown: Tensor, side: int) -> Tensor:
    """bool (n, side, side): the cells as pixels, each as near to side / cells wide as whole pixels
    allow.
    """
    cell = torch.arange(side, device=shown.device) * shown.shape[-1] // side
    return shown[:, cell[:, None], cell]
