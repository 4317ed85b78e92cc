"""Records as runs of MLflow, read back by its own client from a real store."""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

import pytest

from results.export.mlflow_runs import TRIAL, to_mlflow, without_secrets
from trials.spec import Record, SpecError

Make = Callable[..., Record]
mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore")  # of its client, as it reads here
NOBODY = "http://me:hidden@127.0.0.1:9/?token=hidden"  # the port of "discard"


@pytest.fixture
def records(make_record: Make) -> list[Record]:
    started = {"started": "2026-01-01T00:00:00.000+00:00"}
    return [
        dataclasses.replace(make_record(0, lr=1e-5, steps=20), provenance=started),
        dataclasses.replace(make_record(0, lr=0.1, steps=10), metrics={"asr/a:b": 0.25, "n": 3.0}),
        make_record(0, lr=0.2, status="failed"),
        make_record(0, lr=0.3, status="pruned", steps=3),
    ]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return mlflow.MlflowClient(f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/runs.db")


def runs_of(client: Any, name: str) -> dict[str, Any]:
    place = client.get_experiment_by_name(name).experiment_id
    return {run.data.tags[TRIAL]: run for run in client.search_runs([place])}


@pytest.mark.slow  # MLflow makes a database
def test_mlflow_reads_every_trial_with_its_state_settings_and_curve(
    client: Any, records: list[Record]
) -> None:
    assert to_mlflow(records, client.tracking_uri, "mine") == 4
    found = runs_of(client, "mine")
    states = {"FINISHED": "done", "FAILED": "failed", "KILLED": "pruned"}
    for record in records:
        run = found[record.trial.id]
        assert record.trial.method is not None
        assert states[run.info.status] == record.status
        assert run.data.params["defense"] == record.trial.method.name
        assert float(run.data.params["lr"]) == record.trial.method.params["lr"]
        history = client.get_metric_history(run.info.run_id, "asr")
        assert [(m.step, m.value) for m in history] == [(p.step, p.asr) for p in record.curve]
        assert ("poisonsweep.error" in run.data.tags) == (record.status == "failed")
    assert found[records[0].trial.id].info.start_time == 1_767_225_600_000
    assert found[records[1].trial.id].data.metrics["metrics/asr/a_b"] == 0.25


@pytest.mark.slow  # MLflow makes a database
def test_what_is_there_is_not_added_again_and_a_run_that_was_cut_short_is(
    client: Any, records: list[Record]
) -> None:
    assert to_mlflow(records[:1], client.tracking_uri, "twice") == 1
    place = client.get_experiment_by_name("twice").experiment_id
    client.create_run(place, tags={TRIAL: records[1].trial.id})  # it was killed here: RUNNING
    assert to_mlflow(records, client.tracking_uri, "twice") == 3
    assert to_mlflow(records, client.tracking_uri, "twice") == 0


def test_no_server_is_one_line_without_the_password(records: list[Record]) -> None:
    with pytest.raises(SpecError) as told:
        to_mlflow(records, NOBODY, "mine")
    assert "cannot write to MLflow at 'http://127.0.0.1:9/'" in str(told.value)
    assert "hidden" not in str(told.value) and "\n" not in str(told.value)
    assert without_secrets("sqlite:///x@y.db", "sqlite:///x@y.db") == "sqlite:///x@y.db"


def test_what_is_no_uri_is_refused_and_not_repeated() -> None:
    with pytest.raises(SpecError, match="no URI") as told:
        to_mlflow([], "http://[me:hidden@x", "mine")
    assert "hidden" not in str(told.value)


def test_without_mlflow_it_says_what_to_install(
    records: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(SpecError, match=r"pip install 'poisonsweep\[mlflow\]'"):
        to_mlflow(records, NOBODY, "mine")


@pytest.mark.slow  # MLflow makes a database
def test_a_trial_that_failed_and_is_done_now_is_replaced_and_never_the_other_way_round(
    client: Any, records: list[Record]
) -> None:
    done = records[0]
    failed = dataclasses.replace(done, status="failed", metrics={}, curve=(), error="T\\nOSError")
    added = [to_mlflow([r], client.tracking_uri, "again") for r in (failed, failed, done, failed)]
    assert added == [1, 0, 1, 0]
    place = client.get_experiment_by_name("again").experiment_id
    assert [run.info.status for run in client.search_runs([place])] == ["FINISHED"]
