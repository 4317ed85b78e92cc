"""Tiny ImageNet as its archive has it, and with validation images sorted into classes."""

from pathlib import Path

import pytest
from pictures import write

from trials.datasets.tiny_imagenet import load
from trials.spec import SpecError

CLASSES = ("n01443537", "n01629819", "n02058221")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training images a class, and validation images in another order than the classes."""
    top = tmp_path / "set" / "tiny-imagenet-200"
    for red, name in enumerate(CLASSES):
        for i in range(2):
            write(top / "train" / name / "images" / f"{name}_{i}.JPEG", (50 * red, 0, 0), (64, 64))
        (top / "train" / name / f"{name}_boxes.txt").write_text("0\t0\t63\t63\n")
    rows = []
    for i, label in enumerate((2, 0, 1, 0)):
        write(top / "val" / "images" / f"val_{i}.JPEG", (50 * label, 0, 0), (64, 64))
        rows.append(f"val_{i}.JPEG\t{CLASSES[label]}\t0\t0\t63\t63\n")
    (top / "val" / "val_annotations.txt").write_text("".join(rows))
    (top / "wnids.txt").write_text("\n".join(reversed(CLASSES)))
    return tmp_path / "set"


def test_reads_the_archives_layout(root: Path) -> None:
    for place in (root, root / "tiny-imagenet-200"):
        images = load("train", root=str(place))
        assert images.names == CLASSES and images.y.tolist() == [0, 0, 1, 1, 2, 2]
        assert images.x.shape == (6, 3, 64, 64) and (images.pad, images.flip) == (8, True)
    test = load("test", root=str(root), size=32)
    assert test.y.tolist() == [2, 0, 1, 0] and test.x.shape == (4, 3, 32, 32)
    reds = test.x[:, 0, 16, 16].float()
    assert (reds - 50 * test.y).abs().max() < 3


def test_reads_validation_images_in_class_folders(root: Path) -> None:
    val = root / "tiny-imagenet-200" / "val"
    (val / "val_annotations.txt").unlink()
    for red, name in enumerate(CLASSES):
        write(val / name / "images" / "0.JPEG", (50 * red, 0, 0), (64, 64))
    assert load("test", root=str(root)).y.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("", "holds no rows"),
        ("val_9.JPEG\tn01443537\n", "line 1 gives 'val_9.JPEG' the class 'n01443537'"),
        ("val_0.JPEG\tn00000000\n", "that image or that class is not there"),
        (None, "has neither val_annotations.txt nor the folder 'n01443537'"),
    ],
)
def test_refuses_other_labels(root: Path, table: str | None, says: str) -> None:
    file = root / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    file.unlink()
    if table is not None:
        file.write_text(table)
    with pytest.raises(SpecError, match=says) as caught:
        load("test", root=str(root))
    assert "\n" not in str(caught.value)


def test_refuses_other_folders(root: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="has no folder 'train'"):
        load("train", root=str(tmp_path))
    (root / "tiny-imagenet-200" / "train" / "cats").mkdir()
    with pytest.raises(SpecError, match="holds the folder 'cats'"):
        load("train", root=str(root))
