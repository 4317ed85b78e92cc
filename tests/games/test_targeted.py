"""Attacks without a trigger on real victims: one poison for all seeds, one control each, no ASR."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_sweep
import torch
from torch import Generator, nn

from results.store import Store
from sweep.execution import preflight, runner
from sweep.planning import filtering, targeted
from sweep.planning.stages import stages
from sweep.spec.sweep_file import Sweep
from trials import architecture, catalog
from trials.datasets import digits
from trials.dependencies import control_of, dependencies, targeted_of, training_of
from trials.games.targeted import play
from trials.metrics import accuracy
from trials.models import small_cnn
from trials.run import run
from trials.runtime import TrialRuntime
from trials.spec import Record, SpecError, Victim
from trials.storage.artifacts import Artifacts
from trials.trial_run import Steps
from trials.types import Implant, InstanceGoal, Poisoning

BREW: dict[str, Any] = {
    "name": "witches_brew",
    "instance": "3-8-4",
    "budget": 0.08,
    "epsilon": 32,
    "restarts": 1,
    "iterations": 6,
}
VICTIM: dict[str, Any] = {
    **tiny_sweep.VICTIM,
    "dataset": {"name": "digits", "size": 8},
    "training": {"name": "fast", "epochs": 2, "batch": 64, "peak": 0.2},
}


def sweep(*attacks: dict[str, Any], **changes: Any) -> Sweep:
    given = {
        **VICTIM,
        "attacks": [{**BREW, **a} for a in attacks or ({},)],
        "seeds": [0, 1],
    }
    rest: dict[str, Any] = {"game": "targeted", "defenses": [], "tuning": {}, "self_poisoning": {}}
    return tiny_sweep.sweep(**{"victim": given, **rest, **changes})


def played(victim: Victim, folder: Path) -> dict[str, Record]:
    """By the game and whether it is the control's: the trial and all that it needs."""
    runtime, trial = TrialRuntime(Artifacts(folder)), targeted_of(victim)
    found = {}
    for one in [*dependencies(trial), trial]:
        record = run(one, runtime)
        assert record.status == "done", record.error
        found[one.game.name + ("" if one.victim.attacks else " of the control")] = record
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("brewed")


@pytest.fixture(scope="module")
def records(folder: Path) -> dict[str, Record]:
    return played(sweep().victims[0], folder)


def learnt(poisoning: Poisoning) -> nn.Module:
    torch.manual_seed(0)
    model = small_cnn.build(10, 8).to(memory_format=torch.channels_last)
    rng, settings = Generator().manual_seed(0), {"epochs": 8, "batch": 64, "peak": 0.2}
    for _ in catalog.find("recipes", "fast")(model, poisoning, rng, **settings):
        pass
    return model


def test_the_victim_gives_the_class_wanted_and_its_control_does_not() -> None:
    train, test = (digits.load(split, size=8) for split in ("train", "test"))
    three, eights = int((test.y == 3).nonzero()[4]), (train.y == 8).nonzero().flatten()[:80]
    x = train.x.clone()
    x[eights] = test.x[three]  # the image itself, eighty times with the label 8
    goal = InstanceGoal(torch.tensor([three]), torch.tensor([8]))
    poisoning = Poisoning(replace(train, x=x), (Implant(eights, goal, name="copies"),))
    victim, control = learnt(poisoning), learnt(Poisoning(train))
    ctx: Any = SimpleNamespace(
        poisoning=lambda: poisoning,
        test=lambda: test,
        trained=lambda: victim,
        control=lambda: control,
    )
    game = Steps[Mapping[str, float]](play(ctx))
    assert not list(game)
    found = game.result
    assert (found["success"], found["success_control"]) == (1.0, 0.0)
    assert (found["kept"], found["kept_control"]) == (0.0, 1.0)
    assert found["wanted"] > 0.5 > found["wanted_control"]
    assert found["cda"] == accuracy(victim, test) and found["cda_control"] > 0.9
    assert (found["n_targeted"], found["m"], found["n_clean"]) == (1.0, 80.0, len(test))


