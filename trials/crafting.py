"""What an attacker is lent who crafts poison: training as the victim's, and tensors kept as
artifacts.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Generator, Tensor, nn

from trials.reporting import reporter
from trials.spec import content_id
from trials.storage.artifacts import ArtifactStore
from trials.types import Poisoning
from trials.views import Fit, Keep

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
