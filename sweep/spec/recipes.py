"""The [[recipes]] tables of a sweep: trainings against poison, and how the settings of each are
swept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

from search_spaces._ask import held
from search_spaces._strategies import grid, one_at_a_time, thin
from sweep.spec.filters import TARGETED
from sweep.spec.searches import check_once, check_search, check_words
from sweep.spec.validation import listed, one_of, typed
from trials import catalog
from trials.spec import MethodConfig, SpecError

if TYPE_CHECKING:
    from sweep.spec.sweep_file import Sweep

PROFILES = ["cifar10", "small"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One recipe and how its space is gone through."""

    name: str
    profile: str = "cifar10"
    strategy: str = "grid"
    # grid: at most this many points, spread over the grid, the recipe's defaults first; 0: all
    limit: int = 0
    trials: int = 20  # search: configurations asked for, each of which trains every victim
    sampler: str = "tpe"
    # settings held at a value, over the space's
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def asked(self, ask: Any) -> MethodConfig:
        """A point of the space with the fixed settings, resolved; for these nothing is asked."""
        return self._settled(self._space(ask, self.profile))

    def _space(self, ask: Any, profile: str) -> MethodConfig:
        space: Callable[..., MethodConfig] = catalog.find("recipe_spaces", self.name)
        return space(held(ask, self.fixed), profile)

    def _settled(self, config: MethodConfig) -> MethodConfig:
        return catalog.resolve(
            "recipes", MethodConfig(config.name, {**config.params, **self.fixed})
        )

    def points(self) -> list[MethodConfig]:
        """The settings that are known beforehand, resolved: of a search the first that it asks
        for.
        """
        one_by_one = self.strategy == "one_at_a_time"
        found = (one_at_a_time if one_by_one else grid)(self._space, self.profile)
        if limit := 1 if self.strategy == "search" else self.limit:
            found = thin(found, limit, 0)
        settled = map(self._settled, found)
        return list({str(c.identity()): c for c in settled}.values())


def recipe_of(data: Mapping[str, Any]) -> Recipe:
    """A table of [[recipes]]. Raises SpecError for what it may not hold."""
    recipe = typed(Recipe, "recipes", data)
    catalog.describe("recipes", recipe.name)
    catalog.describe("recipe_spaces", recipe.name)
    check_search("recipe", recipe)
    check_words("recipe", recipe, data)
    one_of("profile", recipe.profile, PROFILES)
    catalog.resolve("recipes", MethodConfig(recipe.name, recipe.fixed))
    return recipe


def with_trainings(victim: Mapping[str, Any], recipes: Sequence[Recipe]) -> Mapping[str, Any]:
    """The [victim] table with the recipes' points among its trainings."""
    if not recipes:
        return victim
    points = chain.from_iterable(recipe.points() for recipe in recipes)
    given = listed("training", victim["training"]) if "training" in victim else []
    return {**victim, "training": [*given, *({"name": p.name, **p.params} for p in points)]}


def check_recipes(sweep: "Sweep") -> None:
    """What goes with [[recipes]]. Raises SpecError."""
    if sweep.recipes and sweep.game != TARGETED:
        raise SpecError(
            f'recipes are swept against attacks without a trigger, and game = "{sweep.game}" has '
            f'none: write game = "{TARGETED}", or name trainings in [victim].'
        )
    check_once("recipe", [r.name for r in sweep.recipes if r.strategy == "search"])
