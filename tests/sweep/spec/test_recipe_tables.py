"""[[recipes]]: what a sweep may say of trainings against poison, and each refusal before any
compute.
"""

import os
from pathlib import Path
from typing import Any

import optuna
import pytest
import tiny_sweep
from programs import Program

from sweep.planning import expansion, targeted
from sweep.planning.searches import searches
from sweep.spec.recipes import Recipe
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.spec import SpecError

VICTIM: dict[str, Any] = {
    **tiny_sweep.VICTIM,
    "attacks": [{"name": "witches_brew", "key": [0, 1]}],
}
ROOT = Path(__file__).parents[3]
SHAPED = {"name": "gradient_shaping", "profile": "small", "limit": 2}
SCHEDULE = {"epochs": 12, "batch": 64, "peak": 0.2}


def sweep(recipes: list[Any], victim: dict[str, Any] = VICTIM, **changes: Any) -> Sweep:
    rest = {"game": "targeted", "defenses": [], "tuning": {}, "self_poisoning": {}}
    return tiny_sweep.sweep(**{"recipes": recipes, "victim": victim, **rest, **changes})


def refused(says: str, recipes: list[Any], **changes: Any) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        sweep(recipes, **changes)
    assert "\n" not in str(caught.value)


def test_a_grids_points_are_the_victims_that_the_same_trainings_give() -> None:
    of = sweep([SHAPED])
    noise = [p.params["noise"] for p in of.recipes[0].points()]
    assert noise[0] == 1e-3 and len(set(noise)) == 2
    written = {"name": "gradient_shaping", "noise": noise, **SCHEDULE}
    same = sweep([], {**VICTIM, "training": [VICTIM["training"], written]})
    assert [v.id for v in of.victims] == [v.id for v in same.victims]
    assert len(targeted.measured(of)) == 3 * 2 and len(targeted.controls(of)) == 3


def test_recipes_may_be_all_the_trainings_that_there_are() -> None:
    alone = {k: v for k, v in VICTIM.items() if k != "training"}
    of = sweep([SHAPED], alone)
    assert {v.training.name for v in of.victims} == {"gradient_shaping"} and len(of.victims) == 4
    expansion.bounded(of)


def test_one_setting_at_a_time_and_settings_that_are_fixed() -> None:
    points = Recipe(
        name="epic", profile="small", strategy="one_at_a_time", fixed={"epochs": 6}
    ).points()
    assert len(points) == 5 and {p.params["epochs"] for p in points} == {6}
    assert len(Recipe(name="epic", fixed={"begin": 1, "share": 0.1}).points()) == 2


def test_of_a_search_the_first_point_is_known_beforehand() -> None:
    (point,) = Recipe(name="epic", strategy="search", trials=7).points()
    assert point == catalog.resolve("recipes", type(point)("epic"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": "epik"}, "Did you mean 'epic'"),
        ({"name": "fast"}, "unknown recipe.space 'fast'.*epic"),
        ({"profile": "imagenet"}, "unknown profile 'imagenet'. Known: cifar10, small"),
        ({"strategy": "gird"}, "Did you mean 'grid'"),
        ({"sampler": "nsga"}, "Did you mean 'nsga2'"),
        ({"limit": -1}, "limit at least 0"),
        ({"trials": 0}, "trials at least 1"),
        ({"objectives": ["asr"]}, "unknown key of recipes 'objectives'"),
        ({"fixed": {"noice": 1}}, "Did you mean 'noise'"),
        ({"fixed": {"noise": [0.1, 0.2]}}, "noise"),
    ],
)
def test_a_wrong_table_is_refused_in_one_line(wrong: dict[str, Any], says: str) -> None:
    refused(says, [{**SHAPED, **wrong}])


def test_recipes_in_another_game_are_refused() -> None:
    for game in ("tuning", "robustness", "training"):
        refused(
            'write game = "targeted"',
            [SHAPED],
            game=game,
            victim=tiny_sweep.VICTIM,
            defenses=tiny_sweep.DEFENSES,
        )


def test_with_self_poisoning_a_search_is_the_defenders() -> None:
    own = {"self_poisoning": {"pairs": 2}, "victim": {**VICTIM, "reserve": 0.2}}
    searched = [{k: v for k, v in SHAPED.items() if k != "limit"} | {"strategy": "search"}]
    assert [s.own for s in searches(sweep(searched))] == [None]
    (found,) = searches(sweep(searched, **own))
    assert found.own and found.own.params["pairs"] == 2
    assert len(targeted.own_brews(sweep([SHAPED], **own))[0]) == 3 * 2


RECIPE = """Trains as it is told.

Source: here.
Deviation: none.
"""
SPACE = """
from trials.spec import MethodConfig

def space(ask, profile, /):
    return MethodConfig("gentle", {"epochs": ask.choose("epochs", [2, 3])})
"""
ASKED = """
import tiny_sweep
victim = {**tiny_sweep.VICTIM, "attacks": [{"name": "witches_brew"}]}
given = {"game": "targeted", "defenses": [], "tuning": {}, "self_poisoning": {}}
of = tiny_sweep.sweep(victim=victim, recipes=[{"name": "gentle"}], **given)
print([v.training.params.get("epochs") for v in of.victims if v.training.name == "gentle"])
"""


def test_a_users_recipe_is_swept_by_a_space_of_the_users(tmp_path: Path) -> None:
    spaces = tmp_path / "search_spaces" / "recipes"
    for folder in (tmp_path / "recipes", spaces):
        folder.mkdir(parents=True)
    fit = "def fit(model, poisoning, rng, checkpointer=None, /, *, epochs: int = 2):\n    yield 1"
    (tmp_path / "recipes" / "gentle.py").write_text(f'"""{RECIPE}"""\n\n{fit}\n')
    (spaces / "gentle.py").write_text(f'"""{RECIPE}"""\n{SPACE}')
    folders = {"POISONSWEEP_METHODS": str(tmp_path), "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    said = Program(["-c", ASKED], ROOT, {**os.environ, **folders}).communicate()
    assert "".join(said).strip() == "[2, 3]"


def test_a_setting_that_is_fixed_leads_the_space_into_its_branch() -> None:
    recipe = Recipe(name="strong_augmentation", profile="small", fixed={"kind": "cutout"})
    assert [p.params["strength"] for p in recipe.points()] == [0.5, 0.25]
    study = optuna.create_study()
    trial = study.ask()
    assert recipe.asked(trial).params["kind"] == "cutout"
    assert list(trial.params) == ["strength_square"]


def test_defenses_have_no_part_in_the_game() -> None:
    refused("runs no defense", [SHAPED], defenses=[{"name": "fine_tuning"}])


def test_a_recipe_is_searched_once() -> None:
    table = {"name": "gradient_shaping", "profile": "small", "strategy": "search", "trials": 2}
    refused("gradient_shaping is searched twice", [table, {**table, "trials": 3}])
