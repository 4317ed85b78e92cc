"""Every search space, of defenses, detectors, filters and recipes: its points resolve, the paper's
lead, and three strategies (and Optuna) go through it.
"""

import csv
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest

from search_spaces._ask import Ask, number, option
from search_spaces._strategies import grid, one_at_a_time, thin
from trials import catalog
from trials.spec import MethodConfig, Scalar, SpecError, canonical

PROFILES = ["cifar10", "imagenet", "small"]
CATALOGS = {  # of the spaces of each kind of method
    "defenses": "spaces",
    "detectors": "detector_spaces",
    "filters": "filter_spaces",
    "recipes": "recipe_spaces",
}
LEAST = {"defenses": 1, "detectors": 12, "filters": 4, "recipes": 4}  # points of a space
FIVE = ["fine_pruning", "nad", "neural_cleanse", "pivotal_tuning", "weight_decay"]
TABLE_V = (
    Path(__file__).resolve().parents[1] / "results" / "reference" / "table5_defense_hparams.csv"
)
# The names of Table V; lambda_R (as kappa) and the optimizer's weight decay of 0, which no defense
# but one has, aside.
OURS = {
    "n_steps": "steps",
    "opt": "optimizer",
    "lr": "lr",
    "slol_lambda": "lambda_s",
    "batch_size": "batch",
    "teacher_steps": "teacher_steps",
    "power_p": "power",
    "at_lambda": "lambda_at",
    "norm_lambda": "lambda_n",
    "steps_per_class": "steps_per_class",
    "prune_rate": "rho",
    "sampled_batches": "ranking_batches",
}
PARAMETERS = {"cifar10": 11_173_962, "imagenet": 11_689_512}  # of the two ResNet-18


Points = list[MethodConfig]
every_space = pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in CATALOGS for name in catalog.names(CATALOGS[kind])]
)


def space(name: str, kind: str = "defenses"):  # type: ignore[no-untyped-def]
    return catalog.find(CATALOGS[kind], name)


def points_of(kind: str, name: str) -> Iterator[tuple[str, Points]]:
    """Each profile of a space with the grid of it."""
    for profile in PROFILES:
        if kind != "recipes" or profile != "imagenet":
            yield profile, grid(space(name, kind), profile)


def identities(points: Points) -> list[str]:
    return [canonical(p.identity()) for p in points]


def resolved(kind: str, points: Points) -> Points:
    return [catalog.resolve(kind, p) for p in points]


@pytest.mark.parametrize("kind", CATALOGS)
def test_every_method_has_a_space_and_every_space_a_method(kind: str) -> None:
    names = catalog.names(kind)
    if kind == "recipes":  # of those against poison
        names = [name for name in names if catalog.describe(kind, name).plain]
        assert len(names) == 6
    assert names == catalog.names(CATALOGS[kind])
    known = {
        "detectors": {"calibrated_inversion", "neural_cleanse"},
        "filters": {
            *("abl", "activation_clustering", "badloss", "confident_learning"),
            *("deep_knn", "psbd", "spectral_signatures", "strip"),
        },
    }
    assert known.get(kind, set()) <= set(names)


@every_space
def test_every_point_resolves_and_occurs_once(kind: str, name: str) -> None:
    for profile, points in points_of(kind, name):
        assert {p.name for p in points} == {name}
        distinct = set(identities(resolved(kind, points)))
        assert len(distinct) == len(points) >= LEAST[kind], profile
        if kind == "detectors":
            assert len(thin(points, 12, 0)) == 12


@every_space
def test_the_first_point_for_cifar10_is_the_methods_default(kind: str, name: str) -> None:
    if kind != "defenses":  # these have Table V's
        (first, *_) = resolved(kind, grid(space(name, kind), "cifar10"))
        assert first == catalog.resolve(kind, MethodConfig(name))


@every_space
def test_refuses_an_unknown_profile(kind: str, name: str) -> None:
    with pytest.raises(SpecError, match="Did you mean 'cifar10'"):
        grid(space(name, kind), "cifar")


@every_space
def test_optuna_draws_within_the_grid(kind: str, name: str) -> None:
    for profile, points in points_of(kind, name):
        settings = [p.params for p in resolved(kind, points)]
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        for _ in range(20):
            drawn = catalog.resolve(kind, space(name, kind)(study.ask(), profile)).params
            for key, value in drawn.items():
                levels = [params[key] for params in settings]
                if isinstance(value, str):
                    assert value in levels
                else:
                    numbers = [level for level in levels if not isinstance(level, str)]
                    assert min(numbers) <= value <= max(numbers)


