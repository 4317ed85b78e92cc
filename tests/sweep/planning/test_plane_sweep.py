"""A sweep of attacks x seeds: tuned once on a clean victim, judged and inspected on all."""

from dataclasses import replace
from typing import Any

import pytest
import tiny_sweep
from planned import ATTACKS, plane, record, whole

from results.comparison.tuned_detectors import tuned_detectors
from results.store import Store
from sweep.planning import expansion
from sweep.planning.detection import detections
from trials.spec import Record, SpecError, Trial

AIMED = {"name": "badnets", "target": 1}


def test_victims_are_attacks_by_seeds_with_targets_in_turn() -> None:
    victims = plane().victims
    assert len(victims) == 4 * 3
    assert [v.attacks[0].params["target"] for v in victims if v.attacks][:6] == [4, 7, 4, 4, 7, 4]
    assert sum(not v.attacks for v in victims) == 3


def test_an_attack_may_have_seeds_of_its_own() -> None:
    pool = [{"name": "none", "seeds": [0, 1, 2, 3, 4]}, {"name": "badnets", "m": 20}]
    victims = plane(victim={**tiny_sweep.VICTIM, "attacks": pool, "seeds": [7]}).victims
    assert [(bool(v.attacks), v.seed) for v in victims] == [
        *((False, s) for s in range(5)),
        (True, 7),
    ]


def test_tuning_happens_once_on_the_first_clean_victim() -> None:
    (task,) = expansion.tasks(plane())
    assert not task.victim.attacks and task.victim.seed == 0
    two_models = {
        **tiny_sweep.VICTIM,
        "attacks": ATTACKS,
        "model": {"name": "resnet18", "width": [4, 8]},
    }
    assert len(expansion.tasks(plane(victim=two_models))) == 2
    assert len(expansion.tasks(plane(tune_on="each"))) == 12


def test_one_at_a_time_changes_one_thing() -> None:
    attacks = [{"name": "badnets", "m": [20, 60]}]
    one = {
        **tiny_sweep.VICTIM,
        "attacks": attacks,
        "model": {"name": "resnet18", "width": [4, 8]},
        "strategy": "one_at_a_time",
    }
    sweep = tiny_sweep.sweep(
        victim=one, trusted=[0.3, 0.4, 0.5], self_poisoning=[{}, {"attack": "a_blend"}]
    )
    seen = expansion.tasks(sweep)
    first = seen[0]
    for task in seen:
        assert (task.victim != first.victim) + (task.trusted != first.trusted) + (
            task.self_poisoning != first.self_poisoning
        ) <= 1
    # the first; another width or m; another r; another planted attack
    assert len(seen) == 1 + 2 + 2 + 1
    whole = tiny_sweep.sweep(
        victim={**one, "strategy": "grid"},
        trusted=[0.3, 0.4, 0.5],
        self_poisoning=list(sweep.self_poisoning),
    )
    assert len(expansion.tasks(whole)) == 4 * 3 * 2


def test_models_may_be_a_list_of_different_ones() -> None:
    both = [{"name": "resnet18", "width": [4, 8]}, {"name": "torchvision_resnet18"}]
    victims = tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "model": both}).victims
    assert [(v.model.name, v.model.params.get("width")) for v in victims] == [
        ("resnet18", 4),
        ("resnet18", 8),
        ("torchvision_resnet18", None),
    ]
    with pytest.raises(SpecError, match="model is an empty list"):
        tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "model": []})


def test_the_releases_pipeline_needs_the_models_own_normalisation() -> None:
    released = [{"name": "badnets", "m": 20, "pipeline": "release", "norm": "half"}]
    with pytest.raises(
        SpecError, match=r"norm is 'half', but the model normalises as 'cifar10'.*Write norm"
    ):
        tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "attacks": released})


