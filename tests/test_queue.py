"""The queue of measurements: each piece is a sweep, runs within a time, and leaves records."""

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from benchmarks import queue
from benchmarks._shared import ROOT
from results.export.read_back import from_file
from results.store import Store
from sweep.spec import sweep_file
from trials.spec import SpecError


def test_every_piece_that_waits_for_nothing_is_a_sweep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in ("cifar10", "imagenette2-320"):
        (tmp_path / folder).mkdir()
    for weights in ("lite0.safetensors", "vit_b_16-c867db91.pth"):  # read once a piece runs
        (tmp_path / weights).touch()
    monkeypatch.setenv("POISONSWEEP_DATA", str(tmp_path))
    found, gpu = queue.pieces(queue.QUEUE)
    assert gpu and len({p.file for p in found}) == len(found) > 30
    assert all(p.minutes > 0 and p.gives for p in found)
    waiting = [p for p in found if p.waits]
    for piece in found:
        if piece not in waiting and not piece.program:
            assert piece.sweep().victims, piece.name
    assert {p.name for p in waiting} == {"throughput"}
    programs = {p.name: p.program for p in found if p.program}
    assert "large-inputs" in programs and "--only 13 " in programs["blind-13"]
    assert all(p.startswith("blind-") or p == "large-inputs" for p in programs)
    named = {p["sweep"] for p in sweep_file.table_of(queue.QUEUE)["piece"] if "sweep" in p}
    assert all((ROOT / place).is_file() for place in named)
    leaks = [p.sweep() for p in found if p.name.startswith("leak-")]
    assert [{v.seed for v in s.victims} for s in leaks] == [{0}, {1}, {2}, {3}, {4}]
    (wanet,) = [p.sweep() for p in found if p.name == "table3-wanet"]
    assert {a.name for v in wanet.victims for a in v.attacks} == {"wanet"}


# the time may be over in the middle of opening a file
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_the_next_pieces_run_within_the_time_and_their_files_are_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, gpu = queue.pieces(queue.TINY_QUEUE)
    results = tmp_path / "results"
    assert not gpu and [bool(p.waits) for p in found] == [False, False, True]
    assert queue.run_next(found, 1, tmp_path, results) == {}
    assert queue.run_next(found[:1], queue.LEAST + 1e-3, tmp_path, results, only="other") == {}
    stopped = queue.run(found[0], 0.01, tmp_path, results)
    assert stopped is None and not results.exists()
    assert "stopped after the 0.01 s of --for, with 1 of 1 trials left" in capsys.readouterr().out
    assert queue.run_next(found, 600, tmp_path, results) == {"digits-0": 1, "digits-1": 1}
    assert queue.run_next(found, 600, tmp_path, results) == {}
    exported = from_file(results / "digits-1.csv")
    with Store.read(f"sqlite:///{tmp_path}/digits-1.db") as store:
        assert exported.records == store.records("digits-1")
    assert exported.sweep == "digits-1"
    queue.listed(found, results)
    said = capsys.readouterr().out
    assert "0 of 3 pieces are open, about 0 minutes; 1 wait for something else." in said
    assert "waits for the file examples/none-yet.toml" in said


@pytest.mark.slow
def test_pieces_run_side_by_side(tmp_path: Path) -> None:
    found, _ = queue.pieces(queue.TINY_QUEUE)
    results = tmp_path / "results"
    able = queue.wanted(found, results, "digits-*")
    assert [p.name for p in able] == ["digits-0", "digits-1"]
    places = {"--queue": queue.TINY_QUEUE, "--work": tmp_path, "--results": results}
    words = list(map(str, chain.from_iterable(places.items())))
    queue.run_side_by_side(able, 2, 600, words)
    for piece in able:
        (record,) = from_file(results / piece.file).records
        assert record.status == "done"
    assert queue.wanted(found, results) == []
    assert queue.wanted(found, results, "digits-0") == able[:1]  # by its name, done or not
    with pytest.raises(SpecError, match="these failed: digits-0, digits-1"):
        queue.run_side_by_side(able, 2, 600, ["--no-such-word"])


def a_program(words: str) -> queue.Piece:
    program = f"benchmarks.large_inputs --models torchvision:mobilenet_v3_small {words}"
    file = "gpu-large-inputs.json"
    return queue.Piece(name="p", gives="", file=file, minutes=1, table=None, program=program)


def test_a_program_that_fails_or_takes_too_long_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SpecError, match="--sise 32 ended with code 2"):
        queue.run(a_program("--sise 32"), 600, tmp_path, tmp_path / "results")
    nothing = replace(a_program(""), program="json.tool --help")
    with pytest.raises(SpecError, match="json.tool --help ended without writing gpu-large-inputs"):
        queue.run(nothing, 600, tmp_path, tmp_path / "results")
    (tmp_path / "gpu-large-inputs.more.csv").touch()  # of an earlier try
    assert queue.run(a_program(""), 0.01, tmp_path, tmp_path / "results") is None
    assert "stopped after 0.01 s, and nothing is kept" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_program_runs_and_its_figures_are_kept(tmp_path: Path) -> None:
    asked = "--size 32 --batch 4 --rounds 2"
    assert queue.run(a_program(asked), 600, tmp_path, tmp_path / "results") == 1
    told = json.loads((tmp_path / "results" / "gpu-large-inputs.json").read_text())
    (steps,) = told["images_a_second"].values()
    assert told["size"] == 32 and steps["fine_tuning"]["bf16"]["ours"] > 0


def test_a_queue_of_two_pieces_with_one_name_is_refused(tmp_path: Path) -> None:
    text = queue.TINY_QUEUE.read_text(encoding="utf-8")
    (tmp_path / "q.toml").write_text(text.replace("digits-{seed}", "digits"), encoding="utf-8")
    with pytest.raises(SpecError, match="twice"):
        queue.pieces(tmp_path / "q.toml")
    assert (ROOT / "benchmarks" / "queue.toml").is_file()
