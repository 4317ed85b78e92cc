"""One trial, one record: in this process, in a pool, on Ray, and after its process was killed in
the midst of it.
"""

import functools
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_sweep
from waiting import eventually

from results.store import Store
from sweep.execution import process_pool, runner
from sweep.execution.scheduler import Scheduler
from sweep.execution.worker import WorkerConfig
from sweep.planning.stages import stages
from sweep.spec.compute import Compute
from sweep.spec.sweep_file import Sweep
from trials.spec import Record, Trial
from trials.trial_run import Reports

pytestmark = pytest.mark.slow
Outcome = tuple[object, ...]
EPOCHS = 5  # long enough for a signal to meet one
ONE = Compute(device="cpu", workers=1)


@dataclass(frozen=True)
class Named(WorkerConfig):
    """A place whose trials leave the id of their process."""

    def perform(self, trial: Trial) -> Reports[Record]:
        (Path(self.artifacts) / f"pid.{os.getpid()}").touch()
        return (yield from super().perform(trial))

    def pids(self) -> list[int]:
        return [int(p.suffix[1:]) for p in Path(self.artifacts).glob("pid.*")]


def sweep_of(attack: str) -> Sweep:
    """A sweep that trains one victim."""
    attacks = {
        "badnets": {"name": "badnets", "m": 60},
        "pcb": {"name": "pcb", "part": 0.5, "pace": 0.5},
    }
    training = {"name": "fast", "epochs": EPOCHS, "batch": 64, "peak": 0.05}
    victim = {**tiny_sweep.VICTIM, "training": training, "attacks": [attacks[attack]]}
    return tiny_sweep.sweep(
        game="training", defenses=[], tuning={}, victim=victim, compute={"device": "cpu"}
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outcome]:
    """The outcome, by the attack, of a training in this process."""
    folder = tmp_path_factory.mktemp("undisturbed")

    @functools.cache
    def outcome(attack: str) -> Outcome:
        with Store.open(f"sqlite:///{folder}/{attack}.db") as store:
            store.add_sweep("tiny", {})
            process_pool.Inline(WorkerConfig(str(folder / attack))).run(
                Scheduler(stages(sweep_of(attack), store), store, "tiny")
            )
            (found,) = tiny_sweep.outcomes(store).values()
        return found

    return outcome


def on_ray(scheduler: Scheduler, worker_config: WorkerConfig) -> None:
    import test_killed  # noqa: PLC0415
    from ray import cloudpickle  # noqa: PLC0415

    from sweep.execution.ray_tune.executor import RayTune  # noqa: PLC0415

    cloudpickle.register_pickle_by_value(test_killed)  # type: ignore[no-untyped-call]  # workers of Ray have no path to the tests
    RayTune(worker_config, ONE).run(scheduler)


def in_a_pool(scheduler: Scheduler, worker_config: WorkerConfig) -> None:
    process_pool.ProcessPool(worker_config, 1).run(scheduler)


def kill_one_that_has_a_checkpoint(worker_config: Named) -> threading.Thread:
    """Kill the first worker once its trial has written a checkpoint."""

    def kill() -> None:
        whole = "checkpoints/[!.]*.safetensors"  # one that is being written begins with a dot
        assert eventually(lambda: bool(list(Path(worker_config.artifacts).glob(whole))))
        os.kill(worker_config.pids()[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("execute", "attack"),
    [(in_a_pool, "pcb"), pytest.param(on_ray, "badnets", marks=pytest.mark.ray)],
)
def test_a_killed_training_goes_on_and_gives_the_record_of_an_undisturbed_one(
    undisturbed: Callable[[str], Outcome],
    store: Store,
    tmp_path: Path,
    execute: Callable[[Scheduler, WorkerConfig], None],
    attack: str,
) -> None:
    worker_config = Named(str(tmp_path), "cpu", 1, checkpoint=0)
    scheduler = Scheduler(stages(sweep_of(attack), store), store, "tiny")
    killer = kill_one_that_has_a_checkpoint(worker_config)
    execute(scheduler, worker_config)
    killer.join()
    assert (scheduler.progress.done, scheduler.progress.failed, scheduler.progress.worker_lost) == (
        1,
        0,
        1,
    )
    (record,) = store.records()
    assert record.provenance["resumed"].startswith("once, last at step")
    assert tiny_sweep.outcome(record) == undisturbed(attack)
    assert not list(tmp_path.glob("checkpoints/*"))
    assert len(worker_config.pids()) == 2


@pytest.mark.parametrize("use_ray", [False, pytest.param(True, marks=pytest.mark.ray)])
def test_artifacts_at_a_uri_give_the_same_records_and_leave_nothing_else_behind(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, use_ray: bool
) -> None:
    monkeypatch.setenv("POISONSWEEP_CACHE", str(tmp_path / "node"))
    sweep = tiny_sweep.sweep(
        defenses=[{**tiny_sweep.DEFENSES[0], "limit": 1}],
        confirm=False,
        compute={"device": "cpu", "workers": 2},
    )
    with Store.open(f"sqlite:///{tmp_path}/near.db") as near:
        runner.execute(sweep, near, tiny_sweep.worker_config(tmp_path / "artifacts"), use_ray=False)
        expected = tiny_sweep.outcomes(near)
    worker_config = WorkerConfig(runner.artifacts_of("x.db", f"file://{tmp_path}/shared"), "cpu", 1)
    progress = runner.execute(sweep, store, worker_config, use_ray=use_ray)
    assert progress.done == len(expected) == 4
    assert tiny_sweep.outcomes(store) == expected
    made = {r.trial.id for r in store.records() if r.trial.game.name in runner.MAKES_ARTIFACTS}
    assert {p.parent.name for p in (tmp_path / "shared").rglob("*") if p.is_file()} == made
    assert runner.execute(sweep, store, worker_config, use_ray=use_ray).stored == 4