def test_winners_meet_every_attack_and_detectors_every_model(store: Store) -> None:
    sweep = plane()
    ran = whole(sweep, store)
    by_game: dict[str, list[Trial]] = {}
    for trial in ran:
        by_game.setdefault(trial.game.name, []).append(trial)
    assert {t.victim.id for t in by_game["tuning"]} == {expansion.tasks(sweep)[0].victim.id}
    assert len(by_game["robustness"]) == 2 * 9  # winners of two defenses x attacked victims
    assert all(t.game.params["stop_at"] == 4 for t in by_game["robustness"])
    alone = [
        t for t in by_game["detectability"] if t.detector and t.detector.name == "neural_cleanse"
    ]
    comparing = [
        t
        for t in by_game["detectability"]
        if t.detector and t.detector.name == "calibrated_inversion"
    ]
    assert len(alone) == len(comparing) == 12 and len(ran) == len({t.id for t in ran})
    assert all(t.method is None for t in alone)
    assert {t.method.name for t in comparing if t.method} == {"weight_decay"}
    assert all(t.game.params["stop_at"] == 4 for t in comparing)
    assert not whole(sweep, store)


def test_without_named_repairs_a_comparing_detector_gets_every_defense_but_controls(
    store: Store,
) -> None:
    sweep = plane(detectors=[{"name": "calibrated_inversion", "profile": "small"}])
    methods = {t.method.name for t in whole(sweep, store) if t.detector and t.method}
    assert methods == {"weight_decay"}  # fine_tuning is a control


def test_a_winner_that_does_nothing_repairs_nothing(store: Store) -> None:
    def answer(trial: Trial) -> Record:
        return record(trial, asr=1.0, cda=0.5)

    ran = whole(plane(), store, answer)
    compared = [t for t in ran if t.detector and t.detector.name == "calibrated_inversion"]
    assert len(compared) == 12 and all(t.method is None for t in compared)


def test_one_at_a_time_over_victims_changes_one_setting_at_a_time() -> None:
    victim = {
        **tiny_sweep.VICTIM,
        "strategy": "one_at_a_time",
        "training": {"name": "fast", "epochs": [4, 8], "batch": [64, 32]},
        "attacks": [{"name": "badnets", "m": [60, 20, 100], "target": [0, 3]}],
        "seeds": [0, 1],
    }
    found = tiny_sweep.sweep(victim=victim).victims
    assert len(found) == (1 + 1 + 1 + 2 + 1) * 2
    base = found[0]
    for v in found:
        mine = {**v.training.params, **v.attacks[0].params}
        first = {**base.training.params, **base.attacks[0].params}
        assert sum(mine[k] != first[k] for k in first) <= 1
    assert len(tiny_sweep.sweep(victim={**victim, "strategy": "grid"}).victims) == 2 * 2 * 3 * 2 * 2


def test_several_ways_of_self_poisoning_are_tuned_apart_and_judged_on_the_same_attacks(
    store: Store,
) -> None:
    poisonings = [tiny_sweep.SELF_POISONING, {**tiny_sweep.SELF_POISONING, "attack": "c_badnets"}]
    ran = whole(plane(self_poisoning=poisonings, judge_all=True, detectors=[]), store)
    attacks = {
        str(t.self_poisoning.params["attack"])
        for t in ran
        if t.self_poisoning and t.game.name == "tuning"
    }
    assert attacks == {"badnets", "c_badnets"}
    judged = [t for t in ran if t.game.name == "robustness"]
    whole_curves = [t for t in judged if t.game.params["stop_at"] == 0]
    # attacked victims x configurations, once for both self-poisonings
    assert len(whole_curves) == 9 * 4
    assert len(judged) == len({t.id for t in judged})


def test_victims_alone_need_no_defense(store: Store) -> None:
    data = tiny_sweep.table(game="training", defenses=[])
    sweep = tiny_sweep.sweep(**{k: data[k] for k in ("game", "defenses")})
    assert {t.game.name for t in whole(sweep, store)} == {"training"}


