"""Blind choices of several processes: each defends one victim, and one file takes them all."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import blind, blind_filter, prediction
from results.comparison.prediction import Pair
from sweep.spec import sweep_file
from trials.spec import SpecError

LINE = blind.Line(
    victim="0123456789012345",
    attack="badnets",
    victim_seed=0,
    cda=0.9,
    asr=1.0,
    chosen="fst",
    verdict="repaired",
    eta_promised=0.03,
    eta_own_trigger=None,
    eta_real=0.02,
    cda_loss_real=0.01,
    interval_low=None,
    interval_high=None,
    seconds=60.0,
    minutes=6.0,
    spec="default",
    trusted="held out",
    delta=0.02,
    rule="worst_trigger_within_delta",
)
PAIR = Pair(
    victim=LINE.victim,
    attack="badnets",
    victim_seed=0,
    trusted=0.05,
    scheme="distilled",
    kinds="patch+warp",
    defense="fst",
    family="head_shift",
    settings="lr = 0.1",
    step=200,
    eta_copy_worst=0.03,
    eta_copy_mean=0.02,
    eta_real=0.02,
    cda_loss_copy=0.01,
    cda_loss_given=0.01,
    cda_loss_real=0.01,
    n_real=9000,
)


def test_what_processes_wrote_is_taken_into_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(blind, "FILE", tmp_path / "blind.csv")
    monkeypatch.setattr(prediction, "FILE", tmp_path / "pairs.csv")
    for number, victim in enumerate(["0123456789012345", "f123456789012345"]):
        out = tmp_path / f"gpu-blind-{number}.csv"
        blind.add(blind.frame_of([replace(LINE, victim=victim)]), out)
        prediction.keep([replace(PAIR, victim=victim)], blind.pairs_of(out))
    for number in (0, 1, 1):  # a second time adds nothing
        blind.take(tmp_path / f"gpu-blind-{number}.csv")
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "blind.csv has 2 lines now",
        "pairs.csv has 2 pairs now",
    ]
    none_learned = tmp_path / "gpu-blind-2.csv"
    blind.frame_of([]).to_csv(none_learned, index=False)
    blind.take(none_learned)
    assert "gpu-blind-2.csv has no lines" in capsys.readouterr().out
    taken = pd.read_csv(tmp_path / "blind.csv", dtype={"victim": str})
    assert list(taken["victim"]) == ["0123456789012345", "f123456789012345"]


def test_one_victim_of_a_file_is_defended_alone() -> None:
    sweep = sweep_file.read(blind.TINY_SWEEP)
    number = len(sweep.victims) - 1
    assert blind._only([sweep], number).victims == (sweep.victims[number],)
    with pytest.raises(SpecError, match=f"--only must be from 0 to {number}, got -1"):
        blind._only([sweep], -1)


def test_a_set_that_holds_the_trusted_images_is_not_filtered() -> None:
    sweep = sweep_file.read(blind.TINY_SWEEP)  # its victim has no reserve
    with pytest.raises(SpecError, match="write reserve under"):
        next(blind_filter.lines(sweep, "sqlite:///:memory:"))


def test_images_that_a_filter_kept_are_told_by_their_files(tmp_path: Path) -> None:
    kept = tmp_path / "kept.txt"
    assert blind_filter.kept_of(kept, 3).tolist() == [True] * 3  # nothing ran
    kept.write_text("0001/000002.png\n0000/000000.png\n")
    assert blind_filter.kept_of(kept, 4).tolist() == [True, False, True, False]
