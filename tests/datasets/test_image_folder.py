"""Image folders: layouts, splits, and what is refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trials.datasets.image_folder import load
from trials.spec import SpecError


def write(
    file: Path, colour: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (40, 40)
) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(file)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of ten images each, told apart by colour."""
    for i in range(10):
        write(tmp_path / "set" / "bird" / f"{i}.png", (10 * i, 0, 0))
        write(tmp_path / "set" / "ant" / f"{i}.png", (0, 10 * i, 0))
    return tmp_path / "set"


def refused(root: Path | str, says: str, split: str = "train", **settings: float) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        load(split, root=str(root), **settings)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_classes_are_the_sorted_folder_names(root: Path) -> None:
    images = load("train", root=str(root), size=16, pad=2, flip=False)
    assert images.names == ("ant", "bird") and images.y.tolist() == [0] * 10 + [1] * 10
    assert images.x.shape == (20, 3, 16, 16) and (images.pad, images.flip) == (2, False)
    assert images.x[:, :, 0, 0].tolist()[3] == [0, 30, 0]


def test_keeps_the_square_in_the_centre(tmp_path: Path) -> None:
    picture = np.zeros((20, 60, 3), dtype=np.uint8)
    picture[:, 20:40] = 255
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(picture).save(tmp_path / name / "x.png")
        Image.fromarray(picture.transpose(1, 0, 2).copy()).save(tmp_path / name / "y.png")
    assert load("train", root=str(tmp_path), size=20).x.min() == 255


def test_uses_train_and_test_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "train" / name / "deep" / "1.png")
        write(tmp_path / "train" / name / "2.jpg")
        write(tmp_path / "val" / name / "1.png", (200, 0, 0))
    assert len(load("train", root=str(tmp_path))) == 4
    test = load("test", root=str(tmp_path))
    assert len(test) == 2 and test.x[0, 0, 0, 0] == 200
    refused(tmp_path, "leave test_share at 0", test_share=0.5)
    write(tmp_path / "val" / "c" / "1.png")
    refused(tmp_path, "class 'c' is in only one")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    write(tmp_path / "train" / "1.png")
    write(tmp_path / "car" / "1.png")
    assert load("train", root=str(tmp_path)).names == ("car", "train")


def test_keeps_a_share_of_each_class_for_the_test(root: Path) -> None:
    train, test = (load(s, root=str(root), test_share=0.3) for s in ("train", "test"))
    assert test.y.tolist() == [0] * 3 + [1] * 3 and len(train) == 14
    colours = [tuple(c) for part in (train, test) for c in part.x[:, :, 0, 0].tolist()]
    assert len(set(colours)) == 19  # black is in both classes
    assert torch.equal(test.x, load("test", root=str(root), test_share=0.3).x)


def test_reads_grey_palette_16_bit_and_transparent_images_as_rgb(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        Image.new("L", (8, 8), 100).save(folder / "1.png")
        Image.new("RGBA", (8, 8), (100, 100, 100, 5)).save(folder / "2.png")
        Image.new("RGB", (8, 8), (100, 100, 100)).quantize().save(folder / "3.png")
        Image.fromarray(np.full((8, 8), 100 * 256, dtype=np.uint16)).save(folder / "4.png")
    assert (load("train", root=str(tmp_path), size=8).x == 100).all()


def test_changed_images_are_not_served_from_the_cache(root: Path) -> None:
    load("train", root=str(root))
    write(root / "ant" / "0.png", (99, 99, 99))
    assert (load("train", root=str(root)).x[0] == 99).all()


def test_refuses_a_folder_that_is_not_there(tmp_path: Path) -> None:
    refused("", "root is empty")
    refused(tmp_path / "no", "not a folder")


def test_refuses_the_test_split_where_there_is_none(root: Path) -> None:
    refused(root, "set test_share", split="test")


def test_refuses_one_class_or_an_empty_class(root: Path) -> None:
    refused(root / "ant", "holds 0 class folders")
    (root / "cat").mkdir()
    (root / "cat" / "notes.txt").write_text("no image")
    refused(root, "'cat'|cat' holds no images")


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_names_an_image_that_cannot_be_read(root: Path, content: bytes | None) -> None:
    file = root / "bird" / "3.png"
    file.write_bytes(file.read_bytes()[:60] if content is None else content)
    refused(root, r"bird/3\.png")


def test_refuses_a_decompression_bomb_without_decoding_it(root: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    for side in (10_000, 60_000):  # Pillow only warns of the first, and refuses the second
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        (root / "ant" / "0.png").write_bytes(
            b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        )
        refused(root, r"ant/0\.png.*pixels")


def test_refuses_a_link_that_leaves_the_folder(root: Path, tmp_path: Path) -> None:
    write(tmp_path / "secret.png")
    (root / "ant" / "inside.png").symlink_to(root / "bird" / "1.png")
    assert len(load("train", root=str(root))) == 21
    link = root / "ant" / "outside.png"
    link.symlink_to(tmp_path / "secret.png")
    refused(root, "is a link out of")
    link.unlink()
    (root / "cat").symlink_to(tmp_path, target_is_directory=True)
    refused(root, "is a link out of")
