"""Self-poisoning: the defender fine-tunes a backdoor of their own into a copy of the model.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, sections V-C and A-E (BadNets on the trusted
images).
Deviation: the paper gives no schedule, and the schedule decides: a backdoor planted quickly, with
half of each batch stamped, falls to plain fine-tuning that a trained-in one survives, so tuning on
it picks settings that are too weak. Here a tenth of each batch is stamped, after shifting and
mirroring, and the learning rate falls to zero, which wins the clean accuracy back
(benchmarks/planting.py compares). Patch, place and target are random for each copy.
"""

import collections
from collections.abc import Generator as Steps
from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from trials.metrics import accuracy, success
from trials.reporting import reporter
from trials.runtime import DefenderContext
from trials.self_poisoning import Layout, layout
from trials.spec import (
    Count,
    Point,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    point_from_json,
    to_json,
)
from trials.train import augment, clone, make_optimizer, shuffled, stream, to_float, tune
from trials.types import Images


def play(
    ctx: DefenderContext,
    /,
    *,
    copy: Count = 0,
    folds: Count = 0,
    attack: str = "badnets",
    lr: PositiveFloat = 0.02,
    steps: PositiveInt = 500,
    rounds: PositiveInt = 3,
    batch: PositiveInt = 128,
    share: PositiveFraction = 0.1,
    reach: PositiveFraction = 0.95,
    check_every: PositiveInt = 50,
) -> Steps[Point, None, dict[str, float]]:
    """Plant a backdoor, keep the poisoned copy; the curve is on the copy's select images.

    Args:
        copy: number of the copy; each has its own trigger, target and batches.
        folds: parts of the trusted images for cross-fitting; 0 is 4 below 1,000 trusted images,
            else 1.
        attack: attack that is planted.
        lr: first learning rate of SGD with momentum 0.9 and weight decay 5e-4; it falls to 0 in a
            line.
        steps: optimizer steps of a round.
        rounds: most rounds; another one is run while the planted ASR is below ``reach``.
        batch: images a step.
        share: part of each batch that is stamped.
        reach: ASR on the select images that the planted backdoor must have at the end.
        check_every: steps between two points of the curve.

    Raises:
        RuntimeError: ``reach`` was not reached; defenses tuned on such a copy would be chosen at
            random.
    """
    view = ctx.view
    plan = layout(view.trusted, ctx.rng, copy, folds, attack)
    select = view.trusted.take(plan.select)
    triggered = plan.goal.cases(select)
    model = clone(view.model)

    def measured(step: int) -> Point:
        seconds = ctx.checkpointer.elapsed() if ctx.checkpointer else 0.0
        return Point(step, accuracy(model, select), success(model, triggered), seconds)

    curve = [measured(0)]
    rng = ctx.rng("mix", copy)
    batches = _mixed(view.trusted.take(plan.fit), plan, batch, share, rng)
    optimizer = make_optimizer(model, "sgd", lr, 5e-4)
    if ctx.checkpointer and (position := ctx.checkpointer.restore(model, [optimizer], rng)):
        rng.set_state(ctx.rng("mix", copy).get_state())
        curve = [point_from_json(p) for p in position["curve"]]
        collections.deque(islice(batches, position["step"]), maxlen=0)  # draws what had been drawn
    yield from curve
    begun = curve[-1].step
    falling = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 1 - (begun + step) % steps / steps
    )
    while (done := curve[-1].step) < rounds * steps and (
        done % steps or not done or curve[-1].asr < reach
    ):
        left = steps - done % steps
        begun_at = f", from step {done % steps}" if done % steps else ""
        reporter.part(f"round {done // steps + 1} of at most {rounds}{begun_at}", 0, 1)
        for step, _ in tune(
            model, batches, optimizer, left, check_every, after=lambda _: falling.step()
        ):
            curve.append(measured(done + step))
            if ctx.checkpointer:
                ctx.checkpointer.keep(
                    model, [optimizer], rng, {"step": done + step, "curve": to_json(curve)}
                )
            yield curve[-1]
    before, point = curve[0].cda, curve[-1]
    if point.asr < reach:
        raise RuntimeError(
            f"the planted backdoor reached an ASR of {point.asr:.3f} in {point.step} steps, not "
            f"{reach:g}: "
            "give self-poisoning more steps or a higher lr, or lower its reach"
        )
    a, b = (
        torch.cat([p.detach().flatten().double() for p in m.parameters()])
        for m in (view.model, model)
    )
    metrics = {
        "cda_before": before,
        "cda": point.cda,
        "asr": point.asr,
        "asr_before": success(view.model, triggered),
        "steps": point.step,
        "cosine": 1 - float(torch.nn.functional.cosine_similarity(a, b, 0)),
        "target": plan.goal.target,
    }
    ctx.save(model, metrics)
    return metrics


def _mixed(
    clean: Images, plan: Layout, batch: int, share: float, rng: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of which the last ``share`` is shifted and mirrored, then stamped, and labelled with
    the target.
    """
    number = max(1, round(share * batch))
    places = shuffled(torch.arange(len(clean), device=clean.y.device), number, rng)
    for x, y in stream(clean, max(1, batch - number), rng):
        index = next(places)
        stamped_x = plan.goal.trigger(augment(clean.x[index], rng, clean.pad, clean.flip), index)
        yield (
            torch.cat([x, to_float(stamped_x)]),
            torch.cat([y, torch.full_like(y[:1], plan.goal.target).expand(len(index))]),
        )
