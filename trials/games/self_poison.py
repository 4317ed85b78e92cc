"""Self-poisoning: the defender fine-tunes a backdoor of their own into a copy of the model.

Source: Lukas & Kerschbaum 2023, arXiv:2305.09671, sections V-C and A-E (BadNets on the trusted
images).
Deviation: the paper gives no schedule, and the schedule decides: a backdoor planted quickly, with
half of each batch stamped, falls to plain fine-tuning that a trained-in one survives, so tuning on
it picks settings that are too weak. Here a tenth of each batch is stamped, after shifting and
mirroring, and the learning rate falls to zero, which wins the clean accuracy back
(benchmarks/self_poisoning.py compares). Trigger and target are random for each copy. That scheme,
``labels``, is the paper's form, and was the default until it ranked settings worst of the schemes
that were measured (docs/answer.md); then ``distilled`` was, and now it is ``late``, of whose
copies the choice gave least away. There are other schemes, and kinds of trigger besides the patch.
"""

from collections.abc import Generator as Steps
from collections.abc import Iterator
from itertools import count, islice
from typing import Literal

import torch
from torch import Tensor, nn

from trials.games._copy_training import CopyTraining, Schedule
from trials.metrics import accuracy, predictions, success
from trials.runtime import DefenderContext
from trials.self_poisoning import EASIEST, KINDS, MIXED, kind_of
from trials.self_poisoning.layout import Layout, layout_of
from trials.spec import (
    Count,
    Fraction,
    MethodConfig,
    Point,
    PositiveFloat,
    PositiveFraction,
    PositiveInt,
)
from trials.types import DefenderView

DEFAULTS = {
    "optimizer": {"adam": {"lr": 0.001}},
    "scheme": {
        "labels": {"lr": 0.02, "steps": 500, "batch": 128},
        "sam": {"lr": 0.02, "steps": 500, "batch": 128},
        "sbl": {"lr": 0.02, "steps": 500, "batch": 128},
        "hardened": {"lr": 0.05, "steps": 400},
        "distilled": {"steps": 400},
        "shrink": {"steps": 800},
    },
}
_ANEW = ("late", "reborn")  # schemes whose copies begin with layers that have learned nothing
OBEYS, MOST_DRAWS = 0.1, 20  # a draw is put aside that raises the target's rate by more
N_REDRAWS = 2  # further triggers of a kind that are tried where one was not learned


def play(
    ctx: DefenderContext,
    /,
    *,
    copy: Count = 0,
    folds: Count = 4,
    attack: str = "badnets",
    scheme: Literal[
        "labels", "sam", "sbl", "hardened", "distilled", "shrink", "late", "reborn"
    ] = "late",
    optimizer: Literal["sgd", "adam"] = "sgd",
    lr: PositiveFloat = 0.1,
    steps: PositiveInt = 1300,
    rounds: PositiveInt = 3,
    batch: PositiveInt = 64,
    share: PositiveFraction = 0.1,
    reach: PositiveFraction = 0.95,
    check_every: PositiveInt = 50,
    hope: Fraction = 0.5,
) -> Steps[Point, None, dict[str, float]]:
    """Plant a backdoor, keep the poisoned copy; the curve is on the copy's select images.

    Of a kind of trigger, ``redrawn`` counts the draws that were put aside, and ``unlearned`` those
    of them that were trained in but not learned, if there are any. A point at step 0 begins the
    curve of the next draw.

    Args:
        copy: number of the copy; each has its own trigger, target and batches.
        folds: parts of the trusted images for cross-fitting; what a setting costs is measured on
            as many as there are copies. 0 is 4 below 1,000 trusted images, else 1.
        attack: attack that is planted; patch, adaptive, warp, corner or blend, a kind of trigger
            drawn from a wide distribution; or mixed, these kinds in turn. Of a kind, a draw is
            put aside that the given model obeys already, or whose trigger is not learned: then
            the given model is poisoned anew, with up to two further draws, and of mixed with
            patches after them (``fallback``).
        scheme: labels, fine-tuned at a falling rate; sam, so too, by the gradient of the worst
            point near the weights; sbl, by that gradient, and then tuned on clean images alone
            while what the backdoor needs is held; hardened, as labels, and repaired four times on
            the way; distilled, at a rate that rises and falls, with the given model's soft outputs
            for labels; shrink, late and reborn, so too, after all weights were shrunk, or the later
            half of the layers or all of them drawn anew.
        optimizer: sgd, with momentum 0.9, or adam, for networks without normalisation, some of
            which are ruined by SGD; both with weight decay 5e-4.
        lr: highest learning rate; if left out, 0.001 of adam, and of sgd 0.02 for labels, sam and
            sbl, 0.05 for hardened.
        steps: optimizer steps of a round; if left out, 400 for distilled and hardened, 500 for
            labels, sam and sbl, 800 for shrink.
        rounds: most rounds of a draw; another one is run while the planted ASR is below ``reach``,
            and not below ``hope`` of it where another trigger can be drawn.
        batch: images a step; if left out, 128 for labels, sam and sbl.
        share: part of each batch that is stamped.
        reach: ASR on the select images that the planted backdoor must have at the end.
        check_every: steps between two points of the curve.
        hope: share of ``reach`` that a trigger must have after each round to get another, but for
            the last that is drawn of a kind, which gets all; 1 gives all others a single round.

    Raises:
        RuntimeError: ``reach`` was not reached with any draw, or the copy has less than half of
            the given model's clean accuracy; defenses tuned on such a copy would be chosen at
            random. Or the given model obeys every trigger that was drawn.
    """
    game = MethodConfig("self_poison", {"copy": copy, "folds": folds, "attack": attack})
    schedule = Schedule(
        scheme, optimizer, lr, steps, rounds, batch, share, reach, check_every, hope
    )
    training = CopyTraining(ctx, copy, schedule)
    training.resume()
    kind, tries = kind_of(attack, copy), enumerate(_tries(ctx, game))
    for unlearned, (plan, redrawn) in islice(tries, training.unlearned, None):
        if unlearned > training.unlearned:
            training = CopyTraining(ctx, copy, schedule, unlearned)
        training.last = plan.kind not in KINDS or unlearned >= N_REDRAWS
        yield from training.train(plan)
        if training.learned:
            metrics = _metrics(ctx, plan, redrawn, training)
            metrics |= {"fallback": 1} if plan.kind != kind else {}
            ctx.save(training.model, metrics)
            return metrics
    raise RuntimeError(_failure(training, schedule))