@every_space
def test_one_at_a_time_is_part_of_the_grid(kind: str, name: str) -> None:
    for profile, points in points_of(kind, name):
        rays = one_at_a_time(space(name, kind), profile)
        assert rays[0] == points[0]
        assert set(identities(rays)) <= set(identities(points))
        assert kind != "detectors" or len(rays) > 3


@pytest.mark.parametrize("kind", CATALOGS)
def test_spaces_load_neither_torch_nor_optuna(kind: str) -> None:
    package = "search_spaces" if kind == "defenses" else f"search_spaces.{kind}"
    modules = ", ".join(f"{package}.{name}" for name in catalog.names(CATALOGS[kind]))
    loaded = "[m for m in ('torch', 'optuna', 'ray') if m in sys.modules]"
    code = f"import sys, search_spaces._strategies, {modules}; print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Recipes against poison.


@pytest.mark.parametrize("name", catalog.names("recipe_spaces"))
def test_one_poison_serves_all_points(name: str) -> None:
    schedule = ("epochs", "batch", "peak", "weight_decay")
    for _, points in points_of("recipes", name):
        assert len({canonical([p.params.get(s) for s in schedule]) for p in points}) == 1


# Detectors.


def settings_of(name: str, profile: str, *keys: str, form: str = "") -> tuple[Scalar, ...]:
    """Some settings of a detector's first point, or of the first of that form."""
    points = resolved("detectors", grid(space(name, "detectors"), profile))
    first = next(p.params for p in points if p.params.get("form", "") == form or not form)
    return tuple(first[key] for key in keys)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_first_point_of_a_detector_is_the_original(profile: str) -> None:
    told = settings_of("neural_cleanse", profile, "form", "lr", "lambda_n", "threshold")
    assert told == ("mask", 0.1, 1e-3, 0.99)
    told = settings_of("calibrated_inversion", profile, "weight", "lr", "rule", "lambda_n")
    assert told == (0.5, 0.01, "difference", 0.0)  # the authors' code


@pytest.mark.parametrize(
    ("profile", "weight", "steps"), [("cifar10", 0.02, 100), ("imagenet", 1e-5, 200)]
)
def test_table_v_leads_the_additive_form(profile: str, weight: float, steps: int) -> None:
    keys = ("lambda_n", "steps", "lr", "judge")
    told = settings_of("neural_cleanse", profile, *keys, form="additive")
    assert told == (weight, steps, 0.01, "norm")


@pytest.mark.parametrize("name", catalog.names("detector_spaces"))
def test_small_is_small_for_a_detector(name: str) -> None:
    for point in grid(space(name, "detectors"), "small"):
        assert int(point.params["steps"]) <= 200 and int(point.params["batch"]) <= 32


# Defenses.


@pytest.mark.parametrize("profile", ["cifar10", "imagenet"])
@pytest.mark.parametrize("name", FIVE)
def test_a_reproduction_has_twenty_points_or_more(name: str, profile: str) -> None:
    points = grid(space(name), profile)
    assert len(points) >= 20
    assert len(thin(points, 20, 0)) == 20


def wanted(row: dict[str, str], profile: str) -> tuple[str, Scalar] | None:
    """A row of Table V as one of our settings; None for the optimizer's decay of 0, which no
    defense but one has.
    """
    if row["parameter"] == "param_lambda":
        return "kappa", 2 * float(row[profile]) / PARAMETERS[profile]
    if row["parameter"] == "opt":
        return "optimizer", row[profile]
    if row["parameter"] == "weight_decay" and row["defense"] != "weight_decay":
        assert float(row[profile]) == 0
        return None
    ours = "lambda_w" if row["defense"] == "weight_decay" else None
    return OURS.get(row["parameter"]) or str(ours), float(row[profile])


@pytest.mark.parametrize("profile", ["cifar10", "imagenet"])
@pytest.mark.parametrize("name", FIVE)
def test_table_vs_optimum_is_a_point_and_leads_those_with_a_constant_rate(
    name: str, profile: str
) -> None:
    rows = [r for r in csv.DictReader(TABLE_V.read_text().splitlines()) if r["defense"] == name]
    points = [catalog.resolve("defenses", p).params for p in grid(space(name), profile)]
    first = next(p for p in points if p["schedule"] == "constant" and p["optimizer"] == "sgd")
    assert len(rows) > 3
    for key, value in filter(None, (wanted(row, profile) for row in rows)):
        assert first[key] == (
            value if isinstance(value, str) else pytest.approx(value, rel=5e-3)
        ), key


