"""Rows, sentences and lines of attacks without a trigger say in which setting they differ."""

import json
from dataclasses import replace
from itertools import product

import pytest
from test_targeted_success import brewed, measured

from results.comparison.targeted_names import Names, names
from results.comparison.targeted_success import targeted_success
from results.report.targeted import targeted_section
from results.tables import targeted
from sweep.cli import targeted_views
from trials.spec import Filtering, MethodConfig, Record, Victim


def shaped(noise: float, key: int = 0) -> Victim:
    recipe = MethodConfig("gradient_shaping", {"clip": 1.0, "noise": noise})
    return replace(brewed(key, 0), training=recipe)


def filtered(neighbours: int, reject: float) -> Victim:
    method = MethodConfig("deep_knn", {"k": neighbours, "metric": "euclidean"})
    filtering = Filtering(method=method, reject=reject, trusted=0.05, seed=0)
    return replace(brewed(0, 0), filter=filtering)


@pytest.fixture
def grid() -> list[Record]:
    """Restarts x augmentation, noise of a recipe, and neighbours x share of a filter."""
    crafted = [
        brewed(0, 0, restarts=n, augment=moved) for n, moved in product((1, 4), (True, False))
    ]
    trained = [shaped(noise) for noise in (0.0, 0.01)]
    kept = [filtered(*one) for one in product((5, 50), (0.1, 0.2))]
    return [measured(v, 0.5) for v in (*crafted, *trained, *kept)]


def test_every_setting_of_a_grid_has_a_name_of_its_own(grid: list[Record]) -> None:
    found = names(targeted_success(grid))
    assert len(set(found)) == len(grid) == 10
    plain = "witches_brew (budget = 0.01, epsilon = 16)"
    crafted = "witches_brew (budget = 0.01, epsilon = 16, restarts = 4, augment = False)"
    assert Names(crafted, "sgd", "") in found
    assert Names(plain, "gradient_shaping (noise = 0.01)", "") in found
    assert Names(plain, "sgd", "deep_knn (k = 50, 20 %)") in found


def test_settings_that_all_share_are_in_no_name() -> None:
    (alone,) = names(targeted_success([measured(shaped(0.01), 0.0)]))
    assert alone.training == "gradient_shaping" and alone.trained == "gradient_shaping"


def test_rows_and_sentences_of_a_grid_differ(grid: list[Record]) -> None:
    table = targeted.table(grid)
    said = table.drop(columns=["on the front"]).astype(str)
    assert len(said.drop_duplicates()) == len(grid)
    section = targeted_section(grid)
    assert section is not None
    assert len({s.split(":")[0] for s in section["sentences"]}) == len(section["sentences"]) == 8


def test_best_names_the_settings(grid: list[Record], capsys: pytest.CaptureFixture[str]) -> None:
    targeted_views.best(targeted_success(grid), as_json=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "0.01)" in said and "augment" in said and "restarts" in said


def test_data_and_models_that_differ_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    narrow = MethodConfig("resnet18", {"width": 8})
    few = MethodConfig("cifar10", {"subset": 500})
    plain = brewed(0, 0)
    every = (plain, replace(plain, model=narrow), replace(plain, dataset=few))
    found = targeted_success([measured(v, 0.5) for v in every])
    targeted_views.best(found, as_json=False)
    said = capsys.readouterr().out
    heads = next(line for line in said.splitlines() if "training" in line)
    assert "dataset" in heads and "model" in heads and "filter" not in heads
    assert "resnet18:width=8" in said and "cifar10:subset=500" in said


def test_a_setting_that_came_later_tells_no_old_record_from_a_new_one() -> None:
    old = brewed(0, 0, restarts=1)
    later = brewed(0, 0, restarts=4, adam_eps=1e-8, precision="fp32", arch="")
    found = names(targeted_success([measured(old, 0.0), measured(later, 1.0)]))
    assert {n.attack for n in found} == {
        f"witches_brew (budget = 0.01, epsilon = 16, restarts = {n})" for n in (1, 4)
    }


def test_an_image_that_is_named_is_one_key() -> None:
    named = [measured(brewed(key, 0, instance="3-5-7"), 1.0) for key in range(4)]
    drawn = [measured(brewed(key, 0), 1.0) for key in range(4)]
    assert [targeted_success(r)[0].keys for r in (named, drawn)] == [1, 4]


def test_front_has_what_nothing_beats(capsys: pytest.CaptureFixture[str]) -> None:
    weak, strong = measured(shaped(0.0), 1.0), measured(shaped(0.01), 0.0)
    beaten = measured(shaped(0.02), 0.5)
    beaten = replace(beaten, metrics={**beaten.metrics, "cda": 0.7})
    targeted_views.front(targeted_success([weak, strong, beaten]), as_json=True)
    (best,) = json.loads(capsys.readouterr().out)
    assert best["training"] == {"name": "gradient_shaping", "clip": 1.0, "noise": 0.01}
    targeted_views.front(targeted_success([weak, strong, beaten]), as_json=False)
    said = capsys.readouterr().out
    assert "gradient_shaping" in said and "100%" not in said
