"""Every filter's search space: its points resolve, the paper's leads, and Optuna stays within the
grid.
"""

import subprocess
import sys

import optuna
import pytest

from search_spaces._strategies import grid, one_at_a_time
from trials import catalog
from trials.spec import MethodConfig, SpecError, canonical

NAMES = catalog.names("filter_spaces")
PROFILES = ["cifar10", "imagenet", "small"]


def space(name: str):  # type: ignore[no-untyped-def]
    return catalog.find("filter_spaces", name)


def test_every_filter_has_a_space_and_every_space_a_filter() -> None:
    assert catalog.names("filters") == NAMES
    assert {"abl", "activation_clustering", "badloss", "confident_learning"} <= set(NAMES)
    assert {"deep_knn", "psbd", "spectral_signatures", "strip"} <= set(NAMES)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_points_resolve_and_each_occurs_once(name: str, profile: str) -> None:
    points = grid(space(name), profile)
    assert {p.name for p in points} == {name}
    resolved = [canonical(catalog.resolve("filters", p).identity()) for p in points]
    assert len(set(resolved)) == len(points) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_the_first_point_for_cifar10_is_the_filters_default(name: str) -> None:
    first = grid(space(name), "cifar10")[0]
    assert catalog.resolve("filters", first) == catalog.resolve("filters", MethodConfig(name))


@pytest.mark.parametrize("name", NAMES)
def test_refuses_an_unknown_profile(name: str) -> None:
    with pytest.raises(SpecError, match="Did you mean 'cifar10'"):
        grid(space(name), "cifar")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_optuna_draws_within_the_grid(name: str, profile: str) -> None:
    points = [catalog.resolve("filters", p).params for p in grid(space(name), profile)]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(10):
        drawn = catalog.resolve("filters", space(name)(study.ask(), profile)).params
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


def test_spaces_of_filters_load_neither_torch_nor_optuna() -> None:
    modules = ", ".join(f"search_spaces.filters.{n}" for n in NAMES)
    code = (
        f"import sys, {modules}; print([m for m in ('torch', 'optuna', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
