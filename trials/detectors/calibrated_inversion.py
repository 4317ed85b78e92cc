"""Calibrated trigger inversion: a trigger counts if it works on the suspect model and no longer on
its repaired copy.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, Algorithm 4.
Deviation: line 10 as printed subtracts the repaired model's accuracy, which gives a backdoor that
was repaired 1 - 1 and a perturbation that fools both models 1 - 0; here the difference of success
rates that the paper's text and the authors' preliminary code have is the default (``rule``). Scores
are of a held half of the trusted images, where the paper takes test images. The term of the
repaired model has the code's weight of 0.5; the paper prints it without one. The steps are not
given: 100 are those of Neural Cleanse in Table V; the code's default is 50.
"""

from typing import Literal

import torch
from torch import Generator, Tensor, nn

from trials.detectors._verdict import beside, verdict
from trials.inversion import invert, stamp_on
from trials.spec import NonNegativeFloat, PositiveFloat, PositiveInt, SpecError
from trials.splits import stratified_order
from trials.train import frozen, to_float
from trials.types import Images, Suspicion

COMPARES = True


def score(
    suspect: nn.Module,
    repaired: nn.Module,
    trusted: Images,
    rng: Generator,
    /,
    *,
    steps: PositiveInt = 100,
    lr: PositiveFloat = 0.01,
    batch: PositiveInt = 128,
    weight: NonNegativeFloat = 0.5,
    lambda_n: NonNegativeFloat = 0.0,
    rule: Literal["difference", "printed", "sum"] = "difference",
) -> Suspicion:
    """Invert a trigger for every class that spares the repaired model, and judge by what it does on
    held images.

    ``norms`` are the L1 norms of the additive triggers, in pixels times channels. ``extra`` has,
    for the most suspicious class, the success rates of its trigger on both models (``asr``,
    ``asr_repaired``) and the share of stamped images that the repaired model still classifies
    correctly (``cda_repaired``).

    Args:
        suspect: the model that is inspected; left alone.
        repaired: a repaired copy of it; left alone.
        trusted: clean images; one half of each class is to invert on, the other one to score on.
        rng: draws the halves, first triggers and images.
        steps: Adam steps a class.
        lr: learning rate; pixels lie in [0, 1].
        batch: images a step and class.
        weight: weight of the repaired model's cross-entropy to the true classes; 0 leaves it out.
        lambda_n: weight of the trigger's L1 norm, a sum over the pixels of an image.
        rule: score of a class, from the suspect's success rate A, the repaired one's B and its
            accuracy C on stamped images: difference A - B, sum A + C - 1, or printed A - C.

    Raises:
        SpecError: a half of the trusted images holds fewer than two classes.
        ArithmeticError: the inversion diverged, or a logit is not finite.
    """
    suspect, repaired = frozen(suspect), frozen(repaired)
    fit, held = halves(beside(suspect, trusted), rng)
    triggers = invert(
        suspect,
        fit,
        rng,
        steps=steps,
        lr=lr,
        batch=batch,
        norm_weight=lambda_n,
        first=(0.0, 0.01),
        repaired=repaired,
        repaired_weight=weight,
    )
    rates = torch.stack([shares(suspect, repaired, held, c, t) for c, t in enumerate(triggers)])
    asr, left, kept = rates.unbind(1)
    scores = {"difference": asr - left, "sum": asr + kept - 1, "printed": asr - kept}[rule]
    top = rates[scores.argmax()].tolist()
    extra = dict(zip(("asr", "asr_repaired", "cda_repaired"), top, strict=True))
    return verdict(scores, triggers.abs().sum((1, 2, 3)), triggers, None, extra)


def halves(trusted: Images, rng: Generator) -> tuple[Images, Images]:
    """A stratified half to invert on, which gets an odd image, and one to score on.

    Raises SpecError if too small.
    """
    order = stratified_order(trusted.y.cpu(), torch.arange(len(trusted)), rng).to(trusted.y.device)
    middle = (len(order) + 1) // 2
    fit, held = trusted.take(order[:middle]), trusted.take(order[middle:])
    if min(classes(fit), classes(held)) < 2:
        raise SpecError(
            f"calibrated_inversion needs two classes or more in each half of the trusted images, "
            f"got {len(trusted)} "
            f"images of {classes(trusted)} classes: raise the trusted fraction."
        )
    return fit, held


def classes(images: Images) -> int:
    """How many classes there are images of."""
    return int((images.y.bincount() > 0).sum())


@torch.inference_mode()
def shares(
    suspect: nn.Module, repaired: nn.Module, held: Images, label: int, trigger: Tensor
) -> Tensor:
    """What the models say of stamped images of other classes than ``label``, as shares, float64
    (3,).

    In turn: ``label`` by the suspect, ``label`` by the repaired one, and the true class by the
    repaired one.
    """
    others = held.take(held.y != label)
    seen, left = (_predicted(m, others.x, trigger) for m in (suspect, repaired))
    return torch.stack([(seen == label), (left == label), (left == others.y)]).double().mean(1)


def _predicted(model: nn.Module, x: Tensor, trigger: Tensor) -> Tensor:
    parts = []
    for begin in range(0, len(x), 512):
        logits = model(stamp_on(to_float(x[begin : begin + 512]).to(trigger), trigger))
        if not torch.isfinite(logits).all():
            raise ArithmeticError("the model diverged: its logits are not finite")
        parts.append(logits.argmax(1))
    return torch.cat(parts)
