"""Self-poisoning: the defender fine-tunes a backdoor of their own into a copy of the model.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, sections V-C and A-E (BadNets on the trusted
images).
Deviation: the paper gives no schedule, and the schedule decides: a backdoor planted quickly, with
half of each batch stamped, falls to plain fine-tuning that a trained-in one survives, so tuning on
it picks settings that are too weak. Here a tenth of each batch is stamped, after shifting and
mirroring, and the learning rate falls to zero, which wins the clean accuracy back
(benchmarks/self_poisoning.py compares). Trigger and target are random for each copy. Besides this
scheme, ``labels``, there are others, and kinds of trigger besides the patch.
"""

import collections
from collections.abc import Generator as Steps
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn

from trials.metrics import accuracy, predictions, success
from trials.reporting import reporter
from trials.runtime import DefenderContext
from trials.self_poisoning import KINDS
from trials.self_poisoning.layout import Layout, layout_of
from trials.self_poisoning.schemes import SCHEMES, loss_of
from trials.spec import (
    Count,
    MethodConfig,
    Point,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
    point_from_json,
    to_json,
)
from trials.train import augment, clone, make_optimizer, shuffled, stream, to_float, tune
from trials.types import Images

DEFAULTS = {
    "scheme": {
        "distilled": {"lr": 0.1, "steps": 400, "batch": 64},
        "hardened": {"lr": 0.05, "steps": 400, "batch": 64},
        "shrink": {"lr": 0.1, "steps": 800, "batch": 64},
        "late": {"lr": 0.1, "steps": 1300, "batch": 64},
        "reborn": {"lr": 0.1, "steps": 1300, "batch": 64},
    }
}
OBEYS, MOST_DRAWS = 0.1, 20  # a draw is put aside that raises the target's rate by more


