"""Whoever reads an export finds every record in it, with other programs' own readers."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

from results.export.frames import curve_frame, frame, to_file, to_optuna, to_tensorboard
from results.export.settings import settings_of
from trials.spec import Filtering, MethodConfig, Point, Record, Scalar, SpecError, Victim

Make = Callable[..., Record]


@pytest.fixture
def records(make_record: Make) -> list[Record]:
    return [
        make_record(0, lr=1e-5, steps=20),
        make_record(0, lr=0.1, steps=10, nesterov=False),
        make_record(0, lr=0.2, status="failed"),
        make_record(0, lr=0.3, status="pruned", steps=3),
        make_record(1, lr=0.3, steps=2, norm="l2"),
    ]


def test_a_frame_has_one_row_a_trial_and_its_settings(records: list[Record]) -> None:
    table = frame(records)
    assert list(table["id"]) == [r.trial.id for r in records]
    assert list(table["set.lr"]) == [1e-5, 0.1, 0.2, 0.3, 0.3]
    assert list(table["set.nesterov"]) == [True, False, True, True, True]
    assert set(table["m"]) == {50}
    assert set(table["attacks"]) == {"badnets"}
    assert list(table["status"]) == [r.status for r in records]
    assert table["error"].dropna().tolist() == ["ValueError: no"]
    assert table["asr"].isna().tolist() == [False, False, True, False, False]


def test_a_frame_has_the_settings_of_data_model_and_training(make_record: Make) -> None:
    record = make_record()
    wide = MethodConfig("resnet18", {"width": 32})
    short = MethodConfig("fast", {"epochs": 3})
    victim = dataclasses.replace(record.trial.victim, model=wide, training=short)
    trial = dataclasses.replace(record.trial, victim=victim)
    row = frame([dataclasses.replace(record, trial=trial)]).iloc[0]
    assert (row["model"], row["model.width"]) == ("resnet18", 32)
    assert (row["training"], row["training.epochs"]) == ("fast", 3)


def test_a_metric_that_is_called_like_a_column_gets_its_own(make_record: Make) -> None:
    record = dataclasses.replace(make_record(), metrics={"seconds": 9.0})
    table = frame([record])
    assert (table["seconds"][0], table["metric.seconds"][0]) == (2.5, 9.0)


def test_whole_numbers_stay_whole_where_some_are_missing(make_record: Make) -> None:
    table = frame([make_record(batch=32), make_record()])
    assert table["set.batch"].dtype == "Int64"


def test_without_records_the_columns_are_there_all_the_same(records: list[Record]) -> None:
    assert list(frame([]).columns) == list(frame(records).columns)[: len(frame([]).columns)]
    assert list(curve_frame([]).columns) == ["id", "step", "cda", "asr", "seconds"]


def test_a_curve_frame_has_one_row_a_point(records: list[Record]) -> None:
    table = curve_frame(records)
    assert len(table) == sum(len(r.curve) for r in records)
    assert set(table["loss"]) == {1e22}


@pytest.mark.parametrize(("suffix", "read"), [(".csv", pd.read_csv), (".parquet", pd.read_parquet)])
def test_files_read_back(
    records: list[Record],
    tmp_path: Path,
    suffix: str,
    read: Callable[[Path], pd.DataFrame],
    make_record: Make,
) -> None:
    # a setting that is a number here and a word there
    records = [*records, make_record(5, lr="auto")]
    path = tmp_path / "new" / f"sweep{suffix}"
    beside = to_file(records, path)
    assert beside == tmp_path / "new" / f"sweep.curves{suffix}"
    assert list(read(path)["id"]) == [r.trial.id for r in records]
    assert list(read(path)["set.lr"]) == ["1e-05", "0.1", "0.2", "0.3", "0.3", "auto"]
    pd.testing.assert_frame_equal(read(beside), curve_frame(records), check_dtype=False)


def test_an_unknown_suffix_or_place_is_the_users_to_fix(
    records: list[Record], tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=r"one of \.csv, \.parquet"):
        to_file(records, tmp_path / "x.xlsx")
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="cannot write"):
        to_file(records, tmp_path / "file" / "x.csv")
    with pytest.raises(SpecError, match="cannot write"):
        to_optuna(records, tmp_path / "file" / "x.db")
    with pytest.raises(SpecError, match="cannot write"):
        to_tensorboard(records, tmp_path / "file" / "runs")


def test_optuna_reads_every_trial_with_its_state_and_curve(
    records: list[Record], tmp_path: Path
) -> None:
    assert to_optuna(records, tmp_path / "o.db") == 2
    assert [p.name for p in tmp_path.iterdir()] == ["o.db"]
    url = f"sqlite:///{tmp_path / 'o.db'}"
    first, second = (
        optuna.load_study(study_name=n, storage=url)
        for n in sorted(optuna.get_all_study_names(url))
    )
    assert first.study_name == (
        "robustness: pivotal_tuning on digits, resnet18, badnets (m = 50), seed 7, r = 1.0 %, "
        "seed 0"
    )
    states = {TrialState.COMPLETE: "done", TrialState.FAIL: "failed", TrialState.PRUNED: "pruned"}
    by_id = {r.trial.id: r for r in records}
    assert [len(s.trials) for s in (first, second)] == [4, 1]
    for trial in [*first.trials, *second.trials]:
        record = by_id[trial.user_attrs["id"]]
        assert record.trial.method is not None
        assert states[trial.state] == record.status
        assert trial.params == record.trial.method.params
        assert trial.intermediate_values == {p.step: p.asr for p in record.curve}
    best = first.best_trial
    allowed = [p.asr for p in by_id[best.user_attrs["id"]].curve if p.cda >= 0.93 - 0.02 - 1e-9]
    assert best.value == min(allowed)
    assert best.constraints["cda_loss_above_delta"] <= 1e-9


def test_optuna_dashboard_shows_the_export(records: list[Record], tmp_path: Path) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    to_optuna(records, tmp_path / "o.db")
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'o.db'}")
    app = dashboard.wsgi(storage)

    def fetch(path: str) -> dict[str, object]:
        from wsgiref.util import setup_testing_defaults  # noqa: PLC0415

        environ: dict[str, object] = {"PATH_INFO": path, "REQUEST_METHOD": "GET"}
        setup_testing_defaults(environ)
        answers: list[str] = []
        body = b"".join(app(environ, lambda status, _headers, *_: answers.append(status)))
        assert answers == ["200 OK"], body
        loaded: dict[str, object] = json.loads(body)
        return loaded

    studies = fetch("/api/studies")["study_summaries"]
    assert isinstance(studies, list)
    assert len(studies) == 2
    detail = fetch(f"/api/studies/{studies[0]['study_id']}")
    assert len(detail["trials"]) in (1, 4)  # type: ignore[arg-type]
    storage.remove_session()
    storage.engine.dispose()


def test_optuna_never_writes_over_a_file(records: list[Record], tmp_path: Path) -> None:
    (tmp_path / "o.db").write_text("mine")
    with pytest.raises(SpecError, match="exists"):
        to_optuna(records, tmp_path / "o.db")
    assert (tmp_path / "o.db").read_text() == "mine"


def test_optuna_says_when_there_is_nothing_to_show(make_record: Make, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no record"):
        to_optuna([make_record(steps=0)], tmp_path / "o.db")
    assert not (tmp_path / "o.db").exists()


def test_tensorboard_reads_one_run_a_trial(records: list[Record], tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert to_tensorboard(records, tmp_path / "tb") == len(records)
    assert {p.name for p in (tmp_path / "tb").iterdir()} == {r.trial.id for r in records}
    for record in records:
        run = events.EventAccumulator(str(tmp_path / "tb" / record.trial.id)).Reload()
        if not record.curve:
            assert "asr" not in run.Tags()["scalars"]
            continue
        assert [(e.step, e.value) for e in run.Scalars("asr")] == [
            (p.step, pytest.approx(p.asr)) for p in record.curve
        ]
        hparams = run.summary_metadata["_hparams_/session_start_info"].plugin_data
        assert hparams.plugin_name == "hparams"
        assert b"pivotal_tuning" in hparams.content


def test_tensorboard_adds_to_no_folder_that_holds_something(
    records: list[Record], tmp_path: Path
) -> None:
    (tmp_path / "notes").write_text("")
    with pytest.raises(SpecError, match="not empty"):
        to_tensorboard(records, tmp_path)


def test_exports_leave_the_records_alone(records: list[Record], tmp_path: Path) -> None:
    before = repr(records)
    to_file(records, tmp_path / "x.csv")
    to_optuna(records, tmp_path / "x.db")
    assert repr(records) == before
    assert isinstance(records[0].curve[0], Point)


def test_settings_tell_trials_without_a_defense_apart(make_record: Make) -> None:
    record = make_record()
    victim = record.trial.victim

    def told(**changes: Any) -> dict[str, Scalar]:
        trial = dataclasses.replace(record.trial, method=None, **changes)
        return settings_of(dataclasses.replace(record, trial=trial))

    def filtered(name: str, **params: Scalar) -> Victim:
        config = MethodConfig(name, params)
        given = Filtering(method=config, reject="recall", trusted=0.05, seed=0)
        return dataclasses.replace(victim, filter=given)

    slow = MethodConfig("sgd", {"lr": 0.1, "epochs": 4})
    every = [
        told(),
        told(victim=dataclasses.replace(victim, training=slow)),
        told(victim=dataclasses.replace(victim, model=MethodConfig("small_cnn", {"width": 4}))),
        told(victim=dataclasses.replace(victim, dataset=MethodConfig("digits", {"size": 20}))),
        told(victim=filtered("scan")),
        told(victim=filtered("badloss")),
        told(victim=filtered("badloss", epochs=3)),
        told(detector=MethodConfig("neural_cleanse", {"steps": 2})),
        told(self_poisoning=MethodConfig("self_poison", {"scheme": "late"})),
        told(game=MethodConfig("self_poison", {"copy": 1})),
    ]
    assert all(every.count(one) == 1 for one in every)
    assert (every[1]["training"], every[1]["training.epochs"]) == ("sgd", 4)
    assert (every[6]["filter"], every[6]["filter.epochs"]) == ("badloss", 3)