def test_the_game_measures_victims_and_controls_as_they_were_trained(
    records: dict[str, Record],
) -> None:
    found = records["targeted"].metrics
    assert found["cda"] == records["training"].metrics["cda"]
    assert found["cda_control"] == records["training of the control"].metrics["cda"]
    assert (found["n_targeted"], found["m"]) == (1.0, 116.0)


def test_no_record_has_an_asr(records: dict[str, Record]) -> None:
    for record in records.values():
        assert not [name for name in record.metrics if name.startswith("asr")]
        assert not record.curve


def test_poison_is_made_once_for_victims_of_all_seeds(
    records: dict[str, Record], folder: Path
) -> None:
    def kept() -> list[str]:
        names = [p.name for p in folder.iterdir() if (p / "facts.json").is_file()]
        return [name for name in names if "kept" in Artifacts(folder).load(name)[1]]

    before = kept()
    assert len(before) == 2  # a surrogate and a restart
    one, two = (TrialRuntime(Artifacts(folder)).poisoning(v) for v in sweep().victims)
    assert torch.equal(one.train.x, two.train.x) and sorted(kept()) == sorted(before)


def test_with_epsilon_0_the_victim_is_the_control(records: dict[str, Record], folder: Path) -> None:
    (untouched, _) = sweep({"epsilon": 0}).victims
    found = played(untouched, folder)["targeted"].metrics
    assert found["success"] == found["success_control"] and found["m"] == 116.0
    assert found["wanted"] == found["wanted_control"] and found["cda"] == found["cda_control"]


def test_victims_of_every_architecture_meet_the_poison_of_the_one_that_is_named(
    records: dict[str, Record], folder: Path
) -> None:
    models, against = (
        ["small_cnn:width=8", "small_cnn:width=4"],
        {**BREW, "arch": "small_cnn:width=8"},
    )
    given = {**VICTIM, "model": models, "attacks": [against], "seeds": [0]}
    same, other = (of := sweep(victim=given)).victims
    runtime, before = TrialRuntime(Artifacts(folder)), set(folder.iterdir())
    known = runtime.poisoning(sweep().victims[0]).train.x  # made by the fixture
    assert torch.equal(runtime.poisoning(same).train.x, known)
    assert torch.equal(runtime.poisoning(other).train.x, known) and set(folder.iterdir()) == before
    first, rest = targeted.first_and_rest(of)
    assert ([t.victim for t in first], [t.victim for t in rest]) == ([same], [other])
    own = replace(other, attacks=sweep().victims[0].attacks)
    assert not torch.equal(runtime.poisoning(own).train.x, known)  # against its own architecture


def test_a_surrogate_that_is_no_model_or_does_not_take_the_images_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SpecError, match="arch = 'nonet' is no surrogate: unknown model 'nonet'"):
        sweep({"arch": "nonet"})
    config = tiny_sweep.worker_config(tmp_path / "artifacts")
    with pytest.raises(SpecError, match="vgg11 does not take images of 8 x 8 pixels"):
        preflight.check(sweep({"arch": "torchvision:vgg11"}), config)
    monkeypatch.delenv(architecture.ALLOWED, raising=False)
    with pytest.raises(SpecError, match="is code that would be run"):
        architecture.must_be_allowed(sweep({"arch": "my_networks:network"}).victims)


def test_keys_are_repetitions_and_no_change_of_an_ablation() -> None:
    many = {**BREW, "key": [0, 1], "epsilon": [32, 16], "restarts": [1, 2], "instance": ""}
    found = sweep(victim={**VICTIM, "attacks": [many], "seeds": [0], "strategy": "one_at_a_time"})
    params = [v.attacks[0].params for v in found.victims]
    changes = {(32, 1), (16, 1), (32, 2)}
    assert {(p["key"], p["epsilon"], p["restarts"]) for p in params} == {
        (key, *change) for key in (0, 1) for change in changes
    }


FILTERS = ("activation_clustering", "deep_knn", "spectral_signatures")


def with_filters(*names: str) -> Sweep:
    return sweep(filters=[{"name": name, "reject": 0.2} for name in names])


