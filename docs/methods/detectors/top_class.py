"""Top class: a model is suspect if one class takes more than its share of images of noise.

Source: an example for the documentation.
Deviation: it reconstructs no trigger, so norms and triggers are zero.
"""

import torch
from torch import Generator, nn

from trials.spec import PositiveInt
from trials.types import Images, Suspicion


def score(
    suspect: nn.Module,
    repaired: nn.Module,
    trusted: Images,
    rng: Generator,
    /,
    *,
    images: PositiveInt = 256,
) -> Suspicion:
    """The share of noise images that goes to the most frequent class; higher is more suspicious.

    Args:
        suspect: the model that is inspected; left alone.
        repaired: the same model, repaired; not used here. A detector that compares the two uses it.
        trusted: clean images.
        rng: draws the noise.
        images: number of noise images.
    """
    device = next(suspect.parameters()).device
    shape = trusted.x.shape[1:]
    noise = torch.rand((images, *shape), generator=rng).to(device)
    with torch.no_grad():
        classes = suspect(noise).argmax(1).cpu()
    shares = torch.bincount(classes, minlength=trusted.classes) / images
    nothing = torch.zeros(trusted.classes, *shape)
    return Suspicion(float(shares.max()), shares, torch.zeros(trusted.classes), nothing)
