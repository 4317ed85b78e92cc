"""ImageNet's layout: order of the classes, crops, subsets that read nothing else, and what is
refused.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import write
from PIL import Image

from trials.datasets.imagenet import load
from trials.spec import SpecError

# not in alphabetical order here, so that the order must come from sorting
COLOURS = {"n02102040": (0, 200, 0), "n01440764": (200, 0, 0), "n03000684": (0, 0, 200)}
TRAIN, VAL = 4, 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes, told apart by colour; image i of a class is darker by 10 i."""
    for part, number in (("train", TRAIN), ("val", VAL)):
        for wnid, colour in COLOURS.items():
            for i in range(number):
                shade = tuple(max(c - 10 * i, 0) for c in colour)
                write(tmp_path / "in" / part / wnid / f"{wnid}_{i}.JPEG", shade, (60, 40))  # type: ignore[arg-type]
    return tmp_path / "in"


def refused(root: Path | str, says: str, split: str = "train", **settings: Any) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        load(split, root=str(root), **settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_labels_follow_the_sorted_wordnet_ids(root: Path) -> None:
    images = load("train", root=str(root), size=16)
    assert (
        images.names == ("n01440764", "n02102040", "n03000684") == tuple(sorted(COLOURS))
        and images.classes == 3
    )
    assert (
        images.y.tolist() == [0] * TRAIN + [1] * TRAIN + [2] * TRAIN
        and images.y.dtype == torch.int64
    )
    assert images.x.shape == (3 * TRAIN, 3, 16, 16) and images.x.dtype == torch.uint8
    assert images.x.float().mean((2, 3)).argmax(1).tolist() == images.y.tolist()


def test_the_test_images_are_those_of_val(root: Path) -> None:
    test = load("test", root=str(root), size=16)
    assert test.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert abs(int(test.x[1, 0, 8, 8]) - 190) <= 2


def test_training_shifts_by_an_eighth_and_mirrors(root: Path) -> None:
    for size, pad in ((32, 4), (16, 2)):
        images = load("train", root=str(root), size=size)
        assert (images.pad, images.flip) == (pad, True)


def test_is_resize_to_256_and_centre_crop_of_224(root: Path) -> None:
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(blocks).resize((400, 300), Image.Resampling.BICUBIC)
    # by content, not by ending
    picture.save(root / "val" / "n01440764" / "n01440764_0.JPEG", "PNG")
    mine = load("test", root=str(root)).x[0]
    wanted = picture.resize((341, 256), Image.Resampling.BILINEAR).crop((58, 16, 282, 240))
    apart = np.abs(mine.numpy().transpose(1, 2, 0).astype(int) - np.asarray(wanted).astype(int))
    assert mine.shape == (3, 224, 224) and apart.mean() < 1.5 and apart.max() < 25
    whole = np.asarray(picture.resize((224, 224))).astype(int)
    # the measure tells crops apart
    assert np.abs(whole - np.asarray(wanted).astype(int)).mean() > 10


def test_takes_the_first_classes_and_looks_into_no_other(root: Path) -> None:
    (root / "train" / "n03000684" / "n03000684_0.JPEG").write_bytes(b"damaged")
    images = load("train", root=str(root), size=16, classes=2)
    assert (
        images.names == ("n01440764", "n02102040")
        and images.y.tolist() == [0] * TRAIN + [1] * TRAIN
    )
    assert load("test", root=str(root), size=16, classes=2).y.tolist() == [0, 0, 1, 1]
    refused(root, "n03000684_0.JPEG", size=16)


def test_takes_the_first_images_of_each_class_and_reads_no_other(root: Path) -> None:
    (root / "train" / "n01440764" / "n01440764_2.JPEG").write_bytes(b"damaged")
    whole = load("test", root=str(root), size=16, per_class=1)
    some = load("train", root=str(root), size=16, per_class=2)
    assert some.y.tolist() == [0, 0, 1, 1, 2, 2] and len(whole) == 3 * VAL
    assert abs(int(some.x[1, 0, 8, 8]) - 190) <= 2
    refused(root, "n01440764_2.JPEG", size=16, per_class=3)


def test_is_decoded_once_and_again_for_another_size(root: Path, cache_folder: Path) -> None:
    first = load("train", root=str(root), size=16)
    assert len(list(cache_folder.glob("imagenet-*.npy"))) == 1
    (file,) = cache_folder.glob("imagenet-*.npy")
    before = file.stat().st_mtime_ns
    assert (
        torch.equal(load("train", root=str(root), size=16).x, first.x)
        and file.stat().st_mtime_ns == before
    )
    load("train", root=str(root), size=8)
    load("train", root=str(root), size=16, per_class=1)
    assert len(list(cache_folder.glob("imagenet-*.npy"))) == 3


def test_changed_images_are_not_served_from_the_cache(root: Path) -> None:
    load("train", root=str(root), size=16)
    write(root / "train" / "n01440764" / "n01440764_0.JPEG", (0, 0, 0))
    assert int(load("train", root=str(root), size=16).x[0].max()) < 5


@pytest.mark.parametrize("classes", [1, 4])
def test_refuses_a_number_of_classes_that_is_not_there(root: Path, classes: int) -> None:
    refused(root, rf"classes must be 0 \(all\) or in 2\.\.3, got {classes}", classes=classes)


def test_refuses_folders_that_are_missing(root: Path, tmp_path: Path) -> None:
    refused("", "root is empty")
    refused(tmp_path / "none", "not a folder")
    refused(root / "train", "no folder 'train'")
    (root / "val").rename(root / "kept")
    refused(root, "no folder 'val'")
    (root / "val").mkdir()
    write(root / "val" / "ILSVRC2012_val_00000001.JPEG")  # as the archive unpacks
    refused(root, "val' holds no class folders")


def test_refuses_classes_that_are_in_one_split_only_or_are_no_wordnet_ids(root: Path) -> None:
    write(root / "train" / "n09999999" / "a.JPEG")
    refused(root, "class 'n09999999' is in only one of train and val")
    (root / "train" / "n09999999").rename(root / "train" / "cats")
    refused(root, "holds the folder 'cats'.*image_folder")


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_names_an_image_that_cannot_be_read(root: Path, content: bytes | None) -> None:
    file = root / "train" / "n02102040" / "n02102040_3.JPEG"
    file.write_bytes(file.read_bytes()[:200] if content is None else content)
    refused(root, r"n02102040_3\.JPEG.*Replace or remove it")


def test_refuses_an_empty_class_and_a_link_out_of_the_folder(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "secret.JPEG")
    link = root / "val" / "n02102040" / "link.JPEG"
    link.symlink_to(tmp_path / "secret.JPEG")
    refused(root, "is a link out of", split="test")
    for file in (root / "val" / "n02102040").iterdir():
        file.unlink()
    refused(root, "n02102040' holds no images", split="test")
