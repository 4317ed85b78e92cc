"""Every search space: its points resolve, Table V leads, and three strategies (and Optuna) go
through it.
"""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import optuna
import pytest

from search_spaces._ask import Ask, number, option
from search_spaces._strategies import grid, one_at_a_time, thin
from trials import catalog
from trials.spec import MethodConfig, Scalar, SpecError, canonical

NAMES = catalog.names("spaces")
PROFILES = ["cifar10", "imagenet", "small"]
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


def space(name: str):  # type: ignore[no-untyped-def]
    return catalog.find("spaces", name)


def test_every_defense_has_a_space_and_every_space_a_defense() -> None:
    assert catalog.names("defenses") == NAMES


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_every_point_resolves_and_occurs_once(name: str, profile: str) -> None:
    points = grid(space(name), profile)
    assert {p.name for p in points} == {name}
    resolved = [canonical(catalog.resolve("defenses", p).identity()) for p in points]
    assert len(set(resolved)) == len(points)


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


@pytest.mark.parametrize("name", NAMES)
def test_refuses_an_unknown_profile(name: str) -> None:
    with pytest.raises(SpecError, match="Did you mean 'cifar10'"):
        grid(space(name), "cifar")


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("name", NAMES)
def test_optuna_draws_within_the_grid(name: str, profile: str) -> None:
    points = [catalog.resolve("defenses", p).params for p in grid(space(name), profile)]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        drawn = catalog.resolve("defenses", space(name)(study.ask(), profile)).params
        for key, value in drawn.items():
            levels = [point[key] for point in points]
            if isinstance(value, str):
                assert value in levels
            else:
                numbers = [level for level in levels if not isinstance(level, str)]
                assert min(numbers) <= value <= max(numbers)


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


@pytest.mark.parametrize("name", NAMES)
def test_one_at_a_time_is_part_of_the_grid(name: str) -> None:
    everything = [canonical(p.identity()) for p in grid(space(name), "cifar10")]
    rays = [canonical(p.identity()) for p in one_at_a_time(space(name), "cifar10")]
    assert rays[0] == everything[0]
    assert set(rays) <= set(everything)


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


def test_spaces_load_neither_torch_nor_optuna() -> None:
    modules = ", ".join(f"search_spaces.{n}" for n in [*NAMES, "_strategies"])
    code = (
        f"import sys, {modules}; print([m for m in ('torch', 'optuna', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
