"""Image folders: layouts, splits, and what is refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trials import catalog
from trials.datasets.image_folder import load
from trials.runtime import TrialRuntime
from trials.spec import MethodConfig, SpecError, Victim, content_id
from trials.storage.artifacts import Artifacts


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


def test_names_that_are_all_numbers_are_sorted_as_numbers(tmp_path: Path) -> None:
    for name in ("10", "9", "2"):
        write(tmp_path / name / "1.png", (int(name), 0, 0))
    images = load("train", root=str(tmp_path))
    assert images.names == ("2", "9", "10") and images.x[:, 0, 0, 0].tolist() == [2, 9, 10]
    images = load("train", root=str(tmp_path), order="text")
    assert images.names == ("10", "2", "9") and images.x[:, 0, 0, 0].tolist() == [10, 2, 9]
    write(tmp_path / "b" / "1.png")
    assert load("train", root=str(tmp_path)).names == ("10", "2", "9", "b")


def test_a_store_of_text_order_keeps_its_meaning(tmp_path: Path) -> None:
    """A trial that was stored before there was an order has none in its settings."""
    for name in ("10", "9"):
        write(tmp_path / "images" / name / "1.png")
    resolved = catalog.resolve(
        "datasets", MethodConfig("image_folder", {"root": str(tmp_path / "images")})
    )
    before = {k: v for k, v in resolved.params.items() if k not in ("order", "turn")}
    stored = MethodConfig("image_folder", before, resolved.files)
    explicit = catalog.resolve(
        "datasets", MethodConfig("image_folder", {**before, "order": "text", "turn": False})
    )
    assert content_id(stored.identity()) == content_id(explicit.identity())
    assert content_id(stored.identity()) != content_id(resolved.identity())
    runtime = TrialRuntime(Artifacts(str(tmp_path / "artifacts")), "cpu")
    net, recipe = MethodConfig("small_cnn"), MethodConfig("fast")
    found = [
        runtime.poisoning(Victim(dataset=d, model=net, attacks=(), training=recipe, seed=0)).train
        for d in (stored, explicit, resolved)
    ]
    assert [images.names for images in found] == [("10", "9"), ("10", "9"), ("9", "10")]


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("train", "valid"), ("TRAIN", "validation"), ("training", "val")],
)
def test_splits_of_other_names_are_no_classes(tmp_path: Path, train: str, test: str) -> None:
    for name in ("a", "b"):
        write(tmp_path / train / name / "1.png", (10, 0, 0))
        write(tmp_path / test / name / "1.png", (200, 0, 0))
    found = [load(split, root=str(tmp_path)) for split in ("train", "test")]
    assert [images.names for images in found] == [("a", "b")] * 2
    assert [int(images.x[0, 0, 0, 0]) for images in found] == [10, 200]


def test_test_goes_before_val(tmp_path: Path) -> None:
    for red, part in ((1, "train"), (2, "test"), (3, "val")):
        for name in ("a", "b"):
            write(tmp_path / part / name / "1.png", (red, 0, 0))
    assert load("test", root=str(tmp_path)).x[0, 0, 0, 0] == 2


def test_test_images_without_classes_are_no_class(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / "train" / name / "1.png")
    write(tmp_path / "test" / "1.png")
    assert load("train", root=str(tmp_path)).names == ("a", "b")
    refused(tmp_path, "has no test or val folder", split="test")


def test_what_a_system_leaves_behind_is_not_read(root: Path) -> None:
    for name in ("ant/.DS_Store", "ant/._0.png", "ant/Thumbs.db", "__MACOSX/ant/._0.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"no image")
    for name in ("__MACOSX/a.png", "ant/@eaDir/0.png", ".hidden/0.png"):
        write(root / name)
    images = load("train", root=str(root))
    assert images.names == ("ant", "bird") and len(images) == 20


def test_endings_are_read_in_any_case(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for ending in ("JPG", "Jpeg", "PNG", "BMP", "TIF", "WebP"):
            file = tmp_path / name / f"1.{ending}"
            file.parent.mkdir(exist_ok=True)
            Image.new("RGB", (8, 8), (100, 100, 100)).save(
                file, Image.registered_extensions()[f".{ending.lower()}"]
            )
    assert len(load("train", root=str(tmp_path), size=8)) == 12


@pytest.mark.parametrize("form", ["jpg", "png", "webp", "tif"])
def test_images_are_turned_as_their_exif_orientation_says(tmp_path: Path, form: str) -> None:
    stored = np.zeros((8, 8, 3), dtype=np.uint8)
    stored[:4] = 240  # as the camera stored it, the upper half is bright
    bright = {1: "top", 3: "bottom", 6: "right", 8: "left"}
    for number in bright:
        held = Image.Exif()
        held[0x0112] = number
        for name in ("a", "b"):
            file = tmp_path / name / f"{number}.{form}"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(stored).save(file, exif=held)
    images = load("train", root=str(tmp_path), size=8)
    for x, half in zip(images.x[:4].float(), bright.values(), strict=True):
        halves = {"top": x[:, :4], "bottom": x[:, 4:], "left": x[..., :4], "right": x[..., 4:]}
        assert max(halves, key=lambda h: float(halves[h].mean())) == half
    if form != "tif":  # which Pillow turns itself
        as_stored = load("train", root=str(tmp_path), size=8, turn=False).x[:4]
        assert (as_stored[:, :, :3] > 200).all() and (as_stored[:, :, 5:] < 40).all()


def test_all_images_that_cannot_be_read_are_named_at_once(root: Path) -> None:
    for i in (1, 4, 6, 7, 9):
        (root / "bird" / f"{i}.png").write_bytes(b"no image")
    refused(
        root, r"bird/1\.png.*Replace or remove it\. Nor can .*4\.png.*6\.png.*7\.png.* and 1 more"
    )


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
