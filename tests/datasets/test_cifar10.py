"""CIFAR-10 in its three forms, and what is refused."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pictures import png, write_parquet

from trials.datasets import _cifar_layouts
from trials.datasets.cifar10 import load
from trials.spec import SpecError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (50, 3, 32, 32), dtype=np.uint8)
Y = np.arange(50) % 10


def write_binary(root: Path) -> None:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for i in range(5):
        part = slice(10 * i, 10 * i + 10)
        rows = np.concatenate([Y[part, None].astype(np.uint8), X[part].reshape(10, -1)], axis=1)
        (folder / f"data_batch_{i + 1}.bin").write_bytes(rows.tobytes())
    (folder / "test_batch.bin").write_bytes(rows.tobytes())


def assert_whole(root: Path) -> None:
    images = load("train", root=str(root))
    assert np.array_equal(images.x.numpy(), X) and np.array_equal(images.y.numpy(), Y)
    assert (images.classes, len(images.names), images.pad, images.flip) == (10, 10, 4, True)


def test_reads_the_binary_version(tmp_path: Path) -> None:
    write_binary(tmp_path)
    assert_whole(tmp_path)
    assert_whole(tmp_path / "cifar-10-batches-bin")
    assert np.array_equal(load("test", root=str(tmp_path)).x.numpy(), X[40:])


@pytest.mark.parametrize(
    "name", ["train.parquet", "plain_text/train-00000-of-00001.parquet", "data/train.parquet"]
)
@pytest.mark.parametrize("column", ["img", "image"])
def test_reads_parquet(tmp_path: Path, name: str, column: str) -> None:
    write_parquet(tmp_path / name, X, Y, column)
    assert_whole(tmp_path)


def test_reads_parquet_shards_in_order(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train-00001-of-00002.parquet", X[20:], Y[20:])
    write_parquet(tmp_path / "train-00000-of-00002.parquet", X[:20], Y[:20])
    assert_whole(tmp_path)


def write_pickles(root: Path, monkeypatch: pytest.MonkeyPatch, publish: bool) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir()
    for i in range(5):
        part = slice(10 * i, 10 * i + 10)
        content = pickle.dumps(
            {"labels": Y[part].tolist(), "data": X[part].reshape(10, -1)}, protocol=2
        )
        (folder / f"data_batch_{i + 1}").write_bytes(content)
        if publish:
            digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
            monkeypatch.setitem(_cifar_layouts.CIFAR10.md5, f"data_batch_{i + 1}", digest)


def test_reads_the_python_version_if_its_sums_are_the_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pickles(tmp_path, monkeypatch, publish=True)
    assert_whole(tmp_path)


def test_never_opens_an_unknown_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pickles(tmp_path, monkeypatch, publish=False)
    with pytest.raises(SpecError, match="MD5"):
        load("train", root=str(tmp_path))


def test_even_a_known_pickle_may_name_nothing_but_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pickles(tmp_path, monkeypatch, publish=True)
    evil = b"cos\nsystem\n(S'true'\ntR."
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(evil)
    digest = hashlib.md5(evil, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(_cifar_layouts.CIFAR10.md5, "data_batch_1", digest)
    with pytest.raises(pickle.UnpicklingError, match="no array"):
        load("train", root=str(tmp_path))


def test_a_subset_is_stratified_and_grows_by_adding(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", X, Y)
    write_parquet(tmp_path / "test.parquet", X[:20], Y[:20])
    small, larger = (load("train", root=str(tmp_path), subset=n) for n in (23, 30))
    assert sorted(small.y.bincount().tolist()) == [2] * 7 + [3] * 3
    held = {image.numpy().tobytes() for image in larger.x}
    assert all(image.numpy().tobytes() in held for image in small.x)
    assert len(load("test", root=str(tmp_path), subset=10)) == 20
    with pytest.raises(SpecError, match="there are 50 training images"):
        load("train", root=str(tmp_path), subset=51)


def test_changed_bytes_are_not_served_from_the_cache(tmp_path: Path) -> None:
    write_parquet(tmp_path / "train.parquet", X, Y)
    before = load("train", root=str(tmp_path)).x.clone()
    write_parquet(tmp_path / "train.parquet", 255 - X, Y)
    assert torch.equal(load("train", root=str(tmp_path)).x, 255 - before)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("nothing", "holds no CIFAR-10 train images"),
        ("short", "not a multiple of 3073"),
        ("missing batch", "cannot read"),
        ("labels", "no labels in 0..9"),
        ("not parquet", "as Parquet"),
        ("columns", "needed: img"),
        ("size", "is 16x16, not 32x32"),
        ("pixels", "row 1"),
    ],
)
def test_refuses_in_one_line(tmp_path: Path, fault: str, says: str) -> None:
    if fault in ("short", "missing batch"):
        write_binary(tmp_path)
        file = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
        file.write_bytes(file.read_bytes()[:-1])
        if fault == "missing batch":
            file.unlink()
    file = tmp_path / "train.parquet"
    if fault == "labels":
        write_parquet(file, X, Y + 1)
    elif fault == "not parquet":
        file.write_bytes(b"PAR1 but no more")
    elif fault == "columns":
        pq.write_table(pa.table({"x": [1]}), file)
    elif fault == "size":
        write_parquet(file, X[:, :, :16, :16], Y)
    elif fault == "pixels":
        images = [{"bytes": b, "path": ""} for b in (png(X[0]), png(X[1])[:60])]
        pq.write_table(pa.table({"img": images, "label": [0, 1]}), file)
    with pytest.raises(SpecError, match=says) as caught:
        load("train", root=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_says_when_the_folder_or_the_variable_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="not a folder"):
        load("train", root="/no/such/folder")
    monkeypatch.delenv("POISONSWEEP_DATA", raising=False)
    with pytest.raises(SpecError, match="not set"):
        load("train")


def test_reads_the_real_test_images(cifar10_root: Path) -> None:
    images = load("test", root=str(cifar10_root))
    assert images.y.bincount().tolist() == [1000] * 10
    assert images.x.float().mean((0, 2, 3)) / 255 == pytest.approx([0.494, 0.485, 0.450], abs=0.01)


@pytest.mark.slow
def test_reads_the_real_training_images(cifar10_root: Path) -> None:
    images = load("train", root=str(cifar10_root))
    assert images.x.shape == (50000, 3, 32, 32) and images.y.bincount().tolist() == [5000] * 10


@pytest.mark.parametrize("size", [16, 8])
def test_smaller_images_are_means_over_squares(tmp_path: Path, size: int) -> None:
    write_binary(tmp_path)
    images, side = load("train", root=str(tmp_path), size=size), 32 // size
    assert images.x.shape == (50, 3, size, size) and images.x.is_contiguous()
    assert (images.pad, images.flip) == (size // 8, True)
    corner = X[7, :, side : 2 * side, :side].astype(np.float64).mean((1, 2))
    assert np.abs(images.x[7, :, 1, 0].numpy() - corner).max() <= 0.5
    assert np.array_equal(load("train", root=str(tmp_path), size=32).x.numpy(), X)


def test_a_size_that_cannot_be_averaged_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"size must be one of 32, 16, 8, got 20\."):
        load("train", root=str(tmp_path), size=20)


def test_a_long_tail_is_cut_out_of_the_subset(tmp_path: Path) -> None:
    write_binary(tmp_path)
    sizes = [3, 2, 2, 1, 1, 1, 1, 1, 1, 1]  # of three each, the last keeps a tenth, one at least
    tailed = load("train", root=str(tmp_path), subset=30, imbalance=0.1)
    assert np.bincount(tailed.y.numpy(), minlength=10).tolist() == sizes
    assert set(tailed.y[:1].tolist()) == {0} and len(load("test", root=str(tmp_path))) == 10
    assert len(load("test", root=str(tmp_path), imbalance=0.1)) == 10
