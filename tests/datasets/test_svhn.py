"""SVHN's MATLAB files, written small, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from trials.datasets.svhn import load
from trials.spec import SpecError

X = np.random.default_rng(0).integers(0, 256, (30, 3, 32, 32), dtype=np.uint8)
Y = np.arange(30) % 10


def write(file: Path, x: Any = None, y: Any = None, **how: Any) -> None:
    images = X.transpose(2, 3, 1, 0) if x is None else x
    labels = np.where(Y == 0, 10, Y)[:, None] if y is None else y
    savemat(file, {"X": images, "y": labels}, **how)


@pytest.mark.parametrize("compressed", [True, False])
def test_reads_the_files_of_torchvision(tmp_path: Path, compressed: bool) -> None:
    write(tmp_path / "train_32x32.mat", do_compression=compressed)
    images = load("train", root=str(tmp_path))
    assert np.array_equal(images.x.numpy(), X) and np.array_equal(images.y.numpy(), Y)
    assert (images.classes, images.names[3], images.pad, images.flip) == (10, "3", 4, False)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"x": np.zeros((32, 32, 3, 30))}, "type float64"),
        ({"x": np.zeros((16, 32, 3, 30), np.uint8)}, "needed are 32 x 32 x 3 x n"),
        ({"y": np.ones((29, 1))}, "29 labels"),
        ({"y": np.full((30, 1), 11)}, "not in 0..10"),
        ({"y": np.array(["words"])}, "cannot read"),
        ({"y": {"a": 1}}, "cannot read|labels"),
    ],
)
def test_refuses_other_images(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    write(tmp_path / "test_32x32.mat", **changed)
    with pytest.raises(SpecError, match=says) as caught:
        load("test", root=str(tmp_path))
    assert "\n" not in str(caught.value)


def test_refuses_what_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="is not there"):
        load("train", root=str(tmp_path))
    file = tmp_path / "train_32x32.mat"
    write(file)
    whole = file.read_bytes()
    newer = b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM"
    for content in (b"", b"no file of MATLAB", whole[:200], whole[:-100], newer):
        file.write_bytes(content)
        with pytest.raises(SpecError, match=r"cannot read|needed are") as caught:
            load("train", root=str(tmp_path))
        assert "\n" not in str(caught.value)
