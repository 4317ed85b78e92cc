"""A stored trial runs again and is compared with what is stored, which stays as it was."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
from commands_run import called, refused

from results.store import Store
from sweep.execution import runner
from trials import catalog
from trials.spec import MethodConfig, Record

pytestmark = pytest.mark.slow
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny sweep that has run; tests take a copy."""
    folder = tmp_path_factory.mktemp("swept")
    sweep = tiny_sweep.sweep(
        defenses=[{**tiny_sweep.DEFENSES[0], "limit": 1}],
        detectors=[
            {"name": "neural_cleanse", "profile": "small", "limit": 2, "fixed": {"steps": 2}}
        ],
        compute={"device": "cpu", "workers": 1},
    )
    with Store.open(f"sqlite:///{folder}/s.db") as store:
        runner.execute(sweep, store, tiny_sweep.worker_config(folder / "artifacts"), use_ray=False)
        assert {r.status for r in store.records()} == {"done"}
    return folder


@pytest.fixture
def folder(swept: Path, tmp_path: Path) -> Path:
    shutil.copytree(swept, tmp_path / "copy")
    return tmp_path / "copy"


def url(folder: Path) -> str:
    return f"sqlite:///{folder}/s.db"


def records(folder: Path) -> dict[str, Record]:
    """By the game."""
    with Store.open(url(folder)) as store:
        return {r.trial.game.name: r for r in store.records()}


def put(folder: Path, record: Record) -> None:
    with Store.open(url(folder)) as store:
        store.put(record)


# games that the sweep here does not play
NOT_PLAYED = {"filtering", "own_repair", "self_brew", "self_poison_data", "targeted"}


def said(capsys: Capture, code: int, *args: object) -> dict[str, Any]:
    """What the command says to programs, after checking its exit code."""
    assert called("rerun", *args, "--json") == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(p): p.read_bytes() for p in sorted((folder / "artifacts").rglob("*")) if p.is_file()
    }


@pytest.mark.parametrize(
    "game",
    sorted({*catalog.names("games")} - NOT_PLAYED),
)
def test_every_game_repeats_bit_for_bit_and_nothing_stored_changes(
    folder: Path, capsys: Capture, game: str
) -> None:
    before, kept = records(folder), files(folder)
    assert called("rerun", before[game].trial.id[:9], "--store", url(folder)) == 0
    assert "equal bit for bit" in capsys.readouterr().out
    assert records(folder) == before
    assert files(folder) == kept


def test_what_differs_is_shown_with_likely_reasons(folder: Path, capsys: Capture) -> None:
    stored = records(folder)["tuning"]
    curve = list(stored.curve)
    curve[1] = replace(curve[1], asr=curve[1].asr + 1e-12, seconds=0.1)
    metrics = {**stored.metrics, "cda0": stored.metrics["cda0"] - 0.25, "gone": 1.0}
    other = replace(
        stored,
        curve=tuple(curve),
        metrics=metrics,
        provenance={**stored.provenance, "torch": "1.0"},
    )
    put(folder, other)
    found = said(capsys, 1, stored.trial.id, "--store", url(folder))
    assert not found["equal"]
    assert {d["what"] for d in found["differences"]} == {
        "cda0",
        "gone",
        f"asr at step {curve[1].step}",
    }
    assert next(d for d in found["differences"] if d["what"] == "gone") == {
        "what": "gone",
        "stored": 1.0,
        "now": None,
    }
    assert [(d["what"], d["stored"]) for d in found["reasons"]] == [("torch", "1.0")]
    assert called("rerun", stored.trial.id, "--store", url(folder)) == 1
    out = capsys.readouterr().out
    assert "not equal bit for bit" in out
    assert "likely reason: torch" in out
    assert records(folder)["tuning"] == other