def _tries(ctx: DefenderContext, game: MethodConfig) -> Iterator[tuple[Layout, int]]:
    """What is tried, one after another: draws of the copy's kind, then of the easiest kind where
    kinds are planted in turn, so that no copy fails for its kind alone.
    """
    yield from islice(_draws(ctx, game), 1 + N_REDRAWS)
    attack = str(game.params["attack"])
    if attack == MIXED and kind_of(attack, int(game.params["copy"])) != EASIEST:
        yield from islice(_draws(ctx, game, EASIEST), 1 + N_REDRAWS)


def _draws(
    ctx: DefenderContext, game: MethodConfig, kind: str = ""
) -> Iterator[tuple[Layout, int]]:
    """The copy's layouts in the order in which they are tried, each with the number of draws before
    it: of a kind of trigger all but those that the given model obeys already, of a named attack the
    one that it has. ``kind``: of trigger, in place of the copy's.
    """
    obeyed = 0
    for redrawn in count():
        plan = layout_of(ctx.view.trusted, ctx.rng, game, redrawn, kind)
        if plan.kind not in KINDS:
            yield plan, redrawn
            return
        obeyed = obeyed + 1 if _obeys(ctx.view, plan) else 0
        if obeyed == MOST_DRAWS:
            raise RuntimeError(
                f"the model obeys each of {MOST_DRAWS} triggers of the kind {plan.kind} before any "
                "is planted: plant another kind"
            )
        if not obeyed:
            yield plan, redrawn


def _obeys(view: DefenderView, plan: Layout) -> bool:
    """Whether the given model gives the target to clearly more images once they are triggered."""
    target, trusted = plan.goal.target, view.trusted
    others = trusted.take(plan.select[trusted.y[plan.select].cpu() != target])
    before = float((predictions(view.model, others.x) == target).double().mean())
    return success(view.model, plan.goal.cases(others)) > before + OBEYS


def _failure(training: CopyTraining, schedule: Schedule) -> str:
    point, tried = training.curve[-1], training.unlearned + 1
    if training.ruined:
        other = "" if schedule.optimizer == "adam" else ', or optimizer = "adam"'
        if schedule.scheme in _ANEW:
            other += ', or more steps, or scheme = "distilled", which draws nothing anew'
        return (
            f"poisoning ruined the copy: after {point.step} steps its clean accuracy is "
            f"{point.cda:.3f}, less than half of the given model's: give self-poisoning a lower "
            f"lr{other}"
        )
    triggers = f", with the last of {tried} triggers that were tried" if tried > 1 else ""
    return (
        f"the planted backdoor reached an ASR of {point.asr:.3f} in {point.step} steps, not "
        f"{schedule.reach:g}{triggers}: give self-poisoning more steps or a higher lr, or lower "
        "its reach"
    )


def _metrics(
    ctx: DefenderContext, plan: Layout, redrawn: int, training: CopyTraining
) -> dict[str, float]:
    given, point = ctx.view.model, training.curve[-1]
    select = ctx.view.trusted.take(plan.select)
    return {
        "cda_before": accuracy(given, select),
        "cda": point.cda,
        "asr": point.asr,
        "asr_before": success(given, plan.goal.cases(select)),
        "steps": point.step,
        "cosine": _cosine(given, training.model),
        "target": plan.goal.target,
        **({"redrawn": redrawn} if plan.kind in KINDS else {}),
        **({"unlearned": training.unlearned} if training.unlearned else {}),
    }


def _cosine(one: nn.Module, other: nn.Module) -> float:
    """Cosine distance of two models' parameters, each as one vector."""
    return 1 - float(nn.functional.cosine_similarity(_weights(one), _weights(other), 0))


def _weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().double() for p in model.parameters()])
