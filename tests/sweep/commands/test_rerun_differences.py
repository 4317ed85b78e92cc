"""What two runs of a trial are compared by."""

from collections.abc import Callable
from dataclasses import replace

from sweep.commands.rerun import differences
from trials.spec import MethodConfig, Point, Record, Trial, Victim

Change = Callable[[Point], Point]


def record() -> Record:
    of = Victim(
        dataset=MethodConfig("digits"),
        model=MethodConfig("resnet18"),
        attacks=(),
        training=MethodConfig("fast"),
        seed=0,
    )
    trial = Trial(game=MethodConfig("tuning"), victim=of, method=None, trusted=0.1, seed=0)
    curve = tuple(Point(step, 0.9, 0.5, 0.1, {"loss": 1.0}) for step in (0, 50))
    return Record(trial=trial, status="done", metrics={"cda0": 0.9}, curve=curve)


def changed(change: Change) -> Record:
    made = record()
    return replace(made, curve=(made.curve[0], change(made.curve[1])))


def test_every_number_of_a_point_is_compared() -> None:
    stored = changed(lambda p: replace(p, extra={"asr/patch": 0.5, "val_cda": 0.9}))
    now = changed(lambda p: replace(p, extra={"asr/patch": 0.0, "asr/warp": 0.1, "val_cda": 0.9}))
    assert not list(differences(stored, stored, 0.0))
    assert [(d.what, d.stored, d.now) for d in differences(stored, now, 0.0)] == [
        ("asr/patch at step 50", 0.5, 0.0),
        ("asr/warp at step 50", None, 0.1),
    ]
    assert [d.what for d in differences(stored, now, 0.5)] == ["asr/warp at step 50"]


def test_a_point_that_is_gone_is_a_difference_and_its_time_is_none() -> None:
    made = record()
    told = list(differences(made, replace(made, curve=made.curve[:1]), 1.0))
    assert {d.what for d in told} == {f"{name} at step 50" for name in ("cda", "asr", "loss")}
    assert not list(differences(made, changed(lambda p: replace(p, seconds=9.0)), 0.0))
