"""Imagenette: its ten classes by name, whichever size is there, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from pictures import write

from trials.datasets.imagenette import load
from trials.spec import SpecError

# the order of the published names, by sorted WordNet id
NAMES = (
    "tench, English springer, cassette player, chain saw, church, French horn, garbage "
    "truck, gas pump, golf ball"
)
WNIDS = ["n01440764", "n02102040", "n02979186", "n03000684", "n03028079"]
WNIDS += ["n03394916", "n03417042", "n03425413", "n03445777", "n03888257"]


def fill(top: Path, red: int = 0) -> Path:
    """Two training images and one test image of each class; green is the class, blue the image."""
    for part, number in (("train", 2), ("val", 1)):
        for label, wnid in enumerate(WNIDS):
            for i in range(number):
                write(top / part / wnid / f"{i}.JPEG", (red, 20 * label, 100 * i))
    return top


def refused(root: Path, says: str, split: str = "train", **settings: Any) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        load(split, root=str(root), size=16, **settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_reads_ten_named_classes(tmp_path: Path) -> None:
    fill(tmp_path / "imagenette2-160")
    train, test = (load(s, root=str(tmp_path), size=16) for s in ("train", "test"))
    assert train.names == (*NAMES.split(", "), "parachute") and train.classes == 10
    assert train.y.tolist() == [i // 2 for i in range(20)] and test.y.tolist() == list(range(10))
    assert (train.x[:, 1].float().mean((1, 2)) - 20 * train.y).abs().max() < 3
    assert (train.pad, train.flip) == (2, True)


def test_the_largest_copy_that_is_there_is_read(tmp_path: Path) -> None:
    for red, name in ((50, "imagenette2-160"), (150, "imagenette2-320"), (250, "imagenette2")):
        fill(tmp_path / name, red)
        assert abs(int(load("test", root=str(tmp_path), size=16).x[0, 0, 8, 8]) - red) < 4
        assert abs(int(load("test", root=str(tmp_path / name), size=16).x[0, 0, 8, 8]) - red) < 4


def test_per_class_takes_the_first_training_images_and_leaves_the_test_set(tmp_path: Path) -> None:
    fill(tmp_path)
    some = load("train", root=str(tmp_path), size=16, per_class=1)
    # blue: image 0 of each
    assert some.y.tolist() == list(range(10)) and int(some.x[:, 2].max()) < 5
    assert len(load("test", root=str(tmp_path), size=16, per_class=1)) == 10


def test_refuses_other_classes(tmp_path: Path) -> None:
    fill(tmp_path)
    for part in ("train", "val"):
        (tmp_path / part / WNIDS[3]).rename(tmp_path / part / "n03000685")
    refused(tmp_path, "holds 10 classes, and 'n03000684' is missing.*dataset imagenet")
    for part in ("train", "val"):
        (tmp_path / part / "n03000685").rename(tmp_path / part / WNIDS[3])
        write(tmp_path / part / "n09999999" / "0.JPEG")
    refused(tmp_path, "holds 11 classes, and 'n09999999' is none of the ten")


def test_refuses_a_missing_folder_and_a_damaged_image(tmp_path: Path) -> None:
    refused(tmp_path / "none", "not a folder")
    refused(tmp_path, "no folder 'train'")
    fill(tmp_path / "imagenette2")
    file = tmp_path / "imagenette2" / "val" / WNIDS[9] / "0.JPEG"
    file.write_bytes(file.read_bytes()[:150])
    refused(tmp_path, r"n03888257/0\.JPEG", split="test")
