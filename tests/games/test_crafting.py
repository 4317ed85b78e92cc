"""A victim of an attack that crafts its poison: what is made is an artifact, made once."""

from dataclasses import replace
from typing import Any

import pytest
import tiny_sweep
import torch

from trials import catalog
from trials.dependencies import training_of
from trials.run import run
from trials.runtime import TrialRuntime
from trials.spec import MethodConfig, SpecError, Victim
from trials.storage.artifacts import Artifacts

NARCISSUS = {"name": "narcissus", "target": 4, "rounds": 2}


def victim(*before: dict[str, Any], **settings: Any) -> Victim:
    attacks = [[*before, {"m": 40, **NARCISSUS, **settings}]]
    (found,) = tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "attacks": attacks}).victims
    return found


def kept(artifacts: Artifacts) -> list[str]:
    return sorted(p.name for p in artifacts.root.iterdir() if (p / "facts.json").is_file())


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    """Those of one victim's training."""
    folder = Artifacts(tmp_path_factory.mktemp("crafted"))
    record = run(training_of(victim()), TrialRuntime(folder))
    assert record.status == "done", record.error
    assert record.metrics["m"] == 40 and 0 <= record.metrics["asr"] <= 1
    return folder


def test_surrogate_and_perturbation_lie_beside_the_victim(artifacts: Artifacts) -> None:
    own = training_of(victim()).id
    assert own in kept(artifacts) and len(kept(artifacts)) == 3
    said = [artifacts.load(key)[1].get("kept", "") for key in kept(artifacts)]
    assert sorted(name.partition(":")[0] for name in said) == ["", "perturbation", "surrogate"]


def test_another_process_reads_what_was_made(artifacts: Artifacts) -> None:
    before, one = kept(artifacts), TrialRuntime(artifacts).poisoning(victim())
    two = TrialRuntime(artifacts).poisoning(victim(m=20, boost=2))
    assert kept(artifacts) == before
    assert set(two.places.tolist()) < set(one.places.tolist())
    assert torch.equal(two.train.x[two.places], one.train.x[two.places])


def test_what_decides_it_is_made_anew(artifacts: Artifacts) -> None:
    plain = victim()
    others = [
        victim({"name": "badnets", "m": 30, "target": 1}),
        replace(plain, seed=1),
        replace(plain, reserve=0.25),
        replace(plain, model=catalog.resolve("models", MethodConfig("small_cnn", {"width": 4}))),
    ]
    for other in others:
        before = len(kept(artifacts))
        TrialRuntime(artifacts).poisoning(other)
        assert len(kept(artifacts)) == before + 2


def test_the_surrogate_sees_what_earlier_attacks_left(artifacts: Artifacts) -> None:
    both = TrialRuntime(artifacts).poisoning(victim({"name": "badnets", "m": 30, "target": 1}))
    first, second = (set(i.places.tolist()) for i in both.implants)
    assert (len(first), len(second)) == (30, 40) and not first & second


def test_copies_cannot_be_given_such_an_attack() -> None:
    with pytest.raises(SpecError, match="narcissus crafts its trigger") as told:
        tiny_sweep.sweep(self_poisoning={**tiny_sweep.SELF_POISONING, "attack": "narcissus"})
    assert len(str(told.value).splitlines()) == 1
