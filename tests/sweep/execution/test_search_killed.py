"""A search's record that waited when its driver was killed joins its sweep, and the search pays for
no other.
"""

from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_sweep
from made_up import Made

from results.store import Store
from sweep.execution import runner
from sweep.execution.outbox import Outbox
from sweep.execution.progress import Progress
from sweep.execution.worker import WorkerConfig
from sweep.spec.sweep_file import Sweep
from trials.spec import Point, Record, Trial

SEARCH = {
    "name": "weight_decay",
    "profile": "small",
    "strategy": "search",
    "sampler": "tpe",
    "trials": 6,
}


class Learnt(Made):
    """Made-up trials of which training and copies leave an artifact's folder, so that they count as
    there.
    """

    def perform(self, trial: Trial) -> Generator[Point, None, Record]:
        if trial.game.name in runner.MAKES_ARTIFACTS:
            (Path(self.artifacts) / trial.id).mkdir(parents=True, exist_ok=True)
        return (yield from super().perform(trial))


def searching() -> Sweep:
    compute = {"device": "cpu", "workers": 1}
    return tiny_sweep.sweep(defenses=[SEARCH], confirm=False, judge=False, compute=compute)


def run(sweep: Sweep, store: Store, worker_config: WorkerConfig) -> Progress:
    return runner.execute(sweep, store, worker_config, use_ray=False)


@pytest.fixture
def worker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerConfig:
    monkeypatch.setattr(runner, "_check_here", lambda *_: None)
    return Learnt(str(tmp_path / "artifacts"))


def tuned(store: Store) -> list[Record]:
    return store.records("tiny", "tuning")


@pytest.mark.parametrize("stop", range(1, 7))
def test_a_record_that_waits_joins_its_sweep_and_is_not_paid_for_again(
    store: Store,
    worker_config: WorkerConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: int,
) -> None:
    with Store.open(f"sqlite:///{tmp_path}/whole.db") as whole:
        assert run(searching(), whole, worker_config).done == 8
        expected = tuned(whole)
    with monkeypatch.context() as patched:
        patched.setattr(Store, "put", _dying(worker_config, Store.put, stop))
        with pytest.raises(KeyboardInterrupt):
            run(searching(), store, worker_config)
    assert tuned(store) == expected[: stop - 1]
    progress = run(searching(), store, worker_config)
    assert (progress.done, progress.stored) == (6 - stop, 2 + stop)
    assert tuned(store) == expected
    assert not Outbox(worker_config).pending()


def _dying(worker_config: WorkerConfig, put: Callable[..., bool], stop: int) -> Callable[..., bool]:
    """The store of a driver that is killed before it has stored so many of a search's records."""
    left = [stop]

    def dying(
        store: Store, record: Record, sweep: str | None = None, owner: str | None = None
    ) -> bool:
        left[0] -= record.trial.game.name == "tuning"
        if left[0] == 0:
            Outbox(replace(worker_config, sweep="tiny")).put(record)  # as its worker has
            raise KeyboardInterrupt
        return put(store, record, sweep, owner)

    return dying
