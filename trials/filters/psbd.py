"""PSBD: how far the confidence in a row's class falls when units are dropped at inference.

Source: PSBD (Li, Yang, Zhang 2024, 'PSBD: Prediction Shift Uncertainty Unlocks Backdoor Detection',
arXiv:2406.05826): the dropout rate is the least at which 80 % of clean predictions change; a row
whose confidence falls less than that of a quarter of the clean images, over three passes, is
suspect.
Deviation: units are dropped where the victim's stages end, whatever its architecture; the authors
have a ResNet of their own with dropout in its blocks. Where no rate changes enough predictions, it
is 0.9. Labels are not looked at.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.classifier import Classifier
from trials.filters._passes import logits_of
from trials.filters._tracking import drawn_seed
from trials.spec import PositiveFraction, PositiveInt
from trials.views import DataView, SampleScores

NEEDS = frozenset({"stages"})
REJECTS = True
REJECTS_BY = frozenset({"quantile"})
RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    quantile: PositiveFraction = 0.25,
    shifted: PositiveFraction = 0.8,
    passes: PositiveInt = 3,
    dropped: Literal["stages", "last_stage"] = "stages",
) -> SampleScores:
    """The negative of the mean fall of confidence.

    Args:
        view: the rows, and the trusted images, which set the rate and the threshold.
        rng: draws which units are dropped.
        quantile: its own rule suspects rows below this quantile of the trusted images' falls.
        shifted: share of the trusted images' predictions that the rate has to change.
        passes: forward passes with dropped units that are averaged.
        dropped: units at the end of every stage, or of the last one.
    """
    seed = drawn_seed(rng)

    def falls(x: Tensor, rate: float) -> dict[str, Tensor]:
        """Fall of confidence, and share of passes with another prediction, of each image."""
        model = view.trained()
        clean = logits_of(model, x).softmax(1)
        confidence, predicted = clean.max(1)
        left, changed = torch.zeros(len(x)), torch.zeros(len(x))
        for number in range(passes):
            probabilities = _with_dropped(model, x, rate, dropped, seed + number).softmax(1)
            left += probabilities.gather(1, predicted[:, None])[:, 0] / passes
            changed += (probabilities.argmax(1) != predicted).float() / passes
        return {"fall": confidence - left, "changed": changed}

    def of(which: str, x: Tensor, rate: float) -> dict[str, Tensor]:
        name = f"psbd: falls of {which}, rate={rate:g} passes={passes} dropped={dropped}"
        return dict(view.keep(name, lambda: falls(x, rate)))

    for rate in RATES:
        trusted = of("trusted", view.trusted.x, rate)
        if float(trusted["changed"].mean()) >= shifted:
            break
    fall = of("rows", view.train.x, rate)["fall"]
    threshold = torch.quantile(trusted["fall"], quantile)
    return SampleScores(-fall, fall < threshold, {"rate": rate})


def _with_dropped(model: nn.Module, x: Tensor, rate: float, dropped: str, seed: int) -> Tensor:
    """Logits with units dropped where stages end."""
    stages = list(Classifier(model, tuple(x.shape[1:])).stages().values())
    chosen = stages if dropped == "stages" else stages[-1:]

    def drop(_: nn.Module, __: object, output: Any) -> Any:
        if isinstance(output, Tensor):
            return F.dropout(output, rate, training=True)
        return (F.dropout(output[0], rate, training=True), *output[1:])  # of a transformer's block

    handles = [stage.module.register_forward_hook(drop) for stage in chosen]
    try:
        with torch.random.fork_rng(devices=[x.device] if x.is_cuda else []):
            torch.manual_seed(seed)
            return logits_of(model, x)
    finally:
        for handle in handles:
            handle.remove()
