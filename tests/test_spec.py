"""The shared words: ids, seeds, JSON."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from trials import digests
from trials.digests import digest_of
from trials.json_forms import record_from_json, to_json, victim_from_json
from trials.spec import (
    Filtering,
    MethodConfig,
    Point,
    Range,
    Record,
    Trial,
    Victim,
    canonical,
    content_id,
    derive,
)

VICTIM = Victim(
    dataset=MethodConfig("digits", {"size": 16}),
    model=MethodConfig("resnet18", {"width": 8}),
    attacks=(MethodConfig("badnets", {"m": 50, "alpha": 1.0}),),
    training=MethodConfig("given", {"weights": "/a/w.pt"}, {"weights": "0123"}),
    seed=3,
)
TRIAL = Trial(
    game=MethodConfig("tuning", {"delta": 0.02}),
    victim=VICTIM,
    method=MethodConfig("nad", {"lr": 0.01, "steps": 5}),
    trusted=0.05,
    seed=1,
    self_poisoning=MethodConfig("self_poison", {"copies": 3}),
)


def test_an_id_does_not_depend_on_the_order_of_settings() -> None:
    turned = MethodConfig("nad", {"steps": 5, "lr": 0.01})
    assert replace(TRIAL, method=turned).id == TRIAL.id
    assert len(TRIAL.id) == 16 and int(TRIAL.id, 16) >= 0


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"trusted": 0.06},
        {"method": None},
        {"self_poisoning": None},
        {"game": MethodConfig("robustness")},
        {"method": MethodConfig("nad", {"lr": 0.01, "steps": 6})},
        {"victim": replace(VICTIM, seed=4)},
        {"victim": replace(VICTIM, reserve=0.1)},
        {"victim": replace(VICTIM, attacks=())},
    ],
)
def test_whatever_decides_the_outcome_changes_the_id(change: dict[str, object]) -> None:
    assert replace(TRIAL, **change).id != TRIAL.id  # type: ignore[arg-type]


def test_a_files_content_enters_the_id_and_its_path_does_not() -> None:
    moved = replace(
        VICTIM, training=MethodConfig("given", {"weights": "/b/other.pt"}, {"weights": "0123"})
    )
    edited = replace(
        VICTIM, training=MethodConfig("given", {"weights": "/a/w.pt"}, {"weights": "4567"})
    )
    assert moved.id == VICTIM.id != edited.id


def test_ids_are_the_same_in_every_process() -> None:
    code = (
        "from trials.spec import *; print(content_id({'b': [1, 1.5, 'ü'], 'a': None}), "
        "derive(7, 'x', 2))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert out == [content_id({"a": None, "b": [1, 1.5, "ü"]}), str(derive(7, "x", 2))]


def test_canonical_json_tells_values_apart_and_refuses_nan() -> None:
    assert len({canonical(v) for v in (1, 1.0, "1", True, None, [1])}) == 6
    with pytest.raises(ValueError, match="JSON|float"):
        canonical(float("nan"))


@pytest.mark.parametrize("trial", [TRIAL, replace(TRIAL, method=None, self_poisoning=None)])
def test_a_record_survives_json(trial: Trial) -> None:
    record = Record(
        trial=trial,
        status="done",
        metrics={"asr": 0.25},
        curve=(Point(10, 0.9, 0.5, 1.5, {"loss": 2.0}), Point(20, 0.91, 0.25)),
        seconds=2.5,
        provenance={"torch": "2"},
    )
    assert record_from_json(json.loads(json.dumps(to_json(record)))) == record
    failed = Record(trial=trial, status="failed", error="Traceback ...")
    assert record_from_json(json.loads(json.dumps(to_json(failed)))) == failed


def test_derived_seeds_are_in_range_and_all_different() -> None:
    seeds = [
        derive(s, stage, i) for s in range(5) for stage in ("attack", "weights") for i in range(20)
    ]
    assert len(set(seeds)) == len(seeds) and all(0 <= s < 2**63 for s in seeds)
    assert derive(1, "a") == derive(1, "a") != derive(1, "a", "b")
    assert derive(1, "a", "b") != derive(1, "ab") and derive(1, 2) != derive(1, "2")


def test_a_range_says_what_it_holds() -> None:
    half_open = Range(0, 1, low_open=True)
    assert [v in half_open for v in (-1, 0, 0.5, 1, 2, float("nan"))] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert (str(half_open), str(Range(1)), str(Range())) == ("(0, 1]", "[1, inf)", "(-inf, inf)")


def test_a_folders_digest_sees_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = digest_of(tmp_path)
    (tmp_path / "a").write_text("2")
    second = digest_of(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, digest_of(tmp_path), digest_of(tmp_path / "b")}) == 4


def test_the_shared_words_load_nothing_but_the_standard_library() -> None:
    code = (
        "import sys, trials.spec, trials.catalog; print(*{'torch', 'numpy', 'ray', "
        "'pandas'} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "\n"
    )


def test_a_small_folders_digest_is_what_it_always_was(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a").write_text("1")
    (tmp_path / "sub" / "b").write_text("22")
    assert digest_of(tmp_path) == "d435deb927231f51"
    assert digest_of(tmp_path / "sub" / "b") == "785f3ec7eb32f30b"


def large(folder: Path, size: int = 100) -> str:
    """The digest of a folder, as if more than two files and 10 bytes were many."""
    folder.mkdir(exist_ok=True)
    for name in "abc":
        if not (folder / name).exists():
            (folder / name).write_bytes(b"0" * size)
    return digest_of(folder, whole_below=10, few=2)


def test_a_folder_of_few_large_files_is_known_by_all_its_bytes(tmp_path: Path) -> None:
    large(tmp_path, 10**6)
    first = digest_of(tmp_path, whole_below=10, few=3)
    with (tmp_path / "a").open("r+b") as stream:
        stream.seek(300_000)
        stream.write(b"1")
    assert digest_of(tmp_path, whole_below=10, few=3) != first


@pytest.mark.parametrize(
    ("size", "at"), [(100, 50), (10**6, 7), (10**6, 500_000), (10**6, 999_999)]
)
def test_a_large_folder_is_known_by_a_sample_of_its_bytes(
    size: int, at: int, tmp_path: Path
) -> None:
    first = large(tmp_path, size)
    with (tmp_path / "b").open("r+b") as stream:
        stream.seek(at)
        stream.write(b"1")
    assert large(tmp_path, size) != first


def test_a_copy_of_a_large_folder_is_the_same(tmp_path: Path) -> None:
    first = large(tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    for file in (tmp_path / "there").iterdir():
        os.utime(file, (1, 1))
    assert large(tmp_path / "there") == first


def test_of_very_many_files_some_are_looked_into_from_the_first_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_SAMPLED", 2)
    first, seen = large(tmp_path), []
    for name in "abc":
        (tmp_path / name).write_bytes(b"1" * 100)
        seen.append(large(tmp_path) != first)
        (tmp_path / name).write_bytes(b"0" * 100)
    assert seen == [True, False, True]


def test_the_roles_of_a_trial_are_those_that_it_has() -> None:
    poisoning, looks = MethodConfig("self_poison"), MethodConfig("neural_cleanse")
    plain = replace(TRIAL, method=None, self_poisoning=None)
    assert plain.roles == {}
    full = replace(plain, method=MethodConfig("nad"), self_poisoning=poisoning, detector=looks)
    wanted = {"defense": MethodConfig("nad"), "self_poisoning": poisoning, "detector": looks}
    assert full.roles == wanted
    filtering = Filtering(method=MethodConfig("screen"), reject=0.4, trusted=0.1, seed=0)
    filtered = replace(plain, victim=replace(plain.victim, filter=filtering))
    assert filtered.roles == {"filter": MethodConfig("screen")}


def test_a_victim_without_a_filter_is_stored_and_named_as_before() -> None:
    plain = VICTIM
    assert "filter" not in plain.identity() and "filter" not in to_json(plain)
    method = MethodConfig("screen", {"share": 0.1})
    found = {plain.id}
    for reject, trusted, seed in ((0.4, 0.1, 0), ("own", 0.1, 0), (0.4, 0.2, 0), (0.4, 0.1, 1)):
        filtering = Filtering(method=method, reject=reject, trusted=trusted, seed=seed)
        filtered = replace(plain, filter=filtering)
        assert victim_from_json(to_json(filtered)) == filtered
        found.add(filtered.id)
    assert len(found) == 5
    assert victim_from_json(to_json(plain)) == plain
