"""Settings that a method was given later leave the ids of what was stored before alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from results.selection.forecast import scheme_of
from trials import catalog
from trials.dependencies import copy_of, own_rows_of
from trials.later import LATER
from trials.spec import Filtering, MethodConfig, Scalar, Trial, Victim, content_id

BEFORE = {  # of the defaults, when these defenses had no such setting
    "d3": "ba953f619a1f60ea",
    "fine_pruning": "654bc5445def7447",
    "fine_tuning": "95fd7efa5f9443ba",
    "fst": "1f0b5f0abbfabaaf",
    "ft_sam": "b5fa2f6e0e78c2d0",
    "nad": "58e12e3d613dc7b7",
    "neural_cleanse": "a3349fc14f49a866",
    "overlay_soup": "d8a791995680de3a",
    "pivotal_tuning": "d2f7b0792a658f41",
    "weight_decay": "5268ac92fa6b723f",
}


@pytest.mark.parametrize("name", sorted(BEFORE))
def test_the_id_is_what_it_was(name: str) -> None:
    assert content_id(catalog.resolve("defenses", MethodConfig(name)).identity()) == BEFORE[name]


@pytest.mark.parametrize("name", sorted(BEFORE))
def test_the_default_is_what_was_done_before(name: str) -> None:
    settings = catalog.describe("defenses", name).settings
    later = {key: settings[key].default for key in LATER[name] if key in settings}
    assert {"precision"} <= set(later)
    assert {"schedule", "clip", "distill"} <= set(later) or len(later) == 1
    assert later == {key: LATER[name][key] for key in later}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schedule", "cosine"),
        ("clip", 1.0),
        ("distill", 0.5),
        ("pam", 0.5),
        ("precision", "bf16"),
    ],
)
def test_another_value_is_another_id(key: str, value: float | str) -> None:
    turned = catalog.resolve("defenses", MethodConfig("fine_tuning", {key: value}))
    assert content_id(turned.identity()) != BEFORE["fine_tuning"]


def test_a_method_that_had_the_setting_from_its_beginning_keeps_it_in_its_id() -> None:
    assert MethodConfig("fst", {"clip": 0.0}).identity()["params"] == {"clip": 0.0}


MODELS_BEFORE = {"small_cnn": "f87cedb2e4607f14", "resnet18": "b02b0a7196674ebf"}


@pytest.mark.parametrize("name", sorted(MODELS_BEFORE))
def test_the_id_of_a_model_with_batch_normalisation_is_what_it_was(name: str) -> None:
    plain = catalog.resolve("models", MethodConfig(name, {"groups": 0}))
    assert content_id(plain.identity()) == MODELS_BEFORE[name]
    grouped = catalog.resolve("models", MethodConfig(name, {"groups": 4}))
    assert content_id(grouped.identity()) != MODELS_BEFORE[name]


def test_the_id_of_a_training_that_augments_is_what_it_was() -> None:
    plain, same, still = (
        catalog.resolve("recipes", MethodConfig("fast", given))
        for given in ({}, {"augment": True}, {"augment": False})
    )
    assert content_id(plain.identity()) == content_id(same.identity()) == "e18e4e077950babc"
    assert content_id(still.identity()) != content_id(plain.identity())


DATASETS_BEFORE = {"image_folder": "73419c24b38544ec", "image_table": "8c1a1c8611928963"}


@pytest.mark.parametrize("name", sorted(DATASETS_BEFORE))
def test_the_id_of_images_without_a_map_is_what_it_was(name: str) -> None:
    had = {k: v for k, v in LATER[name].items() if k not in ("classes", "outputs")}
    before = catalog.resolve("datasets", MethodConfig(name, had))
    assert content_id(before.identity()) == DATASETS_BEFORE[name]
    mapped = catalog.resolve("datasets", MethodConfig(name, {**had, "classes": "imagenet"}))
    assert content_id(mapped.identity()) != DATASETS_BEFORE[name]


def test_the_id_of_an_attack_against_a_surrogate_as_the_victim_is_what_it_was() -> None:
    plain = catalog.resolve("attacks", MethodConfig("witches_brew", {"arch": ""}))
    assert content_id(plain.identity()) == "0d52dc56f5060af5"
    other = catalog.resolve("attacks", MethodConfig("witches_brew", {"arch": "small_cnn"}))
    assert content_id(other.identity()) != content_id(plain.identity())


# of digits, small_cnn, badnets and fast at their defaults, before copies had schemes and the cost
# was measured on the given model
GAMES_BEFORE = {
    "self_poison": "8a5415112b812f70",
    "tuning": "7afd8f5519e37397",
    "confirmation": "e9c158b0b7223611",
}
PLAYED_BEFORE: dict[str, dict[str, str | float]] = {
    "tuning": {"cost": "copies", "reconstruct": False},
    "confirmation": {"cost": "copies", "probe": False, "reconstruct": False},
    "self_poison": {"scheme": "labels", "folds": 0},
}


def trial_of(
    game: str, /, scheme_of_copies: str | float = "labels", **settings: str | float
) -> Trial:
    victim = Victim(
        dataset=MethodConfig("digits"),
        model=MethodConfig("small_cnn"),
        attacks=(MethodConfig("badnets"),),
        training=MethodConfig("fast"),
        seed=0,
    )
    on_copies = game != "self_poison"
    planted: dict[str, Scalar] = {"folds": 0}
    planted |= {"scheme": scheme_of_copies} if scheme_of_copies else {}
    return catalog.resolve_trial(
        Trial(
            game=MethodConfig(game, settings),
            victim=victim,
            method=MethodConfig("none") if on_copies else None,
            trusted=0.25,
            seed=0,
            self_poisoning=MethodConfig("self_poison", planted) if on_copies else None,
        )
    )


@pytest.mark.parametrize("game", sorted(GAMES_BEFORE))
def test_the_id_of_a_trial_played_as_before_is_what_it_was(game: str) -> None:
    assert trial_of(game, **PLAYED_BEFORE.get(game, {})).id == GAMES_BEFORE[game]


@pytest.mark.parametrize(
    ("game", "key", "value"),
    [
        ("self_poison", "scheme", "late"),
        ("self_poison", "attack", "mixed"),
        ("self_poison", "optimizer", "adam"),
        ("self_poison", "hope", 1.0),
        ("self_poison", "folds", 4),
        ("tuning", "cost", "given"),
        ("tuning", "reconstruct", True),
        ("tuning", "mirrored", False),
        ("confirmation", "cost", "given"),
    ],
)
def test_a_trial_played_otherwise_has_another_id(game: str, key: str, value: str) -> None:
    # a cost of the copies' goes without what the given model alone is measured by
    cost = {"cost": "given"} if key in {"reconstruct", "mirrored"} else {}
    before = {**PLAYED_BEFORE[game], **cost}
    assert trial_of(game, **{**before, key: value}).id != trial_of(game, **before).id


def test_settings_given_later_are_left_out_of_the_id_where_they_change_nothing() -> None:
    plain = {**PLAYED_BEFORE["self_poison"], "hope": 0.5}
    assert trial_of("self_poison", **plain).id == GAMES_BEFORE["self_poison"]
    unmirrored = {**PLAYED_BEFORE["tuning"], "mirrored": False}
    assert trial_of("tuning", **unmirrored).id == GAMES_BEFORE["tuning"]


def test_a_sweep_of_today_measures_costs_on_three_cuts_and_mirror_images() -> None:
    tuning, copies = trial_of("tuning").game.params, trial_of("self_poison").game.params
    assert (tuning["cost"], tuning["mirrored"], copies["folds"]) == ("given", True, 4)
    assert trial_of("tuning", cost="copies").game.params["mirrored"] is False


@pytest.mark.parametrize(
    "scheme", ["sam", "sbl", "distilled", "hardened", "shrink", "late", "reborn"]
)
def test_a_schemes_settings_written_out_are_its_defaults(scheme: str) -> None:
    plain = trial_of("self_poison", scheme=scheme)
    written = {k: plain.game.params[k] for k in ("lr", "steps", "batch")}
    assert trial_of("self_poison", scheme=scheme, **written).id == plain.id


def test_a_copy_by_default_is_none_of_those_stored_before_there_were_schemes() -> None:
    """They say no scheme and were poisoned by labels; what is made now says its scheme."""
    plain = trial_of("self_poison")
    assert plain.id == trial_of("self_poison", scheme="late").id != GAMES_BEFORE["self_poison"]
    assert plain.game.identity()["params"]["scheme"] == scheme_of(plain.game.params) == "late"
    for game in ("tuning", "confirmation"):
        on_labels = trial_of(game, **PLAYED_BEFORE[game])
        by_default = trial_of(game, "", **PLAYED_BEFORE[game])
        assert on_labels.id == GAMES_BEFORE[game] != by_default.id
        assert by_default.id == trial_of(game, "late", **PLAYED_BEFORE[game]).id
        assert by_default.self_poisoning
        assert scheme_of(by_default.self_poisoning.params) == "late"


def test_a_copy_stored_before_there_were_schemes_is_found_and_played_by_labels() -> None:
    now = trial_of("tuning", **PLAYED_BEFORE["tuning"])
    assert now.self_poisoning is not None
    params = {k: v for k, v in now.self_poisoning.params.items() if k not in LATER["self_poison"]}
    stored = replace(now, self_poisoning=replace(now.self_poisoning, params=params))
    assert stored.id == now.id and scheme_of(params) == "labels"
    assert copy_of(stored, 0).id == GAMES_BEFORE["self_poison"]
    before = trial_of("self_poison", **PLAYED_BEFORE["self_poison"])
    assert copy_of(stored, 0).game.params == before.game.params


@pytest.mark.parametrize("game", [g for g in catalog.names("games") if g in LATER])
def test_a_game_is_played_with_what_a_stored_trial_lacks(game: str) -> None:
    """``as_stored`` fills in nothing that the game does not have."""
    assert set(LATER[game]) <= set(catalog.describe("games", game).settings)


def test_a_training_that_starts_from_a_checkpoint_has_another_id(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"1")
    later = MethodConfig("fast", {"start": str(tmp_path / "w.safetensors")})
    before, started = (
        catalog.resolve("recipes", config).identity() for config in (MethodConfig("fast"), later)
    )
    assert before != started and "start" not in before["params"]


def test_what_a_stored_filter_builds_on_is_what_it_was() -> None:
    """Of a victim that was stored before the defender's rows could be drawn again."""
    own = catalog.resolve("games", MethodConfig("self_poison_data", {"redraws": 0}))
    before = replace(own, params={k: v for k, v in own.params.items() if k != "redraws"})
    filtering = Filtering(
        method=MethodConfig("strip"), reject=0.1, trusted=0.1, seed=0, self_poisoning=own
    )
    victim = replace(trial_of("tuning").victim, filter=filtering)
    stored = replace(victim, filter=replace(filtering, self_poisoning=before))
    assert stored.id == victim.id
    assert own_rows_of(stored).id == own_rows_of(victim).id
    assert own_rows_of(stored).game.params["redraws"] == 0


def test_a_filtering_game_had_no_settings() -> None:
    resolved = catalog.resolve("games", MethodConfig("filtering"))
    assert resolved.identity() == {"name": "filtering", "params": {}}
    assert set(LATER["filtering"]) == set(catalog.describe("games", "filtering").settings)
    turned = catalog.resolve("games", MethodConfig("filtering", {"quota": "within"}))
    assert turned.identity()["params"] == {"quota": "within"}


@pytest.mark.parametrize("name", ["cifar10", "digits"])
def test_the_id_of_balanced_classes_is_what_it_was(name: str) -> None:
    plain = MethodConfig(name, {"size": 16})
    balanced = MethodConfig(name, {"size": 16, "imbalance": 1.0})
    assert balanced.id == content_id({"name": name, "params": {"size": 16}}) == plain.id
    assert replace(balanced, params={**balanced.params, "imbalance": 0.1}).id != plain.id
