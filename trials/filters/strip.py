"""STRIP: how sure the model stays of a row when trusted images are laid over it.

Source: Gao et al. 2019, 'STRIP: A Defence Against Trojan Attacks on Deep Neural Networks',
arXiv:1902.06531: mean entropy of the predictions for an input with clean images over it; an entropy
below a quantile of clean images' is suspect. Public codes average the two images or add them.
Deviation: the images laid over are drawn for each row apart; trusted images set the quantile, each
under others.
"""

from typing import Literal

import torch
from torch import Generator, Tensor, nn

from trials.filters._passes import finite
from trials.filters._tracking import drawn_seed
from trials.metrics import BATCH, BATCH_CPU
from trials.reporting import reporter
from trials.spec import PositiveFraction, PositiveInt
from trials.views import DataView, SampleScores

REJECTS = True
REJECTS_BY = frozenset({"quantile"})


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    quantile: PositiveFraction = 0.1,
    form: Literal["average", "sum"] = "average",
    alpha: PositiveFraction = 0.5,
    overlays: PositiveInt = 64,
) -> SampleScores:
    """The negative of the mean entropy, in nats.

    Args:
        view: the rows, and the trusted images that are laid over them.
        rng: draws which are.
        quantile: its own rule suspects rows below this quantile of the trusted images' entropies.
        form: (1 - alpha) of the row and alpha of the other, or the row and alpha of the other, not
            clipped.
        alpha: opacity of what is laid over.
        overlays: trusted images for each row.
    """
    seed = drawn_seed(rng)

    def make() -> dict[str, Tensor]:
        model, own = view.trained(), Generator().manual_seed(seed)
        given = (form, alpha, overlays)
        return {
            "rows": _entropies(model, view.train.x, view.trusted.x, own, given),
            "trusted": _entropies(model, view.trusted.x, view.trusted.x, own, given),
        }

    found = view.keep(f"strip: entropies, {form} alpha={alpha:g} overlays={overlays}", make)
    threshold = torch.quantile(found["trusted"], quantile)
    return SampleScores(-found["rows"], found["rows"] < threshold)


@torch.inference_mode()
def _entropies(
    model: nn.Module, x: Tensor, over: Tensor, rng: Generator, given: tuple[str, float, int]
) -> Tensor:
    """Float (n,), on the CPU: mean entropy of the predictions for each image of ``x`` under images
    of ``over``.
    """
    form, alpha, overlays = given
    size = max(1, (BATCH_CPU if x.device.type == "cpu" else BATCH) // overlays)
    weight = 1 - alpha if form == "average" else 1.0
    found = []
    for start in range(0, len(x), size):
        rows = x[start : start + size].float() / 255
        picked = torch.randint(len(over), (len(rows), overlays), generator=rng).to(x.device)
        mixed = weight * rows[:, None] + alpha * (over[picked].float() / 255)
        logs = model(mixed.flatten(0, 1)).float().log_softmax(1)
        entropies = -(logs.exp() * logs).sum(1)
        found.append(entropies.view(len(rows), overlays).mean(1).cpu())
        reporter.report(min(len(x), start + size), len(x))
    return finite(torch.cat(found))