@pytest.mark.parametrize("profile", ["cifar10", "imagenet"])
@pytest.mark.parametrize("name", [*FIVE, "fine_tuning"])
def test_a_rate_that_falls_comes_first_and_its_steps_are_searched(name: str, profile: str) -> None:
    points = [p.params for p in grid(space(name), profile)]
    assert points[0]["schedule"] == "cosine"
    assert len({p["steps"] for p in points if p.get("schedule") == "cosine"}) >= 3


@pytest.mark.parametrize("name", FIVE)
def test_small_is_small(name: str) -> None:
    points = grid(space(name), "small")
    assert 8 <= len(points) <= 24
    assert all(int(p.params["steps"]) <= 200 and int(p.params["batch"]) <= 64 for p in points)


@pytest.mark.parametrize("name", ["fine_pruning", "neural_cleanse", "weight_decay"])
def test_the_defaults_of_a_defense_are_table_vs_column_for_cifar10(name: str) -> None:
    points = [catalog.resolve("defenses", p) for p in grid(space(name), "cifar10")]
    assert next(p for p in points if p.params["schedule"] == "constant") == catalog.resolve(
        "defenses", MethodConfig(name)
    )


# The strategies, on a space with a branch.


def branching(ask: Ask, profile: str, /) -> MethodConfig:
    kind = option(ask, "kind", "sgd", "adam")
    params: dict[str, Scalar] = {"kind": kind, "lr": number(ask, "lr", 0.1, 0.01, 1.0)}
    if kind == "adam":
        params["beta"] = number(ask, "beta", 0.9, 0.99)
    return MethodConfig("fake", params)


def test_grid_enters_a_branch_only_where_it_is_open() -> None:
    points = [tuple(p.params.values()) for p in grid(branching, "any")]
    assert points == [
        ("sgd", 0.1),
        ("sgd", 0.01),
        ("sgd", 1.0),
        ("adam", 0.1, 0.9),
        ("adam", 0.1, 0.99),
        ("adam", 0.01, 0.9),
        ("adam", 0.01, 0.99),
        ("adam", 1.0, 0.9),
        ("adam", 1.0, 0.99),
    ]


def test_one_at_a_time_changes_one_setting_at_a_time() -> None:
    points = [tuple(p.params.values()) for p in one_at_a_time(branching, "any")]
    assert points == [("sgd", 0.1), ("adam", 0.1, 0.9), ("sgd", 0.01), ("sgd", 1.0)]


def test_points_that_come_out_the_same_are_one_point() -> None:
    def folded(ask: Ask, profile: str, /) -> MethodConfig:
        return MethodConfig("fake", {"x": abs(number(ask, "x", 1.0, -1.0, 2.0, log=False))})

    assert [p.params["x"] for p in grid(folded, "any")] == [1.0, 2.0]


def test_a_space_that_asks_twice_for_a_name_is_a_bug() -> None:
    def twice(ask: Ask, profile: str, /) -> MethodConfig:
        return MethodConfig(
            "fake", {"a": number(ask, "a", 1.0, 2.0), "b": number(ask, "a", 1.0, 3.0)}
        )

    with pytest.raises(ValueError, match="twice"):
        grid(twice, "any")


@pytest.mark.parametrize("profile", ["cifar10", "imagenet"])
@pytest.mark.parametrize("name", FIVE)
def test_thinning_keeps_the_default_and_balances_each_setting(name: str, profile: str) -> None:
    points = grid(space(name), profile)
    few = thin(points, 20, 0)
    assert few[0] == points[0]
    assert len({canonical(p.identity()) for p in few}) == 20
    assert few == thin(points, 20, 0)
    for key in few[0].params:
        if key in {"lr", "steps", "teacher_lr", "schedule", "distill", "clip", "optimizer"}:
            # these differ between the branches
            continue
        counts = Counter(p.params[key] for p in few)
        assert set(counts) == {p.params[key] for p in points}
        assert max(counts.values()) - min(counts.values()) <= 2, (key, counts)


def test_thinning_another_seed_another_subset_and_never_more_than_there_is() -> None:
    points = grid(space("nad"), "cifar10")
    assert len({canonical([p.identity() for p in thin(points, 10, seed)]) for seed in range(5)}) > 1
    assert sorted(map(str, thin(points, 999, 0))) == sorted(map(str, points))
    assert thin(points, 1, 0) == points[:1]
    assert thin([], 5, 0) == []
