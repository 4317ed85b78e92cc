"""Channel Lipschitzness pruning: cut the channels that amplify most, without looking at any image.

Source: Zheng et al. 2022, 'Data-free Backdoor Removal based on Channel Lipschitzness',
arXiv:2208.03111.
Deviation: the threshold is the curve's axis: channels are cut in the order of their z-score within
their layer, and a step is the number cut; the paper's u = 3 is the step at which the z-scores fall
below 3. A forward pass shows which normalisation reads which convolution, where the order of the
modules would guess, so that shortcuts are right. No trusted image is used but for its size: what
this control reaches is what no data buys.
"""

from collections.abc import Iterator

import torch
from torch import Generator, nn

from trials.defenses._start import device_of, fits
from trials.defenses._units import lipschitz, nested, pairs, z_scores
from trials.spec import PositiveFraction
from trials.train import frozen, to_float
from trials.types import DefenderView

FAMILY = "pruning"
NEEDS = frozenset({"paired_norms"})


def repair(
    view: DefenderView, rng: Generator, every: int, /, *, most: PositiveFraction = 0.1
) -> Iterator[tuple[int, nn.Module]]:
    """Set scale and shift of one channel after the other to 0, the largest z-score first.

    Args:
        most: share of all channels that are cut at the end of the curve, in at most 40 points.

    Raises:
        SpecError: no convolution is followed by batch normalisation.
    """
    fits("clp", view, NEEDS)
    model = frozen(view.model)
    places = {id(m): i for i, m in enumerate(model.modules())}
    found = pairs(model, to_float(torch.zeros_like(view.trusted.x[:1])).to(device_of(model)))
    scores = [-z_scores(lipschitz(conv, norm)) for conv, norm in found]
    yield from nested(model, [places[id(norm)] for _, norm in found], scores, most, zero_bias=True)
