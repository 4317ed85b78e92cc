"""Attacks on one victim that may poison the same images."""

from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
import torch
from attackers import view_of

from trials import catalog
from trials.datasets import digits
from trials.dependencies import training_of
from trials.json_forms import to_json, victim_from_json
from trials.poisoning import poisoned
from trials.run import run
from trials.runtime import TrialRuntime
from trials.spec import MethodConfig, SpecError, Victim
from trials.storage.artifacts import Artifacts
from trials.types import Images


def few(n: int = 200) -> Images:
    return digits.load("train", size=16).take(torch.arange(n))


def attack(name: str, **params: Any) -> MethodConfig:
    return catalog.resolve("attacks", MethodConfig(name, params))


PATCH, PICTURE = attack("badnets", m=120), attack("blended", m=120)


def victims(*attacks: Any, **changes: Any) -> tuple[Victim, ...]:
    given = {**tiny_sweep.VICTIM, "attacks": [list(attacks)], "overlap": True, **changes}
    return tiny_sweep.sweep(victim=given).victims


def test_each_attack_takes_what_it_takes_alone_where_all_have_one_target() -> None:
    data = few()
    made = poisoned(data, [PATCH, PICTURE], 0, view_of, overlap=True)
    alone = poisoned(data, [PATCH], 0, view_of, overlap=True)
    apart = poisoned(data, [PATCH], 0, view_of)
    assert torch.equal(alone.train.x, apart.train.x) and torch.equal(alone.places, apart.places)
    first, second = (set(i.places.tolist()) for i in made.implants)
    assert [i.name for i in made.implants] == ["badnets", "blended"]
    assert len(first) == len(second) == 120 and set(alone.places.tolist()) == first
    both = first & second  # of about 180 others
    assert both and made.shared == {("badnets", "blended"): len(both)}
    assert len(made.places) == len(set(made.places.tolist())) == len(first | second)
    assert set(made.train.y[made.places].tolist()) == {0}


def test_the_mark_lies_over_the_picture_whatever_their_order() -> None:
    data = few()
    for attacks in ([PATCH, PICTURE], [PICTURE, PATCH]):
        made = poisoned(data, attacks, 0, view_of, overlap=True)
        goals = {i.name: i.goal for i in made.implants}
        (pair,) = made.shared
        one, other = (next(i for i in made.implants if i.name == name) for name in pair)
        both = one.places[torch.isin(one.places, other.places)]
        x = goals["blended"].trigger(data.x[both], both)  # type: ignore[attr-defined]
        x = goals["badnets"].trigger(x, both)  # type: ignore[attr-defined]
        assert torch.equal(made.train.x[both], x)


def test_labels_decide_which_images_two_attacks_share() -> None:
    data = few()
    other = attack("blended", m=60, target=5)
    made = poisoned(data, [attack("badnets", m=60), other], 0, view_of, overlap=True)
    assert made.shared == {}
    sines, marks = attack("sinusoid", m=12), attack("c_badnets", m=12)
    clean = poisoned(data, [sines, marks], 0, view_of, overlap=True)
    assert clean.shared and torch.equal(clean.train.y, data.y)
    mixed = poisoned(data, [attack("badnets", m=60), sines], 0, view_of, overlap=True)
    assert mixed.shared == {}  # another class's images are none of the target's


def test_an_attack_that_would_give_back_a_label_is_refused() -> None:
    adaptive = attack("a_patch", m=150, conservatism=0.5)
    with pytest.raises(SpecError, match="a_patch: .* would get another label") as told:
        poisoned(few(), [attack("badnets", m=150), adaptive], 0, view_of, overlap=True)
    assert "\n" not in str(told.value)


def test_it_is_measured_and_stored(tmp_path: Path) -> None:
    (of,) = victims({"name": "badnets", "m": 300}, {"name": "blended", "m": 300})
    assert of.overlap and {a.params["target"] for a in of.attacks} == {0}
    record = run(training_of(of), TrialRuntime(Artifacts(tmp_path)))
    assert record.status == "done", record.error
    shared = record.metrics["shared/badnets/blended"]
    assert 0 < shared < 300 and record.metrics["m"] == 600 - shared
    assert {"asr/badnets", "asr/blended", "cross/badnets/blended"} <= record.metrics.keys()
    again = victim_from_json(to_json(of))
    assert again == of and again.id == of.id
    (apart,) = victims({"name": "badnets", "m": 300}, {"name": "blended", "m": 300}, overlap=False)
    assert apart.id != of.id and "overlap" not in apart.identity()
    assert "overlap" not in to_json(apart)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"overlap": "yes"}, "overlap must be true or false, got 'yes'"),
        ({"attacks": ["badnets", "blended"]}, "overlap = true needs several attacks on one victim"),
        (
            {"attacks": [[{"name": "badnets", "target": 1}, "blended"]]},
            "the targets of the attacks on one victim are 1, 0: ",
        ),
        ({"attacks": [["badnets", "pcb"]]}, "overlap = true: pcb crafts its poison or controls"),
        ({"attacks": [["narcissus", "badnets"]]}, "overlap = true: narcissus crafts its poison"),
    ],
)
def test_what_cannot_overlap_is_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says) as told:
        victims("badnets", "blended", **changes)
    assert "\n" not in str(told.value)
