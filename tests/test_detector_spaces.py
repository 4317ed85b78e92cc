"""Every detector's search space: its points resolve, the paper's leads, and Optuna stays within the
grid.
"""

import subprocess
import sys

import optuna
import pytest

from search_spaces._strategies import grid, one_at_a_time, thin
from trials import catalog
from trials.spec import MethodConfig, SpecError, canonical

NAMES = catalog.names("detector_spaces")
PROFILES = ["cifar10", "imagenet", "small"]


def space(name: str):  # type: ignore[no-untyped-def]
    return catalog.find("detector_spaces", name)


def params(name: str, profile: str, at: int = 0) -> dict[str, object]:
    return dict(catalog.resolve("detectors", grid(space(name), profile)[at]).params)


def test_every_detector_has_a_space_and_every_space_a_detector() -> None:
    assert catalog.names("detectors") == NAMES
    assert {"calibrated_inversion", "neural_cleanse"} <= set(NAMES)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_there_are_twelve_points_or_more_and_each_resolves_and_occurs_once(
    name: str, profile: str
) -> None:
    points = grid(space(name), profile)
    assert {p.name for p in points} == {name}
    resolved = [canonical(catalog.resolve("detectors", p).identity()) for p in points]
    assert len(set(resolved)) == len(points) >= 12
    assert len(thin(points, 12, 0)) == 12


@pytest.mark.parametrize("name", NAMES)
def test_the_first_point_for_cifar10_is_the_detectors_default(name: str) -> None:
    first = grid(space(name), "cifar10")[0]
    assert catalog.resolve("detectors", first) == catalog.resolve("detectors", MethodConfig(name))


@pytest.mark.parametrize("profile", PROFILES)
def test_the_first_point_of_neural_cleanse_is_the_original(profile: str) -> None:
    first = params("neural_cleanse", profile)
    assert (first["form"], first["lr"], first["lambda_n"], first["threshold"]) == (
        "mask",
        0.1,
        1e-3,
        0.99,
    )


@pytest.mark.parametrize(
    ("profile", "weight", "steps"), [("cifar10", 0.02, 100), ("imagenet", 1e-5, 200)]
)
def test_table_v_leads_the_additive_form(profile: str, weight: float, steps: int) -> None:
    points = [
        catalog.resolve("detectors", p).params for p in grid(space("neural_cleanse"), profile)
    ]
    first = next(p for p in points if p["form"] == "additive")
    assert (first["lambda_n"], first["steps"], first["lr"], first["judge"]) == (
        weight,
        steps,
        0.01,
        "norm",
    )


@pytest.mark.parametrize("profile", PROFILES)
def test_the_first_point_of_calibrated_inversion_is_the_authors_code(profile: str) -> None:
    first = params("calibrated_inversion", profile)
    assert (first["weight"], first["lr"], first["rule"], first["lambda_n"]) == (
        0.5,
        0.01,
        "difference",
        0.0,
    )


@pytest.mark.parametrize("name", NAMES)
def test_small_is_small(name: str) -> None:
    for point in grid(space(name), "small"):
        assert int(point.params["steps"]) <= 200 and int(point.params["batch"]) <= 32


@pytest.mark.parametrize("name", NAMES)
def test_refuses_an_unknown_profile(name: str) -> None:
    with pytest.raises(SpecError, match="Did you mean 'cifar10'"):
        grid(space(name), "cifar")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_optuna_draws_within_the_grid(name: str, profile: str) -> None:
    points = [catalog.resolve("detectors", p).params for p in grid(space(name), profile)]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        drawn = catalog.resolve("detectors", space(name)(study.ask(), profile)).params
        for key, value in drawn.items():
            levels = [p[key] for p in points]
            if isinstance(value, str):
                assert value in levels
            else:
                numbers = [level for level in levels if not isinstance(level, str)]
                assert min(numbers) <= value <= max(numbers)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_one_at_a_time_is_part_of_the_grid(name: str, profile: str) -> None:
    points, rays = grid(space(name), profile), one_at_a_time(space(name), profile)
    assert rays[0] == points[0]
    assert {canonical(p.identity()) for p in rays} <= {canonical(p.identity()) for p in points}
    assert len(rays) > 3


def test_spaces_of_detectors_load_neither_torch_nor_optuna() -> None:
    modules = ", ".join(f"search_spaces.detectors.{n}" for n in NAMES)
    code = (
        f"import sys, {modules}; print([m for m in ('torch', 'optuna', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