def test_a_tolerance_is_kept_to(folder: Path, capsys: Capture) -> None:
    stored = records(folder)["tuning"]
    put(folder, replace(stored, metrics={**stored.metrics, "cda0": stored.metrics["cda0"] - 0.25}))
    for tolerance, code in ((0.3, 0), (0.2, 1)):
        found = said(
            capsys, code, stored.trial.id, "--store", url(folder), "--tolerance", tolerance
        )
        assert found["tolerance"] == tolerance


def test_a_failure_that_no_longer_fails_differs(folder: Path, capsys: Capture) -> None:
    stored = records(folder)["tuning"]
    put(
        folder,
        replace(
            stored, status="failed", metrics={}, curve=(), error="Traceback\nOSError: no space"
        ),
    )
    found = said(capsys, 1, stored.trial.id, "--store", url(folder))
    assert found["differences"][0] == {
        "what": "status",
        "stored": "failed: OSError: no space",
        "now": "done",
    }


def test_a_pruned_trial_is_compared_as_far_as_it_came(folder: Path, capsys: Capture) -> None:
    stored = records(folder)["tuning"]
    put(folder, replace(stored, status="pruned", metrics={}, curve=stored.curve[:2]))
    assert said(capsys, 0, stored.trial.id, "--store", url(folder))["equal"]


def test_without_its_artifacts_it_is_made_from_scratch_if_asked(
    folder: Path, capsys: Capture
) -> None:
    stored = records(folder)["tuning"]
    shutil.rmtree(folder / "artifacts")
    assert "--from-scratch" in refused(capsys, "rerun", stored.trial.id, "--store", url(folder))
    assert said(capsys, 0, stored.trial.id, "--store", url(folder), "--from-scratch")["equal"]
    assert not (folder / "artifacts").exists()


def test_artifacts_may_be_named(
    folder: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POISONSWEEP_CACHE", str(folder / "node"))
    stored = records(folder)["tuning"]
    (folder / "artifacts").rename(folder / "elsewhere")
    for where in (folder / "elsewhere", f"file://{folder}/elsewhere"):
        assert said(capsys, 0, stored.trial.id, "--store", url(folder), "--artifacts", where)[
            "equal"
        ]
    assert len(list((folder / "node" / "artifacts").glob("*.safetensors"))) == 2


def test_an_unknown_or_ambiguous_id_is_one_line(folder: Path, capsys: Capture) -> None:
    known = sorted(r.trial.id for r in records(folder).values())
    missing = known[0][:-1] + ("0" if known[0][-1] != "0" else "1")
    assert known[0] in refused(capsys, "rerun", missing, "--store", url(folder))
    with Store.open(url(folder)) as store:
        some = store.records()[0]
        for seed in range(40):  # of 40 ids some begin alike
            store.put(replace(some, trial=replace(some.trial, seed=seed)))
        ids = store.ids()
    head = next(i[0] for i in ids if sum(other[0] == i[0] for other in ids) > 1)
    assert "Write more of its id" in refused(capsys, "rerun", head, "--store", url(folder))


def test_a_trial_whose_file_has_changed_is_refused(folder: Path, capsys: Capture) -> None:
    file, stored = folder / "w.safetensors", records(folder)["training"]
    file.write_bytes(b"as it was")
    training = catalog.resolve("recipes", MethodConfig("given", {"weights": str(file)}))
    trial = replace(stored.trial, victim=replace(stored.trial.victim, training=training))
    put(folder, replace(stored, trial=trial))
    file.write_bytes(b"as it is!!")
    assert "has changed" in refused(capsys, "rerun", trial.id, "--store", url(folder))


@pytest.mark.parametrize(
    ("options", "says"), [(["--device", "cuda"], "sees"), (["--tolerance", "-1"], "at least 0")]
)
def test_what_cannot_be_is_one_line(
    folder: Path, capsys: Capture, options: list[str], says: str
) -> None:
    import torch  # noqa: PLC0415

    if options[1] == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert says in refused(
        capsys, "rerun", records(folder)["tuning"].trial.id, "--store", url(folder), *options
    )
