"""A trial that was cut short gives the record of one that was not, and says that it was resumed."""

from pathlib import Path

import pytest
import tiny_sweep
import torch

from sweep.spec.sweep_file import Sweep
from trials.dependencies import training_of
from trials.games._copy_training import CopyTraining
from trials.leaving import leaving
from trials.reporting import TrialProgress
from trials.run import perform, run
from trials.runtime import TrialRuntime
from trials.self_poisoning.schemes import SCHEMES
from trials.spec import Point, Trial
from trials.storage import checkpoint
from trials.storage.artifacts import Artifacts
from trials.storage.blobs import LocalBlobStore


class Cut(BaseException):
    """The process is gone."""


class Dying(LocalBlobStore):
    """A folder in which the process that writes the n-th checkpoint dies afterwards."""

    def __init__(self, root: Path, writes: int) -> None:
        super().__init__(root)
        self._left = writes

    def put(self, name: str, data: bytes) -> None:
        super().put(name, data)
        self._left -= 1
        if not self._left:
            raise Cut


def cut(trial: Trial, kept: Artifacts, writes: int) -> None:
    """Run a trial until it has written so many checkpoints."""
    whole, kept.files = kept.files, Dying(kept.root, writes)
    with pytest.raises(Cut):
        run(trial, TrialRuntime(kept, checkpoint=0))
    kept.files = whole


