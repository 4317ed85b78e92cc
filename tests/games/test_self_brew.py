"""Brewing against oneself: from what, towards what, made once, and how it is planned."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
import torch
from torch import Generator

from results.store import Store
from sweep.execution import preflight
from sweep.planning import filtering, targeted
from sweep.planning.stages import stages
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.datasets import digits
from trials.dependencies import dependencies
from trials.run import run
from trials.runtime import TrialRuntime
from trials.self_brewing import self_brew_context
from trials.self_poisoning.own_brew import Ingredients, ingredients
from trials.spec import Record, SpecError, Trial
from trials.storage.artifacts import Artifacts
from trials.types import Images
from trials.views import DataView

OWN: dict[str, Any] = {"pairs": 3, "budget": 0.03, "epsilon": 32, "iterations": 2}
VICTIM: dict[str, Any] = {
    **tiny_sweep.VICTIM,
    "dataset": {"name": "digits", "size": 8},
    "training": [
        {"name": "fast", "epochs": 1, "batch": 64, "peak": 0.2},
        {"name": "gradient_shaping", "epochs": 1, "batch": 64, "peak": 0.2},
    ],
    "attacks": [{"name": "witches_brew", "budget": 0.05, "restarts": 1, "iterations": 2}],
    "reserve": 0.3,
}


def sweep(**changes: Any) -> Sweep:
    given: dict[str, Any] = {"victim": VICTIM, "game": "targeted", "defenses": [], "tuning": {}}
    given |= {"trusted": 0.3, "self_poisoning": OWN}
    given |= {"filters": [{"name": "spectral_signatures", "reject": 0.2}]}
    return tiny_sweep.sweep(**{**given, **changes})


def trusted() -> Images:
    return digits.load("train", size=8).take(torch.arange(300))


def cut(pairs: int = 6, budget: float = 0.02, images: Images | None = None) -> Ingredients:
    return ingredients(
        trusted() if images is None else images,
        1000,
        lambda *stages: Generator().manual_seed(sum(map(len, map(str, stages)))),
        pairs=pairs,
        budget=budget,
    )


def digests(images: Images) -> set[bytes]:
    return {x.numpy().tobytes() for x in images.x}


def test_what_is_perturbed_and_what_is_aimed_at_are_other_images() -> None:
    found = cut()
    assert found.m == 20 and len(found.held) == 150
    assert not digests(found.held) & digests(found.pool)
    assert int(torch.bincount(found.pool.y, minlength=10).min()) >= 20
    whole = digests(trusted())
    assert digests(found.held) <= whole and len(digests(found.pool) & whole) == 150
    assert cut(budget=1e-13).m == 1


def test_each_pair_wants_another_class_of_another_image() -> None:
    found, places = cut(pairs=40), set()
    for instance in found.instances:
        true, wanted, number = map(int, instance.split("-"))
        assert true != wanted
        places.add(int((found.held.y == true).nonzero()[number]))
    assert len(places) == 40


def test_too_few_images_are_refused() -> None:
    lone = trusted().take(trusted().y == 4)
    for given in ({"pairs": 150}, {"images": lone}):
        with pytest.raises(SpecError, match="Give more trusted images, or lower pairs") as told:
            cut(**given)
        assert len(str(told.value).splitlines()) == 1


# In a sweep.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("brewed")


@pytest.fixture(scope="module")
def records(folder: Path) -> dict[str, Record]:
    """By id, the trials of each recipe, of a filter, and all that they build on."""
    runtime, found = TrialRuntime(Artifacts(folder)), dict[str, Record]()
    for trial in [t for part in targeted.own_brews(sweep()) for t in part]:
        for one in [*dependencies(trial), trial]:
            if one.id not in found:
                found[one.id] = run(one, runtime)
                assert found[one.id].status == "done", found[one.id].error
    return found


def test_each_recipe_and_filter_is_brewed_against(records: dict[str, Record]) -> None:
    plain, filtered = targeted.own_brews(sweep())
    assert (len(plain), len(filtered)) == (2, 2)
    for trial in (*plain, *filtered):
        found = records[trial.id].metrics
        assert found["n_targeted"] == 3 and found["own_m"] == 3 * 31
        assert {"success", "success_control", "cda", "cda_control", "wanted"} <= set(found)
        assert not [name for name in found if name.startswith("asr")]
    assert all(records[t.id].metrics["own_removed"] == 0 for t in plain)
    needs = {t.id for t in dependencies(filtered[0])}
    assert plain[0].id in needs


def test_the_filter_takes_its_share_of_all_rows_the_defenders_among_them(folder: Path) -> None:
    (_, (trial, _)) = targeted.own_brews(sweep())
    ctx = self_brew_context(trial, TrialRuntime(Artifacts(folder)))
    own = _brewed(trial, folder)
    kept = ctx.kept(own)
    assert len(kept) == ctx.n + len(own.rows)
    assert int((~kept).sum()) == round(0.2 * len(kept))


def test_the_filter_is_not_shown_the_images_that_are_aimed_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (_, (trial, _)) = targeted.own_brews(sweep())
    ctx, own = self_brew_context(trial, TrialRuntime(Artifacts(folder))), _brewed(trial, folder)
    seen = list[DataView]()
    find = catalog.find

    def noting(kind: str, name: str) -> Any:
        method = find(kind, name)
        if kind != "filters":
            return method

        def score(view: DataView, rng: Generator, **given: Any) -> Any:
            seen.append(view)
            return method(view, rng, **given)

        return score

    monkeypatch.setattr(catalog, "find", noting)
    ctx.kept(own)
    (view,) = seen
    aimed = {bytes(own.held.x[goal.places[0]].flatten().tolist()) for goal in own.goals}
    assert len(aimed) == 3 and not aimed & digests(view.trusted)
    assert len(view.trusted) == len(own.held) - 3


def _brewed(trial: Trial, folder: Path) -> Any:
    from trials.self_poisoning.own_brew import brewed  # noqa: PLC0415

    ctx = self_brew_context(trial, TrialRuntime(Artifacts(folder)))
    given = ingredients(ctx.trusted, ctx.n, ctx.rng, pairs=3, budget=0.03)
    settings = {k: v for k, v in trial.game.params.items() if k not in ("pairs", "budget")}
    return brewed(given, ctx.view(given), settings)


def test_what_is_brewed_is_made_once_for_all_recipes_and_filters(
    records: dict[str, Record], folder: Path
) -> None:
    facts = [Artifacts(folder).load(p.name)[1] for p in folder.iterdir() if p.is_dir()]
    kept = [f["kept"].partition(":")[0] for f in facts if "kept" in f]
    # of the attacker's a surrogate and a poison, of the defender's a surrogate and three of these
    assert (kept.count("surrogate"), kept.count("poison")) == (2, 4)
    first, second = targeted.own_brews(sweep())[0]
    one, two = (_brewed(trial, folder) for trial in (first, second))
    assert torch.equal(one.rows.x, two.rows.x)
    by = one.rows.x.int().flatten(1)
    assert len(by) == 3 * 31


def test_the_defenders_rows_have_right_labels_and_small_changes(folder: Path) -> None:
    trial = targeted.own_brews(sweep())[0][0]
    ctx, own = self_brew_context(trial, TrialRuntime(Artifacts(folder))), _brewed(trial, folder)
    given = ingredients(ctx.trusted, ctx.n, ctx.rng, pairs=3, budget=0.03)
    for x, y in zip(own.rows.x, own.rows.y, strict=True):
        same = given.pool.x[given.pool.y == y]
        assert int((same.int() - x.int()).abs().flatten(1).amax(1).min()) <= 32


def test_the_stages(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        found = [(s.label, s.size) for stage in stages(sweep(), store) for s in stage]
    assert found[-3:] == [
        ("brewed against oneself", 2),
        ("brewed against oneself, filtered", 2),
        ("targeted images", 4),
    ]
    none = sweep(self_poisoning={})
    assert targeted.own_brews(none) == ([], [])
    assert len(filtering.filtered(none, none.filters[0])) == 2


def test_nothing_is_trained_before_the_sweep_begins(tmp_path: Path) -> None:
    config = tiny_sweep.worker_config(tmp_path / "artifacts")
    preflight.check(sweep(), config)
    assert not list((tmp_path / "artifacts").rglob("facts.json"))
    with pytest.raises(SpecError, match="self_poisoning: pairs = 900 needs as many trusted"):
        preflight.check(sweep(self_poisoning={**OWN, "pairs": 900}), config)


def test_what_cannot_be_brewed_is_refused() -> None:
    with pytest.raises(SpecError, match="self_poisoning needs trusted images that no training"):
        sweep(victim={**VICTIM, "reserve": 0.0})
    with pytest.raises(SpecError, match='reject = "recall" is set by poison with triggers'):
        sweep(filters=[{"name": "spectral_signatures", "reject": "recall"}])
    with pytest.raises(SpecError, match="unknown setting of self_brew 'attacks'"):
        sweep(self_poisoning={"attacks": 4})


def test_every_setting_makes_another_trial() -> None:
    ids = set()
    for changed in ({}, {"pairs": 4}, {"budget": 0.04}, {"epsilon": 8}, {"restarts": 2}):
        ids |= {t.id for t in targeted.own_brews(sweep(self_poisoning={**OWN, **changed}))[0]}
    assert len(ids) == 10
    one = targeted.own_brews(sweep())[0][0]
    assert replace(one, seed=1).id not in ids
