"""What is understood of a given model and its images before anything is spent: counts, recalls, and
better readings.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from results.selection.understood import Understood
from sweep.commands.asked import sweep_of
from sweep.commands.orders import exchanged, other_order
from sweep.commands.understanding import understand
from sweep.execution.runner import worker_config_of
from sweep.execution.worker import make_runtime
from trials import catalog
from trials.datasets._folders import ordered
from trials.spec import SpecError
from trials.weights.files import save_weights

# three kinds of images that differ in one channel, and one that is dark: RGB and brightness both
# tell classes apart
COLOURS = {
    "a_red": (150, 60, 60),
    "b_green": (60, 150, 60),
    "c_blue": (60, 60, 150),
    "d_dark": (20, 20, 20),
}


def images(root: Path, names: dict[str, str] | None = None, each: int = 30) -> Path:
    """Noisy 8 x 8 images, a folder a class; ``names`` renames folders."""
    noise = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        folder = root / (names or {}).get(name, name)
        folder.mkdir(parents=True)
        for i in range(each):
            x = np.clip(np.array(colour) + noise.integers(-18, 19, (8, 8, 3)), 0, 255).astype(
                np.uint8
            )
            Image.fromarray(x).save(folder / f"{i:02}.png")
    return root


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return images(tmp_path_factory.mktemp("colours") / "images")


@pytest.fixture(scope="module")
def weights(folder: Path) -> Path:
    """A small model that was trained on these images without normalisation."""
    x = torch.stack(
        [torch.from_numpy(np.array(Image.open(f))) for f in sorted(folder.rglob("*.png"))]
    )
    y = torch.arange(len(COLOURS)).repeat_interleave(30)
    torch.manual_seed(0)
    model: nn.Module = catalog.find("models", "small_cnn")(4, 8, width=4, norm="none")
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x.permute(0, 3, 1, 2) / 255), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("normalize.")}
    file = folder.parent / "model.safetensors"
    save_file(state, file)
    return file


def understood(
    weights: Path, folder: Path, out: Path, norm: str = "none", **how: Any
) -> Understood:
    sweep = sweep_of(weights, f"small_cnn:width=4,norm={norm}", folder, size=8, **how)
    return understand(
        make_runtime(worker_config_of(sweep, f"sqlite:///{out}/s.db")), sweep.victims[0]
    )


def test_a_right_reading_is_counted_and_warned_of_by_nothing(
    weights: Path, folder: Path, tmp_path: Path
) -> None:
    seen = understood(weights, folder, tmp_path)
    assert [(c.name, c.images, c.recall) for c in seen.classes] == [(n, 30, 1.0) for n in COLOURS]
    assert (seen.images, seen.accuracy, seen.warnings) == (120, 1.0, ())
    assert {r.name for r in seen.readings} >= {
        "norm=half",
        "norm=imagenet",
        "norm=cifar10",
        "BGR",
        "norm=half, BGR",
    }
    assert seen.model_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()
    sums = (
        f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(folder)}\n"
        for f in sorted(folder.rglob("*.png"))
    )
    assert seen.images_sha256 == hashlib.sha256("".join(sums).encode()).hexdigest()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("norm", ["half", "cifar10", "imagenet"])
def test_another_normalisation_that_fits_better_is_named(
    weights: Path, folder: Path, tmp_path: Path, norm: str
) -> None:
    try:
        (said,) = understood(weights, folder, tmp_path, norm).warnings
    except SpecError as refused:  # so far off that the model seems not to know its images
        said = str(refused)
    assert "norm=none" in said and "Give --arch small_cnn:norm=none" in said and "100.0 %" in said


def test_images_of_a_bgr_model_are_noticed(weights: Path, folder: Path, tmp_path: Path) -> None:
    state = load_file(weights)
    state["layer1.0.weight"] = state["layer1.0.weight"].flip(1)
    save_file(state, tmp_path / "bgr.safetensors")
    said = " ".join(understood(tmp_path / "bgr.safetensors", folder, tmp_path).warnings)
    assert "another reading fits better: of 120 images 100.0 % are right with BGR" in said
    assert "w[:, [2, 1, 0]]" in said


def test_two_exchanged_class_folders_are_named(weights: Path, tmp_path: Path) -> None:
    other = images(tmp_path / "images", {"b_green": "d_dark", "d_dark": "b_green"})
    seen = understood(weights, other, tmp_path)
    assert seen.accuracy == 0.5 and [c.recall for c in seen.classes] == [1, 0, 1, 0]
    (said,) = seen.warnings
    assert (
        "two class folders look exchanged" in said and "'b_green' it calls 100 % 'd_dark'" in said
    )
    assert "In that order 100.0 % would be right, as they are 50.0 %" in said


@pytest.mark.parametrize("order", ["numbers", "text"])
def test_the_other_order_of_numbers_is_named_where_it_fits(order: str) -> None:
    names = tuple(ordered(map(str, range(12)), order))
    other = "text" if order == "numbers" else "numbers"
    outputs = ordered(names, other)
    y = torch.arange(12).repeat_interleave(5)
    guessed = torch.tensor([outputs.index(names[i]) for i in y])
    (said,) = other_order(y, guessed, names, order)
    first = ", ".join(outputs[:3])
    assert f"sorted as {other} ({first}, ...) the classes fit better: 100.0 %" in said
    assert f"Give --order {other}" in said
    assert other_order(y, y, names, order) == []
    assert other_order(y, guessed, tuple(sorted(f"c{n}" for n in names)), order) == []


def test_a_model_of_classes_in_text_order_is_told_how_to_get_it(
    weights: Path, tmp_path: Path
) -> None:
    # sorted as text 1, 12, 3, 4; as numbers 1, 3, 4, 12
    numbered = images(
        tmp_path / "i", dict(zip(sorted(COLOURS), ("1", "12", "3", "4"), strict=True))
    )
    seen = understood(weights, numbered, tmp_path, order="text")
    assert (seen.accuracy, seen.warnings) == (1.0, ())
    assert [c.name for c in seen.classes] == ["1", "12", "3", "4"]
    with pytest.raises(SpecError, match="order must be one of 'numbers', 'text', got 'wrong'"):
        understood(weights, numbered, tmp_path, order="wrong")
    with pytest.raises(SpecError) as caught:
        understood(weights, numbered, tmp_path)
    assert str(caught.value) == (
        "the model gets 25.0% of the trusted images right (chance is 25.0%). sorted as text (1, "
        "12, 3, ...) the classes fit better: 100.0 % of the images would be right, as they are "
        "25.0 %. Give --order text."
    )


def test_an_image_in_two_classes_is_told_of(weights: Path, tmp_path: Path) -> None:
    top = images(tmp_path / "images")
    for copy in ("b_green/x.png", "c_blue/y.png"):
        shutil.copy(top / "a_red" / "00.png", top / copy)
    shutil.copy(top / "a_red" / "01.png", top / "a_red" / "same_class.png")
    (said,) = understood(weights, top, tmp_path).warnings
    assert said.startswith(
        "2 images are in two classes, once in each: 'a_red/00.png' and 'b_green/"
    )


def test_a_table_is_understood_like_a_folder(weights: Path, folder: Path, tmp_path: Path) -> None:
    table = shutil.copytree(folder, tmp_path / "images") / "labels.csv"
    files = sorted(table.parent.rglob("*.png"))
    lines = [f"{file.relative_to(table.parent)},{file.parent.name}" for file in files]
    table.write_text("\n".join(["path,label", *lines]))
    seen, plain = (understood(weights, place, tmp_path) for place in (table, folder))
    assert seen.images_sha256 == plain.images_sha256 and seen.classes == plain.classes
    assert (seen.accuracy, seen.skipped, seen.warnings) == (1.0, {}, ())


def test_parquet_is_understood_like_a_folder(weights: Path, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "images" / "data" / "train-00000-of-00001.parquet"
    file.parent.mkdir(parents=True)
    pictures = [f.read_bytes() for f in sorted(folder.rglob("*.png"))]
    names = {"names": list(COLOURS), "_type": "ClassLabel"}
    head = json.dumps({"info": {"features": {"label": names}}}).encode()
    rows = [{"bytes": p, "path": None} for p in pictures]
    data = pa.table({"image": rows, "label": [i // 30 for i in range(120)]})
    pq.write_table(data.replace_schema_metadata({b"huggingface": head}), file)
    for place in (file, tmp_path / "images"):
        seen = understood(weights, place, tmp_path)
        assert [(c.name, c.images, c.recall) for c in seen.classes] == [
            (n, 30, 1.0) for n in COLOURS
        ]


def test_what_is_no_source_of_images_is_refused(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SpecError, match="nor a file that ends in .csv, .tsv, .parquet"):
        understood(weights, tmp_path / "notes.txt", tmp_path)


def test_a_poor_model_is_not_taken_for_one_in_another_order() -> None:
    draws = torch.Generator().manual_seed(0)
    for classes, each in ((2, 5), (10, 5), (10, 50), (100, 5)):
        y = torch.arange(classes).repeat_interleave(each)
        for _ in range(20):
            assert (
                exchanged(
                    y,
                    torch.randint(classes, y.shape, generator=draws),
                    tuple(map(str, range(classes))),
                )
                == []
            )


def test_signs_that_must_not_be_mirrored_are_noticed(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    ramp = np.tile(np.linspace(20, 235, 8), (8, 1))
    x = []
    for label, one in enumerate((ramp, ramp[:, ::-1])):
        (tmp_path / "images" / str(label)).mkdir(parents=True)
        for i in range(30):
            pixels = np.clip(one + noise.integers(-15, 16, (8, 8)), 0, 255).astype(np.uint8)
            x.append(torch.from_numpy(pixels))
            Image.fromarray(pixels).save(tmp_path / "images" / str(label) / f"{i:02}.png")
    torch.manual_seed(0)
    model: nn.Module = catalog.find("models", "small_cnn")(2, 8, width=4, norm="none")
    optimizer, inputs = (
        torch.optim.Adam(model.parameters(), 0.01),
        torch.stack(x)[:, None].expand(-1, 3, -1, -1) / 255,
    )
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), torch.arange(2).repeat_interleave(30)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    save_weights(model, tmp_path / "m.safetensors")
    (said,) = understood(tmp_path / "m.safetensors", tmp_path / "images", tmp_path).warnings
    assert "in the mirror" in said and "give --no-flip" in said
    seen = understood(tmp_path / "m.safetensors", tmp_path / "images", tmp_path, flip=False)
    assert not seen.warnings and not seen.flip and seen.converted == {"grey to RGB": 60}
    assert not any("BGR" in r.name for r in seen.readings)


def test_what_is_skipped_and_converted_is_counted_with_its_reason(
    weights: Path, tmp_path: Path
) -> None:
    top = images(tmp_path / "images")
    first = Image.open(top / "a_red" / "00.png")
    first.convert("L").save(top / "a_red" / "grey.png")
    first.convert("RGBA").save(top / "a_red" / "clear.png")
    first.convert("P").save(top / "a_red" / "palette.png")
    first.convert("CMYK").save(top / "a_red" / "cmyk.jpg")
    first.resize((16, 12)).save(top / "a_red" / "wide.png")
    first.resize((4, 4)).save(top / "a_red" / "small.png")
    Image.fromarray(np.full((8, 8), 20_000, np.uint16)).save(top / "d_dark" / "deep.png")
    first.save(
        top / "a_red" / "frames.webp",
        save_all=True,
        append_images=[first.rotate(90)],
        lossless=True,
    )
    held = Image.Exif()
    held[0x0112] = 6
    first.save(top / "a_red" / "turned.jpg", exif=held)
    first.save(top / "a_red" / "turned.png", exif=held)
    (top / "a_red" / "notes.txt").touch()
    (top / "a_red" / "movie.GIF").touch()
    (top / "list.csv").touch()
    for hidden in (".cache/0.png", "__MACOSX/a_red/._00.png", "a_red/Thumbs.db", ".DS_Store"):
        (top / hidden).parent.mkdir(parents=True, exist_ok=True)
        (top / hidden).write_bytes(b"no image")
    (top / "a_red" / "._00.png").write_bytes(b"no image")
    (top / "a_red" / "more").symlink_to(top / "b_green", target_is_directory=True)
    seen = understood(weights, top, tmp_path)
    assert seen.skipped == {
        "no image by its ending (.txt)": 1,
        "no image by its ending (.gif)": 1,
        "beside the class folders": 1,
        "link to a folder": 1,
    }
    assert seen.converted == {
        "grey to RGB": 1,
        "transparency dropped": 1,
        "palette to RGB": 1,
        "CMYK to RGB": 1,
        "cropped to the square in its centre": 1,
        "scaled down to 8 x 8 pixels": 1,
        "scaled up to 8 x 8 pixels": 1,
        "16-bit grey to 8-bit RGB": 1,
        "first frame of several taken": 1,
        "turned as its EXIF orientation says": 2,
    }
    assert seen.images == 120 + 10
    lines = " ".join(seen.lines())
    assert "1 no image by its ending (.txt) ('a_red/notes.txt')" in lines
    assert "1 beside the class folders ('list.csv')" in lines
    assert "mirrors half of the images; where" in lines and "give --no-flip" in lines


def test_images_outside_the_train_folder_are_said_not_to_be_used(
    weights: Path, tmp_path: Path
) -> None:
    images(tmp_path / "all" / "train")
    images(tmp_path / "all" / "val", each=2)
    assert understood(weights, tmp_path / "all", tmp_path).skipped == {
        "in val/, while only train/ is read": 8
    }


@pytest.mark.slow
def test_a_real_model_without_its_normalisation_is_warned_of(
    cifar10_root: Path, tmp_path: Path
) -> None:
    victim = cifar10_root.parent / "victims" / "b70a0d07b3881336" / "weights.safetensors"
    if not victim.is_file():
        pytest.skip("no trained victim: POISONSWEEP_DATA has no folder victims")
    test = catalog.find("datasets", "cifar10")("test", root=str(cifar10_root), subset=0)
    for i in range(150):
        file = tmp_path / "images" / f"{int(test.y[i])}_{test.names[int(test.y[i])]}" / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(test.x[i].permute(1, 2, 0).numpy()).save(file)
    plain = tmp_path / "plain.safetensors"
    save_file({k: v for k, v in load_file(victim).items() if not k.startswith("normalize.")}, plain)

    def seen(norm: str) -> Understood:
        sweep = sweep_of(plain, f"resnet18:width=16,norm={norm}", tmp_path / "images")
        return understand(
            make_runtime(worker_config_of(sweep, f"sqlite:///{tmp_path}/s.db")), sweep.victims[0]
        )

    assert seen("cifar10").warnings == () and seen("cifar10").accuracy > 0.75
    wrong = seen("none")
    assert wrong.accuracy < 0.5 and "Give --arch resnet18:norm=" in wrong.warnings[0]


@pytest.mark.usefixtures("quick_reader")
def test_says_what_was_taken_of_the_models_file(
    weights: Path, folder: Path, tmp_path: Path
) -> None:
    state = {f"module.{k}": v.half() for k, v in load_file(weights).items()}
    torch.save({"net": {**state, "criterion.weight": torch.ones(4)}}, tmp_path / "w.pt")
    found = understood(tmp_path / "w.pt", folder, tmp_path)
    assert found.lines()[0] == (
        "Weights: 14 tensors of net; names without 'module.'; float16 made float32; left out, as "
        "no part of the model: criterion.weight."
    )
    assert found.as_json()["weights"] == found.lines()[0]
