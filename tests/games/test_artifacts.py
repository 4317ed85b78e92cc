"""Artifacts are whole or absent, the first writer's stays, and damage is one clear failure."""

import json
import os
import time
from pathlib import Path

import pytest
import torch

from trials.spec import SpecError
from trials.storage.artifacts import Artifacts
from trials.storage.blobs import STALE

WEIGHTS = {"a": torch.arange(12.0).reshape(3, 4), "n": torch.tensor(3)}


@pytest.fixture
def kept(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def test_what_was_saved_is_loaded(kept: Artifacts) -> None:
    kept.save("k", WEIGHTS, {"asr": 0.5})
    tensors, facts = kept.load("k")
    assert facts["asr"] == 0.5
    assert tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(tensors[k], WEIGHTS[k]) for k in WEIGHTS)


def test_channels_last_weights_come_back_equal(kept: Artifacts) -> None:
    weight = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    kept.save("k", {"w": weight}, {})
    assert torch.equal(kept.load("k")[0]["w"], weight)


def test_the_second_writer_keeps_the_first_artifact(kept: Artifacts) -> None:
    kept.save("k", WEIGHTS, {"writer": 1})
    kept.save("k", {"a": torch.zeros(1)}, {"writer": 2})
    assert kept.load("k")[1]["writer"] == 1


def test_nothing_but_the_artifact_is_left_behind(kept: Artifacts) -> None:
    kept.save("k", WEIGHTS, {})
    kept.save("k", WEIGHTS, {})
    assert [p.name for p in kept.root.iterdir()] == ["k"]


def test_a_writer_that_fails_leaves_nothing(
    kept: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "rename", _full)
    with pytest.raises(OSError, match="no space"):
        kept.save("k", WEIGHTS, {})
    assert not kept.has("k")
    assert not list(kept.root.iterdir())


def _full(*_: object) -> None:
    raise OSError("no space left on device")


@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_damaged_weights_are_refused(kept: Artifacts, harm: str) -> None:
    kept.save("k", WEIGHTS, {})
    file = kept.root / "k" / "weights.safetensors"
    blob = bytearray(file.read_bytes())
    blob[-1] ^= 1
    file.write_bytes({"flip": bytes(blob), "cut": bytes(blob[:-5]), "empty": b""}[harm])
    with pytest.raises(ValueError, match="damaged"):
        kept.load("k")


@pytest.mark.parametrize("text", ["", "{", json.dumps({"asr": 1})])
def test_damaged_facts_are_refused(kept: Artifacts, text: str) -> None:
    kept.save("k", WEIGHTS, {})
    (kept.root / "k" / "facts.json").write_text(text)
    with pytest.raises(ValueError, match="damaged"):
        kept.load("k")


def test_an_absent_artifact_is_an_os_error(kept: Artifacts) -> None:
    assert not kept.has("k")
    with pytest.raises(OSError, match="facts"):
        kept.load("k")


def test_a_folder_that_cannot_be_made_is_the_users_to_fix(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="--artifacts"):
        Artifacts(tmp_path / "file" / "artifacts").check()


def test_what_a_killed_writer_left_is_dropped_once_it_is_old(kept: Artifacts) -> None:
    kept.save("k", WEIGHTS, {})
    for name, age in ((".part-old", STALE + 60), (".part-new", 60)):
        (kept.root / name).mkdir()
        (kept.root / name / "weights.safetensors").write_bytes(b"half")
        os.utime(kept.root / name, (time.time() - age,) * 2)
    kept.check()
    assert sorted(p.name for p in kept.root.iterdir()) == [".part-new", "k"]