@pytest.mark.parametrize("name", FILTERS)
def test_a_victim_is_trained_on_what_a_filter_keeps_beside_the_same_control(
    name: str, records: dict[str, Record], folder: Path
) -> None:
    (first, *_) = filtering.filtered(with_filters(name), with_filters(name).filters[0])
    found = played(first, folder)
    told, judged = found["targeted"].metrics, found["filtering"].metrics
    assert judged["removed"] == pytest.approx(0.2, abs=0.001)
    assert told["m"] == round(116 * (1 - judged["removed_poisoned"])) and told["m"] <= 116
    everything = records["training"].metrics["n_train"]
    assert found["training"].metrics["n_train"] == everything - round(
        judged["removed"] * judged["rows"]
    )
    controls = {name: v for name, v in told.items() if name.endswith("_control")}
    assert controls and controls.items() <= records["targeted"].metrics.items()


def test_filters_come_between_the_victims_and_what_they_are_misled_to(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        found = [
            [(s.label, s.size) for s in stage] for stage in stages(with_filters(*FILTERS), store)
        ]
    assert found[2:] == [
        [("filters", 6)],
        [("filters, other settings", 0)],
        [("victims, trained on what is kept", 6)],
        [("targeted images", 8)],
    ]


def test_with_filters_too_nothing_is_trained_before_the_sweep_begins(tmp_path: Path) -> None:
    preflight.check(with_filters(*FILTERS), tiny_sweep.worker_config(tmp_path / "artifacts"))
    assert not list((tmp_path / "artifacts").rglob("facts.json"))


def test_one_control_serves_the_poison_of_all_keys_and_budgets() -> None:
    of = sweep({}, {"instance": "1-2-3"}, {"budget": 0.02})
    assert len(of.victims) == 6 and len(targeted.controls(of)) == 2
    first, rest = targeted.first_and_rest(of)
    assert [t.victim.seed for t in first] == [0, 0, 0]
    assert [t.victim.seed for t in rest] == [1, 1, 1]
    assert len(targeted.measured(of)) == 6
    needs = {t.id for t in dependencies(targeted_of(of.victims[0]))}
    assert needs == {training_of(v).id for v in (of.victims[0], control_of(of.victims[0]))}


def test_the_stages_come_in_the_order_in_which_they_build_on_one_another(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        found = [[(s.label, s.size) for s in stage] for stage in stages(sweep(), store)]
    assert found == [
        [("controls", 2), ("victims", 1)],
        [("victims of poison that is there", 1)],
        [("targeted images", 2)],
    ]


def test_nothing_is_trained_before_the_sweep_begins(tmp_path: Path) -> None:
    config = tiny_sweep.worker_config(tmp_path / "artifacts")
    preflight.check(sweep(), config)
    assert not list((tmp_path / "artifacts").rglob("facts.json"))
    with pytest.raises(SpecError, match=r"budget = 0\.9 is 1298 images, but class 8 has"):
        preflight.check(sweep({"budget": 0.9}), config)


def test_other_attacks_and_other_games_are_refused() -> None:
    for attacks in (["badnets"], ["none", BREW], [["badnets", BREW]]):
        with pytest.raises(SpecError, match="takes attacks without a trigger .*witches_brew"):
            sweep(victim={**tiny_sweep.VICTIM, "attacks": attacks})
    for game in ("tuning", "robustness", "training"):
        with pytest.raises(SpecError, match='has no trigger, so no ASR: write game = "targeted"'):
            sweep(game=game, defenses=tiny_sweep.DEFENSES)


@pytest.mark.slow
def test_a_whole_sweep_ends_with_its_measurements(tmp_path: Path) -> None:
    of = sweep(compute={"device": "cpu", "workers": 1})
    with Store.open(f"sqlite:///{tmp_path}/s.db") as store:
        runner.execute(of, store, tiny_sweep.worker_config(tmp_path / "artifacts"), use_ray=False)
        done = store.records(of.name)
    assert {r.status for r in done} == {"done"}
    games = [r.trial.game.name for r in done]
    assert (games.count("training"), games.count("targeted")) == (4, 2)