def test_the_points_of_a_detector_are_distinct_and_its_paper_point_first() -> None:
    detector = plane(
        detectors=[{"name": "neural_cleanse", "profile": "small", "limit": 5}]
    ).detectors[0]
    points = detections(detector)
    assert len(points) == len({str(p) for p in points}) == 5
    assert points[0] == detections(plane().detectors[0])[0]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tune_on": "cleen"}, "Did you mean 'clean'"),
    ({"victim": tiny_sweep.VICTIM}, "needs a clean victim"),
    ({"detectors": [{"name": "neural_clense"}]}, "Did you mean 'neural_cleanse'"),
    ({"detectors": [{"name": "neural_cleanse", "limit": 0}]}, "at least 1"),
    ({"detectors": [{"name": "neural_cleanse", "fixed": {"lr": "fast"}}]}, "lr"),
    (
        {"detectors": [{"name": "neural_cleanse", "repairs": ["nad"]}]},
        "unknown defense in repairs 'nad'",
    ),
    ({"detectors": ["neural_cleanse"]}, "must be a table"),
    ({"game": "robustness"}, 'game = "tuning"'),
    (
        {"victim": {**tiny_sweep.VICTIM, "attacks": ATTACKS, "strategy": "stair"}},
        "Known: grid, one_at_a_time",
    ),
    ({"victim": {**tiny_sweep.VICTIM, "attacks": ["none", AIMED], "targets": [2]}}, "leave one"),
    ({"victim": {**tiny_sweep.VICTIM, "attacks": ATTACKS, "targets": []}}, "empty list"),
    ({"victim": {**tiny_sweep.VICTIM, "attacks": [{"name": "none", "seeds": ["1"]}]}}, "integers"),
    ({"self_poisoning": []}, "empty list"),
    ({"self_poisoning": ["badnets"]}, "must be a table"),
    ({"self_poisoning": [{"attack": "badnet"}]}, "Did you mean 'badnets'"),
]


@pytest.mark.parametrize(
    ("wrong", "says"), WRONG, ids=[f"{next(iter(w))}-{i}" for i, (w, _) in enumerate(WRONG)]
)
def test_a_wrong_plane_is_refused_in_one_line(wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says) as refused:
        plane(**wrong)
    assert "\n" not in str(refused.value)


def test_a_detector_with_several_settings_is_tuned_on_the_copies_and_its_best_is_used(
    store: Store,
) -> None:
    sweep = plane(detectors=[{"name": "calibrated_inversion", "profile": "small", "limit": 3}])
    good = detections(sweep.detectors[0])[2]

    def answer(trial: Trial) -> Record:
        told = record(trial)
        if trial.game.name != "detector_tuning":
            return told
        return replace(
            told,
            metrics={"auc": 0.9 if trial.detector == good else 0.6, "margin": 0.1, "copies": 1.0},
        )

    ran = whole(sweep, store, answer)
    tuning = [t for t in ran if t.game.name == "detector_tuning"]
    assert len(tuning) == 3 and all(
        t.self_poisoning and t.method and t.game.params["stop_at"] == 4 for t in tuning
    )
    assert {t.victim.id for t in tuning} == {expansion.tasks(sweep)[0].victim.id}
    used = [t for t in ran if t.game.name == "detectability"]
    assert len(used) == 12 and {str(t.detector) for t in used} == {str(good)}
    best = tuned_detectors(store.records("tiny"))[0]
    assert (best.detector, best.auc, best.n_seeds, best.failed) == (good, 0.9, 1, 0)


def test_an_ablation_of_a_detector_runs_all_its_settings_untuned(store: Store) -> None:
    detector = {"name": "neural_cleanse", "profile": "small", "limit": 3, "tune": False}
    ran = whole(plane(detectors=[detector]), store)
    assert "detector_tuning" not in {t.game.name for t in ran}
    assert len([t for t in ran if t.game.name == "detectability"]) == 3 * 12


def test_a_detector_none_of_whose_settings_finished_inspects_nothing(store: Store) -> None:
    def answer(trial: Trial) -> Record:
        return record(trial, status="failed" if trial.game.name == "detector_tuning" else "done")

    ran = whole(
        plane(detectors=[{"name": "neural_cleanse", "profile": "small", "limit": 3}]), store, answer
    )
    assert "detectability" not in {t.game.name for t in ran}
