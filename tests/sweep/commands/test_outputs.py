"""What another run left in --out never stands beside this one's; what this one left goes on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_sweep
import torch
from given_model import asked, make, words
from safetensors.torch import load_file, save_file

from results.store import Store
from sweep import defend
from sweep.cli import main
from sweep.commands.outputs import refuse, run_of, settle
from sweep.execution.driver import Driver
from sweep.spec.sweep_file import Sweep
from trials.spec import SpecError

RESULTS = ("choice.json", "repaired.safetensors", "report.html")


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("given"))


@pytest.fixture(scope="module")
def first(given: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a model was repaired."""
    out = tmp_path_factory.mktemp("first") / "out"
    assert defend(out=out, **asked(given))["repaired_sha256"]
    return out


@pytest.mark.slow
def test_a_failed_run_on_another_model_leaves_nothing_of_the_first_ones(
    given: Path, first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, before = tmp_path / "out", (first / "choice.json").read_bytes()
    shutil.copytree(first, out)
    state = load_file(given / "model.safetensors")
    state["fc.bias"] = state["fc.bias"] + 0.01
    save_file(state, tmp_path / "other.safetensors")
    spec = tmp_path / "broken.toml"
    spec.write_text(
        (given / "sweep.toml").read_text().replace("steps = 24,", "steps = 24, lr = 1e30,")
    )
    with pytest.raises(SystemExit) as ended:
        main(words(given, out, model=tmp_path / "other.safetensors", spec=spec))
    said = capsys.readouterr()
    assert ended.value.code == 3
    assert f"is in {out / 'previous-1'} now" in said.err
    assert "Not repaired: no defense ran." in said.out
    assert "weight_decay finished no trial: all 2 trials failed, with ArithmeticError" in said.out
    assert not (out / "repaired.safetensors").exists()
    assert json.loads((out / "choice.json").read_text())["verdict"] == "nothing ran"
    assert "no defense ran" in (out / "report.html").read_text()
    assert (out / "previous-1" / "choice.json").read_bytes() == before
    assert sorted(p.name for p in (out / "previous-1").iterdir()) == [
        "artifacts",
        *RESULTS,
        "sweep.db",
    ]


@pytest.fixture
def sweep() -> Sweep:
    return tiny_sweep.sweep()


def left(out: Path, sweep: Sweep, run: str | None = None) -> None:
    """What a run of this sweep leaves, as far as it matters."""
    out.mkdir()
    with Store.open(f"sqlite:///{out}/sweep.db") as store:
        store.add_sweep("defend", {"victims": [v.id for v in sweep.victims]})
    (out / "artifacts").mkdir()
    for name in RESULTS:
        (out / name).write_text(json.dumps({"run": run or run_of(sweep)}))


def other_model(sweep: Sweep) -> Sweep:
    return replace(sweep, victims=tuple(replace(v, seed=99) for v in sweep.victims))


def test_the_same_run_goes_on_with_what_it_left(sweep: Sweep, tmp_path: Path) -> None:
    left(tmp_path / "out", sweep)
    before = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert settle(tmp_path / "out", sweep, run_of(sweep), run_of(sweep)) is None
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == before


def test_where_the_files_lie_and_how_fast_they_run_makes_no_other_run(sweep: Sweep) -> None:
    moved = replace(sweep.victims[0].training, params={"weights": "/a"}, files={"weights": "3f"})
    here, there = (
        replace(
            sweep,
            victims=(replace(sweep.victims[0], training=replace(moved, params={"weights": p})),),
        )
        for p in ("/a", "/b")
    )
    assert run_of(here) == run_of(there) != run_of(sweep)
    assert run_of(replace(sweep, compute=replace(sweep.compute, workers=7))) == run_of(sweep)
    assert run_of(replace(sweep, seeds=(5,))) != run_of(sweep)


def test_another_sweep_on_the_same_model_sets_results_aside_and_keeps_the_records(
    sweep: Sweep, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    left(out, sweep)
    other = replace(sweep, rule="last_before_delta")
    assert settle(out, other, run_of(other), run_of(sweep)) == out / "previous-1"
    assert sorted(p.name for p in out.iterdir()) == ["artifacts", "previous-1", "sweep.db"]
    assert sorted(p.name for p in (out / "previous-1").iterdir()) == sorted(RESULTS)


@pytest.mark.slow
def test_a_sweep_that_was_edited_takes_the_place_of_the_first(
    given: Path, first: Path, tmp_path: Path
) -> None:
    out, spec = tmp_path / "out", tmp_path / "edited.toml"
    shutil.copytree(first, out)
    spec.write_text(
        (given / "sweep.toml")
        .read_text()
        .replace("limit = 2", "limit = 1")
        .replace("delta = 0.4", "delta = 0.3")
    )
    told = defend(out=out, **asked(given, spec=spec))
    assert told["set_aside"] == str(out / "previous-1") and told["delta"] == 0.3
    assert told["defenses"]["weight_decay"] == {"done": 1, "failed": 0}
    with Store.open(f"sqlite:///{out}/sweep.db", create=False) as store:
        # not made again
        assert len({r.trial.id for r in store.records() if r.trial.game.name == "self_poison"}) == 1


def test_another_model_sets_all_aside_each_time_in_a_folder_of_its_own(
    sweep: Sweep, tmp_path: Path
) -> None:
    out, other = tmp_path / "out", other_model(sweep)
    left(out, sweep)
    assert settle(out, other, run_of(other), run_of(sweep)) == out / "previous-1"
    assert [p.name for p in out.iterdir()] == ["previous-1"]
    assert settle(out, other, run_of(other), None) is None
    (out / "report.html").touch()
    assert settle(out, other, run_of(other), None) == out / "previous-2"


def test_a_run_on_another_model_that_is_going_on_is_not_set_aside(
    sweep: Sweep, tmp_path: Path
) -> None:
    out, other, driver = tmp_path / "out", other_model(sweep), Driver(60)
    left(out, sweep)
    before = sorted(p.name for p in out.iterdir())
    with Store.open(f"sqlite:///{out}/sweep.db") as store, driver.alive(store):
        assert store.claim("0" * 16, driver.name, 60)
        with pytest.raises(SpecError, match="another run on another model is going on"):
            settle(out, other, run_of(other), run_of(sweep))
        assert sorted(p.name for p in out.iterdir() if "sweep.db-" not in p.name) == before


def test_a_folder_that_cannot_be_written_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "images").mkdir()
    model = tmp_path / "m.safetensors"
    for out, says in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "below" / "it", "is a file"),
        (tmp_path / "images" / "out", "lies in --trusted"),
    ):
        with pytest.raises(SpecError, match=says):
            refuse(out, model, tmp_path / "images")
    with pytest.raises(SpecError, match="one of the files that --out gets"):
        refuse(tmp_path / "out", tmp_path / "out" / "repaired.safetensors", tmp_path / "images")
    refuse(
        tmp_path / "out",
        tmp_path / "out" / "previous-1" / "repaired.safetensors",
        tmp_path / "images",
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "images"]


@pytest.mark.parametrize("broken", ["not JSON", "[]", '{"run": 3}', '{"run": "of somebody else"}'])
def test_a_choice_that_is_not_this_runs_is_set_aside(
    given: Path, tmp_path: Path, broken: str
) -> None:
    from sweep.commands.outputs import earlier  # noqa: PLC0415

    (tmp_path / "choice.json").write_text(broken)
    assert earlier(tmp_path) in (None, "of somebody else")


def test_refused_input_leaves_an_earlier_run_as_it_was(
    given: Path, tmp_path: Path, sweep: Sweep
) -> None:
    left(tmp_path / "out", sweep)
    before = {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    with pytest.raises(SpecError):
        defend(out=tmp_path / "out", **asked(given, model=tmp_path / "bad.safetensors"))
    assert {p: p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()} == before


def test_python_prints_nothing(
    given: Path, first: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(first, tmp_path / "out")
    torch.set_num_threads(1)
    defend(out=tmp_path / "out", **asked(given))
    assert capfd.readouterr() == ("", "")
