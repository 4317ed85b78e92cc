"""Brewing against oneself: the defender perturbs images of their own, adds them to the training
set, and trains on it as they might: are trusted images misled?

Source: the idea of Lukas & Kerschbaum 2023, arXiv:2305.09671 (a defender who poisons copies of the
model knows what is wanted of them), taken to attacks without a trigger: of trusted images the
defender knows whether they were misled, so recipes and filters can be chosen by it.
Deviation: the paper poisons models; nothing is published of this. All pairs are in one training
set, so that each recipe costs one training.
"""

from collections.abc import Generator as Steps

from torch import nn

from trials.games.targeted import measured
from trials.metrics import accuracy
from trials.reporting import TrialProgress, reporter
from trials.self_brewing import SelfBrewContext
from trials.self_poisoning.own_brew import OwnBrew, brewed, ingredients
from trials.spec import PositiveFraction, PositiveInt


def play(
    ctx: SelfBrewContext,
    /,
    *,
    pairs: PositiveInt = 8,
    budget: PositiveFraction = 0.01,
    epsilon: PositiveInt = 16,
    restarts: PositiveInt = 1,
    iterations: PositiveInt = 250,
    batch: PositiveInt = 512,
) -> Steps[TrialProgress, None, dict[str, float]]:
    """Train by the victim's recipe on the rows and the defender's, once its filter has looked at
    both, and keep the model.

    ``success``, ``kept`` and ``wanted`` are as in the game ``targeted``, over the defender's pairs;
    ``cda`` is measured on the images held back. ``_control`` is the victim itself, without the
    defender's rows. ``own_m`` is how many these are, ``own_removed`` what the filter takes of them.

    Args:
        pairs: trusted images that are aimed at, each with another class wanted.
        budget: perturbed images of a pair, as a share of the training set; one at least.
        epsilon: largest change of a pixel's value, in levels of 255.
        restarts: descents from other starts, of which the best one's poison is taken.
        iterations: steps of a descent.
        batch: images at a time, as memory allows.
    """
    given = ingredients(ctx.trusted, ctx.n, ctx.rng, pairs=pairs, budget=budget)
    settings = {"epsilon": epsilon, "restarts": restarts, "iterations": iterations, "batch": batch}
    own = brewed(given, ctx.view(given), settings)
    kept, model = ctx.kept(own), ctx.fresh()
    for step, steps, loss in ctx.fit(model, own, kept, ctx.rng("training")):
        yield reporter.progress(step, steps, loss)
    metrics = {"n_targeted": float(pairs), "n_clean": float(len(own.held))}
    metrics["own_m"] = float(len(own.rows))
    metrics["own_removed"] = 1 - float(kept[ctx.n :].double().mean())
    for one, which in ((model.eval(), ""), (ctx.control(), "_control")):
        found = _measured(one, own, ctx.device)
        metrics |= {f"{name}{which}": value for name, value in found.items()}
    ctx.save(model, {})
    return metrics


def _measured(model: nn.Module, own: OwnBrew, device: str) -> dict[str, float]:
    held = own.held.to(device)
    each = [goal.cases(held) for goal in own.goals]
    return measured(model, each, held) | {"cda": accuracy(model, held)}
