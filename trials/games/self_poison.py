"""Self-poisoning: the defender fine-tunes a backdoor of their own into a copy of the model.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, sections V-C and A-E (BadNets on the trusted images).
Deviation: the paper gives no schedule, and the schedule decides: a backdoor planted quickly, with half of each batch
stamped, falls to plain fine-tuning that a trained-in one survives, so tuning on it picks settings that are too weak.
Here a tenth of each batch is stamped, the rate is high, and planting goes on until the backdoor and the clean accuracy
have both held for ``settle`` steps (benchmarks/planting.py compares). Patch, place and target are random for each copy.
"""

from collections.abc import Generator as Steps
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from trials.bench import Defender
from trials.kinds import Images
from trials.metrics import accuracy, rate, stamped
from trials.planting import layout
from trials.spec import Count, Fraction, Point, PositiveFloat, PositiveFraction, PositiveInt
from trials.train import clone, make_optimizer, stream, tune


def play(
    lab: Defender,
    /,
    *,
    copy: Count = 0,
    folds: Count = 0,
    attack: str = "badnets",
    lr: PositiveFloat = 0.05,
    steps: PositiveInt = 1000,
    batch: PositiveInt = 128,
    share: PositiveFraction = 0.1,
    reach: PositiveFraction = 0.95,
    cda_loss: Fraction = 0.02,
    settle: Count = 150,
    check_every: PositiveInt = 25,
) -> Steps[Point, None, dict[str, float]]:
    """Plant a backdoor, keep the poisoned copy; the curve is on the copy's select images.

    Args:
        copy: number of the copy; each has its own trigger, target and batches.
        folds: parts of the trusted images for cross-fitting; 0 is 4 below 1,000 trusted images, else 1.
        attack: attack that is planted.
        lr: learning rate of SGD with momentum 0.9 and weight decay 5e-4.
        steps: most optimizer steps.
        batch: images a step.
        share: part of each batch that is stamped.
        reach: ASR on the select images that the backdoor has to hold.
        cda_loss: loss of CDA on the select images that is accepted, absolute; planting goes on above it.
        settle: steps for which both have to hold.
        check_every: steps between two looks at the ASR.

    Raises:
        RuntimeError: ``reach`` was not reached; defenses tuned on such a copy would be chosen at random.
    """
    view = lab.view
    plan = layout(view.trusted, lab.rng, copy, folds, attack)
    select = view.trusted.take(plan.select)
    triggered = stamped(select, plan.trigger, plan.target)
    model = clone(view.model)
    before = accuracy(model, select)
    point = Point(0, before, rate(model, triggered, plan.target))
    yield point
    fit = view.trusted.take(plan.fit)
    batches = _mixed(fit, plan.trigger(fit.x, plan.fit), plan.target, batch, share, lab.rng("mix", copy))
    since: int | None = None
    for step, _ in tune(model, batches, make_optimizer(model, "sgd", lr, 5e-4), steps, check_every):
        point = Point(step, accuracy(model, select), rate(model, triggered, plan.target))
        yield point
        holds = point.asr >= reach and point.cda >= before - cda_loss - 1e-9
        since = (step if since is None else since) if holds else None
        if since is not None and step - since >= settle:
            break
    if point.asr < reach:
        raise RuntimeError(
            f"the planted backdoor reached an ASR of {point.asr:.3f} in {point.step} steps, not {reach:g}: "
            "give self-poisoning more steps or a higher lr, or lower its reach"
        )
    a, b = (torch.cat([p.detach().flatten().double() for p in m.parameters()]) for m in (view.model, model))
    metrics = {
        "cda_before": before,
        "cda": point.cda,
        "asr": point.asr,
        "asr_before": rate(view.model, triggered, plan.target),
        "steps": point.step,
        "cosine": 1 - float(torch.nn.functional.cosine_similarity(a, b, 0)),
        "target": plan.target,
    }
    lab.save(model, metrics)
    return metrics


def _mixed(
    clean: Images, x: Tensor, target: int, batch: int, share: float, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of which the last ``share`` is stamped and labelled ``target``."""
    number = max(1, round(share * batch))
    poisoned = replace(clean, x=x, y=torch.full_like(clean.y, target))
    pairs = zip(stream(clean, max(1, batch - number), rng), stream(poisoned, number, rng), strict=True)
    for (a, ya), (b, yb) in pairs:
        yield torch.cat([a, b]), torch.cat([ya, yb])
