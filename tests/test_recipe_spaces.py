"""The search space of every recipe against poison: its points resolve and share one schedule, the
recipe's default leads, and Optuna stays within the grid.
"""

import subprocess
import sys

import optuna
import pytest

from search_spaces._strategies import grid, one_at_a_time
from trials import catalog
from trials.spec import MethodConfig, SpecError, canonical

NAMES = catalog.names("recipe_spaces")
PROFILES = ["cifar10", "small"]


def space(name: str):  # type: ignore[no-untyped-def]
    return catalog.find("recipe_spaces", name)


def test_every_recipe_against_poison_has_a_space() -> None:
    against = [n for n in catalog.names("recipes") if catalog.describe("recipes", n).plain]
    assert against == NAMES and len(NAMES) == 6


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_one_poison_serves_all_points(name: str, profile: str) -> None:
    points = grid(space(name), profile)
    schedule = ("epochs", "batch", "peak", "weight_decay")
    assert len({canonical([p.params.get(s) for s in schedule]) for p in points}) == 1


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_points_resolve_and_each_occurs_once(name: str, profile: str) -> None:
    points = grid(space(name), profile)
    assert {p.name for p in points} == {name}
    resolved = [canonical(catalog.resolve("recipes", p).identity()) for p in points]
    assert len(set(resolved)) == len(points) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_the_first_point_for_cifar10_is_the_recipes_default(name: str) -> None:
    first = grid(space(name), "cifar10")[0]
    assert catalog.resolve("recipes", first) == catalog.resolve("recipes", MethodConfig(name))


@pytest.mark.parametrize("name", NAMES)
def test_refuses_an_unknown_profile(name: str) -> None:
    with pytest.raises(SpecError, match="Did you mean 'cifar10'"):
        grid(space(name), "cifar")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_optuna_draws_within_the_grid(name: str, profile: str) -> None:
    points = [catalog.resolve("recipes", p).params for p in grid(space(name), profile)]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(10):
        drawn = catalog.resolve("recipes", space(name)(study.ask(), profile)).params
        for key, value in drawn.items():
            levels = [p[key] for p in points]
            if isinstance(value, str):
                assert value in levels
            else:
                numbers = [level for level in levels if not isinstance(level, str)]
                assert min(numbers) <= value <= max(numbers)


@pytest.mark.parametrize("name", NAMES)
def test_one_at_a_time_is_part_of_the_grid(name: str) -> None:
    points, rays = grid(space(name), "small"), one_at_a_time(space(name), "small")
    assert rays[0] == points[0]
    assert {canonical(p.identity()) for p in rays} <= {canonical(p.identity()) for p in points}


def test_spaces_of_recipes_load_neither_torch_nor_optuna() -> None:
    modules = ", ".join(f"search_spaces.recipes.{n}" for n in NAMES)
    code = (
        f"import sys, {modules}; print([m for m in ('torch', 'optuna', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