@pytest.mark.parametrize("game", ["training", "self_poison"])
@pytest.mark.parametrize("writes", [1, 2])
def test_a_trial_that_was_cut_short_gives_the_same_record_and_weights(
    sweep: Sweep, artifacts: Artifacts, tmp_path: Path, game: str, writes: int
) -> None:
    trial, again = tiny_sweep.first(sweep, game), Artifacts(tmp_path)
    victim = training_of(trial.victim)
    if game == "self_poison":
        again.save(victim.id, *artifacts.load(victim.id))
    undisturbed = run(trial, TrialRuntime(_beside(artifacts, trial, tmp_path / "other")))
    cut(trial, again, writes)
    assert list(tmp_path.glob("checkpoints/*.safetensors"))
    assert not again.has(trial.id)
    resumed = run(trial, TrialRuntime(again, checkpoint=0))
    assert resumed.status == "done", resumed.error
    assert resumed.provenance["resumed"].startswith("once, last at step")
    assert tiny_sweep.outcome(resumed) == tiny_sweep.outcome(undisturbed)
    assert again.load(trial.id)[1]["sha256"] == artifacts.load(trial.id)[1]["sha256"]
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_copy_of_each_scheme_that_was_cut_short_is_the_same(
    sweep: Sweep,
    artifacts: Artifacts,
    tmp_path: Path,
    scheme: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The third checkpoint lies in the second round, which begins with the scheme's own rate."""
    # a network that was drawn anew may give the target alone, and need no second round
    monkeypatch.setattr(CopyTraining, "learned", property(lambda _: False))
    settings = {"scheme": scheme, "steps": 30, "rounds": 2, "check_every": 20, "reach": 1.0}
    trial = tiny_sweep.copy_trial(sweep, **settings)
    whole, again = (_beside(artifacts, trial, tmp_path / name) for name in ("whole", "again"))
    undisturbed = run(trial, TrialRuntime(whole))
    cut(trial, again, 3)
    resumed = run(trial, TrialRuntime(again, checkpoint=0))
    assert resumed.provenance["resumed"] == "once, last at step 50"
    assert tiny_sweep.outcome(resumed) == tiny_sweep.outcome(undisturbed)


@pytest.mark.parametrize(("writes", "at", "draws"), [(1, 10, 2), (2, 20, 2), (3, 10, 1)])
@pytest.mark.parametrize("scheme", ["distilled", "late"])
def test_a_copy_whose_trigger_was_redrawn_goes_on_with_the_trigger_that_it_was_at(
    sweep: Sweep,
    artifacts: Artifacts,
    tmp_path: Path,
    writes: int,
    at: int,
    draws: int,
    scheme: str,
) -> None:
    """The third checkpoint lies in the second draw."""
    trial = tiny_sweep.redrawn_copy(sweep, scheme=scheme)
    whole, again = (_beside(artifacts, trial, tmp_path / name) for name in ("whole", "again"))
    undisturbed = run(trial, TrialRuntime(whole))
    assert undisturbed.metrics["unlearned"] == 1
    cut(trial, again, writes)
    points = list[Point]()
    resumed = run(trial, TrialRuntime(again, checkpoint=0), points.append)
    assert [p.step for p in points] == draws * [0, 10, 20]
    assert resumed.provenance["resumed"] == f"once, last at step {at}"
    assert tiny_sweep.outcome(resumed) == tiny_sweep.outcome(undisturbed)
    hashes = [kept.load(trial.id)[1]["sha256"] for kept in (whole, again)]
    assert hashes[0] == hashes[1]


def test_a_checkpoint_that_knows_no_other_trigger_goes_on_with_the_first(
    sweep: Sweep, artifacts: Artifacts, tmp_path: Path
) -> None:
    """As checkpoints were before a trigger that is not learned was redrawn."""
    trial = tiny_sweep.redrawn_copy(sweep)
    whole, again = (_beside(artifacts, trial, tmp_path / name) for name in ("whole", "again"))
    undisturbed = run(trial, TrialRuntime(whole))
    cut(trial, again, 1)
    (file,) = tmp_path.glob("again/checkpoints/*")
    tensors, facts = checkpoint._unpacked(file.read_bytes())
    del facts["position"]["unlearned"]
    file.write_bytes(checkpoint._packed(tensors, facts))
    resumed = run(trial, TrialRuntime(again, checkpoint=0))
    assert resumed.provenance["resumed"] == "once, last at step 10"
    assert tiny_sweep.outcome(resumed) == tiny_sweep.outcome(undisturbed)


def _beside(artifacts: Artifacts, trial: Trial, folder: Path) -> Artifacts:
    """The victim of a trial alone, in another folder."""
    kept, victim = Artifacts(folder), training_of(trial.victim)
    if victim.id != trial.id:
        kept.save(victim.id, *artifacts.load(victim.id))
    return kept


def test_a_resumed_curve_keeps_its_seconds_in_order(
    sweep: Sweep, artifacts: Artifacts, tmp_path: Path
) -> None:
    trial = tiny_sweep.first(sweep, "self_poison")
    kept = _beside(artifacts, trial, tmp_path)
    cut(trial, kept, 2)
    record = run(trial, TrialRuntime(kept, checkpoint=0))
    seconds = [p.seconds for p in record.curve]
    assert len(seconds) > 3
    assert seconds == sorted(seconds)
    assert record.seconds > seconds[-1]


def test_a_trial_that_is_stopped_keeps_its_checkpoint(
    sweep: Sweep, artifacts: Artifacts, tmp_path: Path
) -> None:
    trial = tiny_sweep.first(sweep, "self_poison")
    steps = perform(trial, TrialRuntime(_beside(artifacts, trial, tmp_path), checkpoint=0))
    for _ in range(3):
        next(steps)
    steps.close()
    assert [p.stem for p in tmp_path.glob("checkpoints/*")] == [trial.id]


def test_a_trial_that_fails_by_itself_leaves_no_checkpoint(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trials.games import training  # noqa: PLC0415

    def broken(*_: object) -> torch.Tensor:
        assert list(tmp_path.glob("checkpoints/*"))
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(training, "predictions", broken)
    record = run(
        tiny_sweep.first(sweep, "training"), TrialRuntime(Artifacts(tmp_path), checkpoint=0)
    )
    assert "on purpose" in str(record.error)
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.gpu
def test_a_trial_on_a_gpu_goes_on_where_it_was(sweep: Sweep, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    trial, kept = tiny_sweep.first(sweep, "training"), Artifacts(tmp_path)
    whole, kept.files = kept.files, Dying(kept.root, 2)
    with pytest.raises(Cut):
        run(trial, TrialRuntime(kept, "cuda", 0))
    kept.files = whole
    record = run(trial, TrialRuntime(kept, "cuda", 0))
    assert record.status == "done", record.error
    assert "resumed" in record.provenance


def test_reports_within_an_epoch_change_neither_record_nor_weights(
    sweep: Sweep, artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = tiny_sweep.first(sweep, "training")
    usual = run(trial, TrialRuntime(Artifacts(tmp_path / "usual")))
    monkeypatch.setattr("trials.recipes._loop.PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr("trials.run.PROGRESS_SECONDS", 0.0)
    kept = Artifacts(tmp_path / "told")
    running = perform(trial, TrialRuntime(kept))
    told = list(running.reports())
    steps = [report.step for report in told if isinstance(report, TrialProgress)]
    assert len(told) == len(steps) > 8
    assert sorted(set(steps)) == list(range(1, steps[-1] + 1))
    assert tiny_sweep.outcome(running.record) == tiny_sweep.outcome(usual)
    assert kept.load(trial.id)[1]["sha256"] == artifacts.load(trial.id)[1]["sha256"]


def test_no_checkpoint_is_written_from_within_an_epoch(
    sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trials.recipes._loop.PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr("trials.run.PROGRESS_SECONDS", 0.0)
    trial = tiny_sweep.first(sweep, "training")
    running = perform(trial, TrialRuntime(Artifacts(tmp_path)))
    writable = {}
    for report in running.reports():
        assert isinstance(report, TrialProgress)
        writable[report.step] = leaving.write is not None  # the last report of an epoch is its end
    epochs = 4
    per_epoch = max(writable) // epochs
    assert {step for step, can in writable.items() if can} == {
        per_epoch * (i + 1) for i in range(epochs)
    }
