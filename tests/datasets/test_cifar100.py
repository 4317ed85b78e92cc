"""CIFAR-100 in its three forms, and what is refused."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from pictures import write_parquet

from trials.datasets import _cifar_layouts
from trials.datasets.cifar100 import load
from trials.spec import SpecError

X = np.random.default_rng(0).integers(0, 256, (200, 3, 32, 32), dtype=np.uint8)
Y = np.arange(200) % 100


def write_binary(root: Path) -> Path:
    folder = root / "cifar-100-binary"
    folder.mkdir()
    heads = np.stack([Y // 5, Y], axis=1).astype(np.uint8)  # coarse, then fine
    rows = np.concatenate([heads, X.reshape(200, -1)], axis=1)
    (folder / "train.bin").write_bytes(rows.tobytes())
    (folder / "test.bin").write_bytes(rows[:10].tobytes())
    return folder


def assert_whole(root: Path) -> None:
    images = load("train", root=str(root))
    assert np.array_equal(images.x.numpy(), X) and np.array_equal(images.y.numpy(), Y)
    assert (images.classes, len(set(images.names)), images.pad, images.flip) == (100, 100, 4, True)
    assert (images.names[0], images.names[99]) == ("apple", "worm")


def test_reads_the_binary_version(tmp_path: Path) -> None:
    folder = write_binary(tmp_path)
    assert_whole(tmp_path)
    assert_whole(folder)
    assert len(load("test", root=str(tmp_path))) == 10


@pytest.mark.parametrize("label", ["fine_label", "label"])
def test_reads_parquet(tmp_path: Path, label: str) -> None:
    write_parquet(tmp_path / "cifar100" / "train-00000-of-00001.parquet", X, Y, label=label)
    assert_whole(tmp_path)


def test_reads_the_python_version_if_its_sum_is_the_published_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = pickle.dumps({"fine_labels": Y.tolist(), "data": X.reshape(200, -1)}, protocol=2)
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "cifar-100-python" / "train").write_bytes(content)
    with pytest.raises(SpecError, match="cifar100: .*MD5"):
        load("train", root=str(tmp_path))
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(_cifar_layouts.CIFAR100.md5, "train", digest)
    assert_whole(tmp_path)


def test_a_subset_takes_the_classes_in_turn(tmp_path: Path) -> None:
    write_binary(tmp_path)
    assert load("train", root=str(tmp_path), subset=100).y.bincount().tolist() == [1] * 100
    with pytest.raises(SpecError, match="there are 200 training images"):
        load("train", root=str(tmp_path), subset=201)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "holds no CIFAR-100 train images"),
        (b"x" * 9, "not a multiple of 3074"),
        (b"\xff" * 3074, "no labels in 0..99"),
    ],
)
def test_refuses_in_one_line(tmp_path: Path, content: bytes | None, says: str) -> None:
    if content:
        (tmp_path / "train.bin").write_bytes(content)
    with pytest.raises(SpecError, match=says) as caught:
        load("train", root=str(tmp_path))
    assert "\n" not in str(caught.value)
