"""No defense: the control that every repaired model is compared with.

Source: step 0 of every curve in Lukas & Kerschbaum 2023, 'Pick your Poison', arXiv:2305.09671,
section V-C.
Deviation: nothing is yielded, because the game itself measures the given model as step 0.
"""

from collections.abc import Iterator

from torch import Generator, nn

from trials.types import DefenderView

FAMILY = "control"


def repair(view: DefenderView, rng: Generator, every: int, /) -> Iterator[tuple[int, nn.Module]]:
    """Do nothing, yield nothing."""
    yield from ()
