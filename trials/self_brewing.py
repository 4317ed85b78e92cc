"""What a defender is handed who brews poison against a model of their own, to choose how to train:
trusted images, and the training set as it came.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor, nn

from trials import catalog
from trials.crafting import as_attacked, fitted_by, kept_in
from trials.data_views import apart
from trials.dependencies import filtering_of, unfiltered
from trials.filtering import FilteringContext, kept_of
from trials.games.filtering import removed
from trials.self_poisoning.own_brew import Ingredients, OwnBrew, all_kept
from trials.self_poisoning.own_rows import joined
from trials.spec import SpecError, Trial
from trials.types import Images, Poisoning
from trials.views import AttackerView, DataView

if TYPE_CHECKING:
    from trials.runtime import TrialRuntime


@dataclass(frozen=True, slots=True)
class SelfBrewContext:
    """What the game that brews against oneself is handed; no attack's places or goals are in it.

    Attributes:
        trusted: the defender's images, of which no row is one.
        n: rows of the training set.
        view: of the defender as an attacker: surrogates are trained on all rows, by the recipe
            without what is done against poison.
        kept: which of the rows, then of the defender's, the victim's filter keeps.
        fresh: the victim's model before training.
        fit: trains it, by the victim's recipe, on those that are kept.
        control: the victim, trained without the defender's rows.
        device: of the model.
        rng: generator of a stage of this trial.
        save: keeps the model and facts as this trial's artifact.
    """

    trusted: Images
    n: int
    view: Callable[[Ingredients], AttackerView]
    kept: Callable[[OwnBrew], Tensor]
    fresh: Callable[[], nn.Module]
    fit: Callable[[nn.Module, OwnBrew, Tensor, Generator], Iterator[tuple[int, int, float]]]
    control: Callable[[], nn.Module]
    device: str
    rng: Callable[..., Generator]
    save: Callable[[nn.Module, dict[str, Any]], None]


def self_brew_context(trial: Trial, runtime: "TrialRuntime") -> SelfBrewContext:
    """What the game is handed.

    Raises:
        SpecError: the model would be trained on trusted images.
    """
    victim = trial.victim
    if not apart(victim):
        raise SpecError(
            "self_poisoning with attacks without a trigger needs trusted images that no training "
            "sees: set reserve in [victim], to trusted (r) or more."
        )
    poisoning = runtime.poisoning(unfiltered(victim))
    recipe = catalog.find("recipes", victim.training.name)

    def fit(
        model: nn.Module, own: OwnBrew, kept: Tensor, rng: Generator
    ) -> Iterator[tuple[int, int, float]]:
        whole = Poisoning(joined((poisoning.train, own.rows)), poisoning.implants)
        return iter(recipe(model, kept_of(whole, kept), rng, **victim.training.params))

    return SelfBrewContext(
        trusted=runtime.trusted(trial),
        n=len(poisoning.train),
        view=lambda given: _attacker(trial, runtime, poisoning, given),
        kept=lambda own: _kept(trial, runtime, poisoning, own),
        fresh=lambda: runtime.fresh(victim),
        fit=fit,
        control=lambda: runtime.trained(victim),
        device=runtime.device,
        rng=runtime.rng(trial),
        save=lambda model, facts: runtime.artifacts.save(trial.id, model.state_dict(), facts),
    )


def _attacker(
    trial: Trial, runtime: "TrialRuntime", poisoning: Poisoning, given: Ingredients
) -> AttackerView:
    """The defender's view: they perturb the pool, and train surrogates on the training set."""
    training = as_attacked(trial.victim.training)
    victim = replace(unfiltered(trial.victim), training=training)
    fit = fitted_by(partial(catalog.find("recipes", training.name), **training.params))
    scope = {"defender": victim.identity(), "trusted": trial.trusted, "seed": trial.seed}
    return AttackerView(
        given.pool,
        targets=lambda: given.held,
        fresh=lambda seed: runtime.untrained(victim, seed),
        fit=lambda model, _, rng: fit(model, poisoning, rng),
        keep=kept_in(runtime.artifacts, {**scope, "m": given.m}),
    )


def _kept(trial: Trial, runtime: "TrialRuntime", poisoning: Poisoning, own: OwnBrew) -> Tensor:
    """What the victim's filter keeps; it sees the defender's rows as any others, and no image that
    they aim at.
    """
    filtering = trial.victim.filter
    n = len(poisoning.train)
    if filtering is None:
        return all_kept(own.rows, n)
    victim = unfiltered(trial.victim)
    before = replace(trial, victim=victim)
    train = joined((poisoning.train, own.rows)).to(runtime.device)

    def trained() -> nn.Module:
        model: nn.Module = runtime.fresh(victim)
        model.load_state_dict(runtime.artifacts.load(before.id)[0])
        return model.eval().requires_grad_(False)

    recipe = partial(catalog.find("recipes", victim.training.name), **victim.training.params)
    view = DataView(
        train=train,
        trusted=own.trusted.to(runtime.device),
        fresh=lambda seed: runtime.untrained(victim, seed),
        fit=fitted_by(recipe),
        trained=trained,
        keep=kept_in(runtime.artifacts, {"brewed": before.identity()}),
    )
    method = filtering.method
    ctx = FilteringContext(
        view=view,
        score=partial(catalog.find("filters", method.name), **method.params),
        poisoning=Poisoning(train),
        rows=torch.arange(len(train)),
        reject=filtering.reject,
        rng=runtime.rng(trial),
        save=lambda tensors, facts: None,
    )
    found = ctx.score(view, ctx.rng("filter"))
    threshold: dict[str, Any] = dict(filtering_of(trial.victim).game.params)
    return ~removed(ctx, found, **threshold)
