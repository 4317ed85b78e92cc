"""Neural Cleanse: a model is suspect if one class's reconstructed trigger is small, by itself or
beside the others'.

Source: Wang et al. 2019, 'Neural Cleanse', IEEE S&P (mask, and the anomaly index); Lukas &
Kerschbaum 2023, arXiv:2305.09671, Algorithm 6 (additive, and the smallest norm as the score).
Deviation: all classes are inverted in one batch, on images of the other classes only, and no class
stops early. The original takes up to 1,000 rounds of 31 steps; 100 of 10 are the default here.
Algorithm 6 prints no norm, but Table V tunes its weight: 0.02 with lr = 0.01, 100 steps and batches
of 128 on CIFAR-10.
"""

from typing import Literal

from torch import Generator, nn

from trials.detectors._verdict import beside, verdict
from trials.inversion import invert
from trials.mask_inversion import anomaly, invert_masks
from trials.spec import NonNegativeFloat, PositiveFloat, PositiveFraction, PositiveInt
from trials.types import Images, Suspicion


def score(
    suspect: nn.Module,
    repaired: nn.Module,
    trusted: Images,
    rng: Generator,
    /,
    *,
    form: Literal["mask", "additive"] = "mask",
    judge: Literal["norm", "anomaly"] = "norm",
    steps: PositiveInt = 1000,
    lr: PositiveFloat = 0.1,
    batch: PositiveInt = 32,
    lambda_n: NonNegativeFloat = 0.001,
    threshold: PositiveFraction = 0.99,
    patience: PositiveInt = 5,
    round_steps: PositiveInt = 10,
) -> Suspicion:
    """Invert a trigger for every class and judge by the size of the smallest.

    ``norms`` are the L1 norms: of a mask, in pixels, or of an additive trigger, in pixels times
    channels. ``extra`` has the norm of the smallest trigger (``smallest``), its anomaly index
    (``anomaly``, in [-1e6, 1e6]; infinite ones are cut off there), and for masks the share of
    classes that ever reached the threshold (``reached``). A class that never did keeps its last
    mask, which no norm has shrunk.

    Args:
        suspect: the model that is inspected; left alone.
        repaired: not used.
        trusted: clean images.
        rng: draws first triggers and images.
        form: mask, a pattern that replaces the pixels under a mask, or additive, a pattern that is
            added.
        judge: norm, minus the L1 norm, or anomaly, how many median deviations the norm lies below
            the median.
        steps: Adam steps a class.
        lr: learning rate; of the values before tanh (mask), or of pixels in [0, 1] (additive).
        batch: images a step and class.
        lambda_n: weight of the norm: the first one of a schedule (mask), or of all steps
            (additive).
        threshold: success rate of a mask that counts; mask only.
        patience: rounds in a row, above the threshold or below it, that change the weight; mask
            only.
        round_steps: steps of a round; mask only.

    Raises:
        SpecError: no trusted images, or a class has no images of other classes.
        ArithmeticError: the inversion diverged.
    """
    images, masks, extra = beside(suspect, trusted), None, {}
    if form == "mask":
        kept = invert_masks(
            suspect,
            images,
            rng,
            steps=steps,
            lr=lr,
            batch=batch,
            first_weight=lambda_n,
            threshold=threshold,
            patience=patience,
            round_steps=round_steps,
        )
        masks, triggers, norms = kept.masks, kept.patterns, kept.masks.sum((1, 2, 3))
        extra["reached"] = float(kept.reached.double().mean())
    else:
        triggers = invert(
            suspect, images, rng, steps=steps, lr=lr, batch=batch, norm_weight=lambda_n
        )
        norms = triggers.abs().sum((1, 2, 3))
    index = anomaly(norms)
    extra |= {"smallest": float(norms.min()), "anomaly": float(index.max())}
    return verdict(index if judge == "anomaly" else -norms, norms, triggers, masks, extra)
