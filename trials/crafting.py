"""What an attacker is lent who crafts poison: training as the victim's, and tensors kept as
artifacts.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Generator, Tensor, nn

from trials import catalog
from trials.architecture import surrogate_of
from trials.cache_key import Key
from trials.reporting import reporter
from trials.spec import MethodConfig, Victim, content_id
from trials.storage.artifacts import ArtifactStore
from trials.types import Images, Poisoning
from trials.views import AttackerView, Fit, Keep

if TYPE_CHECKING:
    from trials.runtime import TrialRuntime

# a recipe with its settings bound
Recipe = Callable[[nn.Module, Poisoning, Generator], Iterator[tuple[int, int, float]]]


def fitted_by(recipe: Recipe) -> Fit:
    """Trains a model by the recipe to its end, and gives it back in eval mode."""

    def fit(model: nn.Module, poisoning: Poisoning, rng: Generator) -> nn.Module:
        with reporter.untimed("training a model of the attacker's"):
            for step, steps, loss in recipe(model, poisoning, rng):
                reporter.report(step, steps, loss)
        return model.eval().requires_grad_(False)

    return fit


def kept_in(artifacts: ArtifactStore, scope: Mapping[str, Any]) -> Keep:
    """Keeps tensors as artifacts.

    Args:
        artifacts: where they lie, beside those of trials.
        scope: what decides them besides their name, as plain JSON.
    """

    def keep(name: str, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        key = content_id({"kept": name, **scope})
        if not artifacts.has(key):
            artifacts.save(key, make(), {"kept": name})
        return artifacts.load(key)[0]

    return keep


def attacker_view(
    runtime: "TrialRuntime", victim: Victim, train: Images, number: int
) -> AttackerView:
    """What the victim's attack of that number is handed, ``train`` being what is clean."""
    # the seed draws the reserve and what earlier attacks took; else poison is for every seed
    seed = victim.seed if number or victim.reserve else 0
    before = replace(victim, attacks=victim.attacks[:number], seed=seed)
    training, attack = as_attacked(victim.training), victim.attacks[number]
    # of the surrogates' architecture: so victims of all architectures are trained on one poison
    before = replace(before, training=training, model=surrogate_of(victim, attack))
    scope = {"attack": attack.name, "before": before.identity()}
    recipe = catalog.find("recipes", training.name)
    return AttackerView(
        train,
        targets=lambda: runtime.images(Key(victim.dataset), "test"),
        fresh=lambda seed: runtime.untrained(before, seed),
        fit=fitted_by(partial(recipe, **training.params)),
        keep=kept_in(runtime.artifacts, scope),
    )


def as_attacked(training: MethodConfig) -> MethodConfig:
    """The recipe that an attacker expects, who does not know what is done against poison: one
    poison serves all that is.
    """
    plain = catalog.describe("recipes", training.name).plain
    if not plain:
        return training
    known = catalog.describe("recipes", plain).settings
    shared = {key: value for key, value in training.params.items() if key in known}
    return catalog.resolve("recipes", MethodConfig(plain, shared))


def checked(runtime: "TrialRuntime", victim: Victim) -> Images:
    """The clean training set, once the attacks that craft their poison have looked at it; none is
    crafted.

    Raises:
        SpecError: an attack cannot be made on it.
    """
    train = runtime.trainable(victim)
    for number, attack in enumerate(victim.attacks):
        if check := catalog.find_check("attacks", attack.name):
            check(attacker_view(runtime, victim, train, number), **attack.params)
    return train