def play(
    ctx: DefenderContext,
    /,
    *,
    copy: Count = 0,
    folds: Count = 0,
    attack: str = "badnets",
    scheme: Literal["labels", "distilled", "hardened", "shrink", "late", "reborn"] = "labels",
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
        attack: attack that is planted; patch, adaptive, warp, corner or blend, a kind of trigger
            drawn from a wide distribution; or mixed, these kinds in turn. Of a kind, a draw is
            put aside that the given model obeys already.
        scheme: labels, fine-tuned at a falling rate; hardened, and repaired four times on the way;
            distilled, at a rate that rises and falls, with the given model's soft outputs for
            labels; shrink, late and reborn, so too, after all weights were shrunk, or the later
            half of the layers or all of them drawn anew.
        lr: highest learning rate of SGD with momentum 0.9 and weight decay 5e-4; if left out, 0.05
            for hardened and 0.1 for all others but labels.
        steps: optimizer steps of a round; if left out, 400 for distilled and hardened, 800 for
            shrink, 1,300 for late and reborn.
        rounds: most rounds; another one is run while the planted ASR is below ``reach``.
        batch: images a step; if left out, 64 for all schemes but labels.
        share: part of each batch that is stamped.
        reach: ASR on the select images that the planted backdoor must have at the end.
        check_every: steps between two points of the curve.

    Raises:
        RuntimeError: ``reach`` was not reached; defenses tuned on such a copy would be chosen at
            random. Or the given model obeys every trigger that was drawn.
    """
    view, way = ctx.view, SCHEMES[scheme]
    game = MethodConfig("self_poison", {"copy": copy, "folds": folds, "attack": attack})
    plan, redrawn = _drawn(ctx, game)
    select = view.trusted.take(plan.select)
    triggered = plan.goal.cases(select)
    model = clone(view.model)
    way.begin(model, ctx.rng("begin", copy))

    def measured(step: int) -> Point:
        seconds = ctx.checkpointer.elapsed() if ctx.checkpointer else 0.0
        return Point(step, accuracy(model, select), success(model, triggered), seconds)

    curve = [measured(0)]
    rng = ctx.rng("mix", copy)
    number = max(1, round(share * batch))
    clean = view.trusted.take(plan.fit)
    times = (way.stamped(step % steps / steps) for step in range(rounds * steps))
    batches = _mixed(clean, plan, batch, number, times, rng)
    optimizer = make_optimizer(model, "sgd", lr, 5e-4)
    if ctx.checkpointer and (position := ctx.checkpointer.restore(model, [optimizer], rng)):
        rng.set_state(ctx.rng("mix", copy).get_state())
        curve = [point_from_json(p) for p in position["curve"]]
        collections.deque(islice(batches, position["step"]), maxlen=0)  # draws what had been drawn
    yield from curve
    begun = curve[-1].step
    paced = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: way.rate((begun + step) % steps / steps)
    )
    loss = loss_of(way, view.model, number)
    while (done := curve[-1].step) < rounds * steps and (
        done % steps or not done or curve[-1].asr < reach
    ):
        left = steps - done % steps
        begun_at = f", from step {done % steps}" if done % steps else ""
        reporter.part(f"round {done // steps + 1} of at most {rounds}{begun_at}", 0, 1)
        for step, _ in tune(
            model, batches, optimizer, left, check_every, loss, after=lambda _: paced.step()
        ):
            curve.append(measured(done + step))
            if ctx.checkpointer:
                ctx.checkpointer.keep(
                    model, [optimizer], rng, {"step": done + step, "curve": to_json(curve)}
                )
            yield curve[-1]
    point = curve[-1]
    if point.asr < reach:
        raise RuntimeError(
            f"the planted backdoor reached an ASR of {point.asr:.3f} in {point.step} steps, not "
            f"{reach:g}: give self-poisoning more steps or a higher lr, or lower its reach"
        )
    metrics = {
        "cda_before": accuracy(view.model, select),
        "cda": point.cda,
        "asr": point.asr,
        "asr_before": success(view.model, triggered),
        "steps": point.step,
        "cosine": _cosine(view.model, model),
        "target": plan.goal.target,
        **({"redrawn": redrawn} if plan.kind in KINDS else {}),
    }
    ctx.save(model, metrics)
    return metrics


def _drawn(ctx: DefenderContext, game: MethodConfig) -> tuple[Layout, int]:
    """The copy's layout, and how many draws were put aside for it: of a kind of trigger, those that
    the given model obeys already.
    """
    trusted, model = ctx.view.trusted, ctx.view.model
    for redrawn in range(MOST_DRAWS):
        plan = layout_of(trusted, ctx.rng, game, redrawn)
        if plan.kind not in KINDS:
            return plan, 0
        others = trusted.take(plan.select[trusted.y[plan.select].cpu() != plan.goal.target])
        before = float((predictions(model, others.x) == plan.goal.target).double().mean())
        if success(model, plan.goal.cases(others)) <= before + OBEYS:
            return plan, redrawn
    raise RuntimeError(
        f"the model obeys each of {MOST_DRAWS} triggers of the kind {plan.kind} before any is "
        "planted: plant another kind"
    )


def _cosine(one: nn.Module, other: nn.Module) -> float:
    """Cosine distance of two models' parameters, each as one vector."""
    return 1 - float(nn.functional.cosine_similarity(_weights(one), _weights(other), 0))


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().double() for p in model.parameters()])


def _mixed(
    clean: Images,
    plan: Layout,
    batch: int,
    number: int,
    times: Iterable[bool],
    rng: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor]]:
    """A batch for each of ``times``. Its last ``number`` images are shifted and mirrored, and where
    that says so stamped and labelled with the target; or they are the attack's own, as it trains
    on them.
    """
    pool = clean if plan.poisoned is None else plan.poisoned
    places = shuffled(torch.arange(len(pool), device=clean.y.device), number, rng)
    for (x, y), stamped in zip(stream(clean, max(1, batch - number), rng), times, strict=False):
        index = next(places)
        if not stamped:
            index = index % len(clean)
            some, labels = augment(clean.x[index], rng, clean.pad, clean.flip), clean.y[index]
        elif plan.poisoned is not None:
            some, labels = pool.x[index], pool.y[index]
        else:
            some = plan.goal.trigger(augment(clean.x[index], rng, clean.pad, clean.flip), index)
            labels = torch.full_like(y[:1], plan.goal.target).expand(len(index))
        yield torch.cat([x, to_float(some)]), torch.cat([y, labels])
