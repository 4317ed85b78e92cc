"""STL-10's binary files, written small, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from trials.datasets.stl10 import load
from trials.spec import SpecError

X = np.random.default_rng(0).integers(0, 256, (20, 3, 96, 96), dtype=np.uint8)
Y = np.arange(20) % 10


def write(folder: Path, split: str = "train") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}_X.bin").write_bytes(X.transpose(0, 1, 3, 2).tobytes())  # column by column
    (folder / f"{split}_y.bin").write_bytes((Y + 1).astype(np.uint8).tobytes())


@pytest.mark.parametrize("inner", ["stl10_binary", "."])
def test_reads_the_files_of_torchvision(tmp_path: Path, inner: str) -> None:
    write(tmp_path / inner)
    images = load("train", root=str(tmp_path))
    assert np.array_equal(images.x.numpy(), X) and np.array_equal(images.y.numpy(), Y)
    assert (images.classes, images.names[9], images.pad, images.flip) == (10, "truck", 12, True)


def test_smaller_images_are_means_of_squares(tmp_path: Path) -> None:
    write(tmp_path, "test")
    images = load("test", root=str(tmp_path), size=32)
    means = X.reshape(20, 3, 32, 3, 32, 3).mean((3, 5))
    assert images.x.shape == (20, 3, 32, 32) and np.abs(images.x.numpy() - means).max() <= 0.51
    with pytest.raises(SpecError, match="size must be one of 96, 48, 32, 24"):
        load("test", root=str(tmp_path), size=33)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("train_X.bin", None, "is not there"),
        ("train_y.bin", None, "is not there"),
        ("train_X.bin", b"short", "has 5 bytes, needed are 27648 for each of 20 labels"),
        ("train_y.bin", b"\0" * 20, "no labels in 1..10"),
        ("train_y.bin", b"", "no labels in 1..10"),
        ("train_y.bin", b"\x01" * 19, "each of 19 labels"),
    ],
)
def test_refuses_in_one_line(tmp_path: Path, file: str, content: bytes | None, says: str) -> None:
    write(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(SpecError, match=says) as caught:
        load("train", root=str(tmp_path))
    assert "\n" not in str(caught.value)
