"""Tiny ImageNet: 100,000 training and 10,000 validation images of 64x64 pixels in 200 classes, read
from a folder.

Source: Le & Yang 2015, Tiny ImageNet Visual Recognition Challenge (Stanford CS231n); the layout of
tiny-imagenet-200.zip.
Deviation: never downloads. Classes are in the order of their WordNet ids, as torchvision's
``ImageFolder`` has them, not in that of wnids.txt. The validation images are the test images; they
may also lie in one folder a class. Training shifts by up to an eighth of the size and mirrors.
"""

from pathlib import Path
from typing import Literal

import torch

from trials.datasets._files import located
from trials.datasets._folders import decoded, folders, images_in
from trials.datasets._train_val import WORDNET
from trials.spec import Location, PositiveInt, SpecError
from trials.types import Images

_TABLE = "val_annotations.txt"


def load(
    split: Literal["train", "test"],
    /,
    *,
    root: Location = "$POISONSWEEP_DATA/tiny-imagenet-200",
    size: PositiveInt = 64,
) -> Images:
    """The training or test images; the classes' names are their WordNet ids.

    Args:
        split: ``train`` or ``test`` (the folder ``val``).
        root: folder that holds tiny-imagenet-200, or train and val themselves; val has
            val_annotations.txt and images, or one folder a class.
        size: side of the images in pixels.

    Raises:
        SpecError: no such folders, classes or labels, or an image that cannot be read.
    """
    place = located("tiny_imagenet", root)
    inner = place / "tiny-imagenet-200"
    top = inner if inner.is_dir() else place
    names = _classes(top)
    base = top / ("train" if split == "train" else "val")
    if split == "train" or not (base / _TABLE).is_file():
        found = _of_folders(top, base, names)
    else:
        found = _of_table(top, base, names)
    x = decoded("tiny_imagenet", base, [file for file, _ in found], size)
    y = torch.tensor([label for _, label in found])
    return Images(x, y, len(names), tuple(names), pad=size // 8, flip=True)


def _classes(top: Path) -> list[str]:
    for part in ("train", "val"):
        if not (top / part).is_dir():
            raise SpecError(f"tiny_imagenet: {str(top)!r} has no folder {part!r}.")
    names = [p.name for p in folders(top / "train")]
    other = [n for n in names if not WORDNET.fullmatch(n)]
    if other or len(names) < 2:
        got = f"the folder {other[0]!r}" if other else f"{len(names)} class folders"
        raise SpecError(
            f"tiny_imagenet: {str(top / 'train')!r} holds {got}; needed is one a class, named like "
            "n01443537."
        )
    return names


def _of_folders(top: Path, base: Path, names: list[str]) -> list[tuple[Path, int]]:
    found: list[tuple[Path, int]] = []
    for label, name in enumerate(names):
        if not (base / name).is_dir():
            raise SpecError(
                f"tiny_imagenet: {str(base)!r} has neither {_TABLE} nor the folder {name!r}. "
                "Unpack the validation images again."
            )
        found += [(file, label) for file in images_in("tiny_imagenet", top, base / name)]
    return found


def _of_table(top: Path, base: Path, names: list[str]) -> list[tuple[Path, int]]:
    """The validation images as the archive has them: a file name and a class a line."""
    if not (base / "images").is_dir():
        raise SpecError(f"tiny_imagenet: {str(base)!r} has no folder 'images'.")
    there = {file.name: file for file in images_in("tiny_imagenet", top, base / "images")}
    index = {name: i for i, name in enumerate(names)}
    found = []
    try:
        lines = (base / _TABLE).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise SpecError(
            f"tiny_imagenet: cannot read {str(base / _TABLE)!r}: {problem}. Unpack it again."
        ) from problem
    for number, line in enumerate(filter(None, lines), 1):
        name, _, rest = line.partition("\t")
        label = rest.partition("\t")[0]
        if name not in there or label not in index:
            raise SpecError(
                f"tiny_imagenet: {str(base / _TABLE)!r} line {number} gives {name[:40]!r} the "
                f"class {label[:20]!r}; that image or that class is not there."
            )
        found.append((there[name], index[label]))
    if not found:
        raise SpecError(f"tiny_imagenet: {str(base / _TABLE)!r} holds no rows. Unpack it again.")
    return found
