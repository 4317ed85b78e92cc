"""The same promises on a real Ray, which stays silent and goes away at the end."""

import contextlib
import gc
import os
import signal
import time
from pathlib import Path

import made_up
import pytest
import tiny_sweep
from counting import event_log
from made_up import Made
from planned import scheduler, trials
from ray import cloudpickle
from waiting import SOON, alive, eventually, kill_first

from results.store import Store
from sweep.execution import runner
from sweep.execution.outbox import Outbox
from sweep.execution.progress import Progress
from sweep.execution.scheduler import Scheduler
from sweep.planning.stages import stages
from sweep.planning.strategy import ListStrategy
from sweep.spec.compute import Compute
from trials.spec import Record, SpecError, Trial

pytestmark = [pytest.mark.ray, pytest.mark.slow]
cloudpickle.register_pickle_by_value(made_up)  # type: ignore[no-untyped-call]  # workers have no path to the tests
TWO = Compute(device="cpu", workers=2)


def gone(worker_config: Made) -> bool:
    return eventually(lambda: not any(alive(pid) for _, pid in worker_config.starts()), SOON)


def test_ray_gives_the_records_of_one_process(
    store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import ray  # noqa: PLC0415

    one = tiny_sweep.sweep(compute={"device": "cpu", "workers": 1, "cpus": 1})
    with Store.open(f"sqlite:///{tmp_path}/inline.db") as inline:
        runner.execute(one, inline, tiny_sweep.worker_config(tmp_path / "inline"), use_ray=False)
        capfd.readouterr()
        worker_config = tiny_sweep.worker_config(tmp_path / "ray")
        progress = runner.execute(one, store, worker_config, use_ray=True)
        said = capfd.readouterr()
        assert tiny_sweep.outcomes(store) == tiny_sweep.outcomes(inline)
    assert progress.done == 9
    assert all(r.provenance["threads"] == "1" for r in store.records())
    assert (said.out, said.err) == ("", "")
    assert not ray.is_initialized()
    assert not Outbox(worker_config).pending()
    assert not list((tmp_path / "ray" / "tune").glob("*"))
    # none was started for a later stage
    assert len({line["pid"] for line in event_log(tmp_path / "ray")}) == 1


def test_a_finished_record_stays_in_the_outbox_until_it_is_stored(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweep.execution.ray_tune import searcher  # noqa: PLC0415

    (trial,), worker_config = trials(1), Made(str(tmp_path))
    s = scheduler(store, [trial])
    search = searcher.SchedulerSearch(s, worker_config, TWO, {}, "min_asr_within_delta")
    search.suggest("a")
    record = Record(trial=trial, status="done", metrics={"cda0": 0.5})
    told = {"points": [], "record": Outbox(worker_config).put(record)}

    def away(*_: object) -> bool:
        raise SpecError("store could not be used for 300 s")

    monkeypatch.setattr(store, "put", away)
    with pytest.raises(SpecError):
        search.on_trial_complete("a", told)
    assert Outbox(worker_config).pending() == [record]


def test_a_trial_that_no_node_can_run_any_more_is_told_once(store: Store, tmp_path: Path) -> None:
    from sweep.execution.ray_tune import nodes, searcher  # noqa: PLC0415

    told: list[str] = []

    def reporter(event: str, _: Trial, progress: Progress, record: Record | None) -> None:
        told.extend([progress.unschedulable] if event == "unschedulable" else [])

    s = Scheduler(iter([[ListStrategy("x", trials(3))]]), store, "tiny", reporter=reporter)
    compute = Compute(device="cpu", gpus=0.5, workers=1)
    search = searcher.SchedulerSearch(s, Made(str(tmp_path)), compute, {}, "min_asr_within_delta")
    left: list[dict[str, float]] = [{"CPU": 2, "GPU": 1}]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nodes, "alive", lambda: left)
        patched.setattr(nodes, "LOOK_SECONDS", -1.0)
        assert search.suggest("a")
        assert search.suggest("b") is None
        assert told == []
        left[0] = {"CPU": 2}
        for _ in range(3):
            assert search.suggest("b") is None
        assert told == ["1 CPU and 0.5 GPU"]


def test_more_than_the_cluster_has_is_the_users_to_fix(store: Store, tmp_path: Path) -> None:
    import ray  # noqa: PLC0415

    from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415

    with pytest.raises(SpecError, match=r"this (machine has|container may use)"):
        RayTune(Made(str(tmp_path)), Compute(device="cpu", cpus=1000)).run(
            scheduler(store, trials(1))
        )
    assert not ray.is_initialized()


def test_a_cluster_that_does_not_answer_is_the_users_to_fix(store: Store, tmp_path: Path) -> None:
    from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415

    with pytest.raises(SpecError, match="ray start --head"):
        RayTune(Made(str(tmp_path)), TWO, "127.0.0.1:1").run(scheduler(store, trials(1)))


def test_ctrl_c_ends_ray_and_keeps_what_is_finished(store: Store, tmp_path: Path) -> None:
    import threading  # noqa: PLC0415

    import ray  # noqa: PLC0415

    from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415

    worker_config = Made(str(tmp_path), nap=0.3)
    s = Scheduler(iter([[ListStrategy("x", trials(30))]]), store, "tiny")

    def interrupt() -> None:
        eventually(lambda: s.progress.done > 0)
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    pressed: list[float] = []
    thread = threading.Thread(target=interrupt)
    # a caller in the background ignores it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        with contextlib.suppress(KeyboardInterrupt):
            RayTune(worker_config, TWO).run(s)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert not s.over
    assert time.monotonic() - pressed[0] < 60
    assert 0 < len(store.records("tiny")) < 30
    assert not ray.is_initialized()
    assert gone(worker_config)


# On a Ray that is there already.


def test_a_killed_ray_worker_costs_its_own_trial_one_more_start(
    running_ray: None, store: Store, tmp_path: Path
) -> None:
    from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415

    worker_config = Made(str(tmp_path), nap=0.2)
    killer = kill_first(worker_config)
    s = scheduler(store, trials(8))
    RayTune(worker_config, TWO).run(s)
    killer.join()
    assert s.over
    assert (s.progress.done, s.progress.failed, s.progress.worker_lost) == (8, 0, 1)
    ids = [i for i, _ in worker_config.starts()]
    assert sorted(ids.count(t.id) for t in trials(8)) == [1] * 7 + [2]
    assert len({pid for _, pid in worker_config.starts()}) <= 3  # warm: two, and one for the lost
    assert gone(worker_config)


def test_a_trial_that_kills_its_ray_workers_fails_alone(
    running_ray: None, store: Store, tmp_path: Path
) -> None:
    from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415

    some = trials(5)
    s = scheduler(store, some, attempts=2)
    RayTune(Made(str(tmp_path), dies=some[1].id), TWO).run(s)
    assert (s.progress.done, s.progress.failed, s.progress.worker_lost) == (4, 1, 2)


def test_asha_prunes_configurations_and_nothing_else(
    running_ray: None, store: Store, tmp_path: Path
) -> None:
    from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415

    held = {"name": "weight_decay", "profile": "cifar10"}
    sweep = tiny_sweep.sweep(defenses=[held])
    s = Scheduler(stages(sweep, store), store, "tiny")
    RayTune(
        Made(str(tmp_path), steps=20, nap=0.01), Compute(device="cpu", workers=2, scheduler="asha")
    ).run(s)
    assert s.over
    by_game: dict[str, set[str]] = {}
    for record in store.records("tiny"):
        by_game.setdefault(record.trial.game.name, set()).add(record.status)
    assert by_game.pop("tuning") == {"done", "pruned"}
    assert set(by_game) == {"training", "self_poison", "confirmation", "robustness"}
    assert all(states == {"done"} for states in by_game.values())
    pruned = [r for r in store.records("tiny") if r.status == "pruned"]
    assert all(0 < len(r.curve) < 20 and not r.metrics for r in pruned)
    assert s.progress.planned == s.progress.done + s.progress.pruned


def test_asha_does_not_take_a_ruined_model_for_a_repaired_one(
    running_ray: None, store: Store, tmp_path: Path
) -> None:
    from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415

    sweep = tiny_sweep.sweep(
        defenses=[{"name": "weight_decay", "profile": "cifar10"}], confirm=False, judge=False
    )
    s = Scheduler(stages(sweep, store), store, "tiny")
    worker_config = Made(str(tmp_path), steps=20, ruins=0.03)
    compute = Compute(device="cpu", workers=2, scheduler="asha")
    RayTune(worker_config, compute, rule=sweep.rule).run(s)
    tuned = {
        r.trial.id: (float(r.trial.method.params["lr"]), r)
        for r in store.records("tiny", "tuning")
        if r.trial.method
    }
    least = min(lr for lr, _ in tuned.values())
    assert all(r.status == "done" for lr, r in tuned.values() if lr == least)
    ruined = [r for lr, r in tuned.values() if lr >= worker_config.ruins]
    assert sum(r.status == "pruned" for r in ruined) > len(ruined) / 2
    first = min(len(r.curve) for _, r in tuned.values() if r.status == "pruned")
    assert first == 1 + 4  # the start, and one point more than may be beyond Δ


def test_tunes_trials_that_have_ended_leave_its_memory(
    running_ray: None, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.tune.experiment import Trial as TunesTrial  # noqa: PLC0415

    from sweep.execution.ray_tune import trial_cleanup  # noqa: PLC0415
    from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415

    def kept() -> int:
        gc.collect()
        return sum(type(thing) is TunesTrial for thing in gc.get_objects())

    def reporter(event: str, trial: Trial, progress: Progress, record: Record | None) -> None:
        if event == "finish" and progress.done + progress.failed == 30:
            seen.append(kept() - before)

    seen: list[int] = []
    before, some = kept(), trials(30)
    monkeypatch.setattr(trial_cleanup, "MOST", 5)
    s = Scheduler(iter([[ListStrategy("x", some)]]), store, "tiny", attempts=1, reporter=reporter)
    RayTune(Made(str(tmp_path), dies=some[3].id), TWO).run(s)
    assert (s.progress.done, s.progress.failed) == (29, 1)
    assert seen and seen[0] <= 5 + TWO.workers + 1
