"""GTSRB: German traffic signs in 43 classes, 39,209 training (26,640 in torchvision's copy) and
12,630 test images.

Source: Stallkamp et al. 2012, Man vs. computer, Neural Networks 32; the layout of torchvision's
``GTSRB``.
Deviation: never downloads. The largest square in an image's centre is kept, not the annotated box
of the sign. Training shifts by up to an eighth of the size and never mirrors: a mirrored sign is
another one. The training images are some 30 frames each of one sign, so frames of a sign may lie
both among a defender's images and in training.
"""

import csv
from itertools import chain
from pathlib import Path
from typing import Literal

import torch

from trials.datasets._files import located
from trials.datasets._folders import decoded, folders, images_in
from trials.datasets._gtsrb_signs import SIGNS
from trials.spec import Location, PositiveInt, SpecError
from trials.types import Images

_FOLDERS = [f"{i:05d}" for i in range(len(SIGNS))]
_NUMBERS = {str(i): i for i in range(len(SIGNS))}
_LABELS = "GT-final_test.csv"


def load(
    split: Literal["train", "test"],
    /,
    *,
    root: Location = "$POISONSWEEP_DATA/gtsrb",
    size: PositiveInt = 32,
) -> Images:
    """The training or test images.

    Args:
        split: ``train`` or ``test``.
        root: folder that holds GTSRB (or gtsrb/GTSRB) with Training or Final_Training/Images (the
            first that is there is read), each with the folders 00000 to 00042, and
            Final_Test/Images; and, beside it or in it, GT-final_test.csv.
        size: side of the images in pixels.

    Raises:
        SpecError: a folder, class, image or the table of test labels is missing, or cannot be read.
    """
    place = located("gtsrb", root)
    base = next((p for p in (place, place / "gtsrb") if (p / "GTSRB").is_dir()), None)
    if base is None:
        raise SpecError(
            f"gtsrb: {str(place)!r} holds no folder GTSRB. Set root = the folder that does."
        )
    files, labels = _training(base) if split == "train" else _test(base)
    x = decoded("gtsrb", base, files, size)
    return Images(x, torch.tensor(labels), len(SIGNS), SIGNS, pad=size // 8, flip=False)


def _training(base: Path) -> tuple[list[Path], list[int]]:
    top = next(
        (p for p in (base / "GTSRB/Training", base / "GTSRB/Final_Training/Images") if p.is_dir()),
        None,
    )
    if top is None:
        raise SpecError(
            f"gtsrb: {str(base / 'GTSRB')!r} has neither Training nor Final_Training/Images. "
            "Unpack one."
        )
    found = [p.name for p in folders(top)]
    if lone := sorted(set(found) ^ set(_FOLDERS)):
        raise SpecError(
            f"gtsrb: {str(top)!r} holds {len(found)} class folders, and {lone[0]!r} is "
            f"{'missing' if lone[0] in _FOLDERS else 'none of them'}. Needed: 00000 to 00042."
        )
    of_class = [images_in("gtsrb", base, top / name) for name in _FOLDERS]
    labels = chain.from_iterable([label] * len(files) for label, files in enumerate(of_class))
    return list(chain.from_iterable(of_class)), list(labels)


def _test(base: Path) -> tuple[list[Path], list[int]]:
    folder = base / "GTSRB/Final_Test/Images"
    if not folder.is_dir():
        raise SpecError(
            f"gtsrb: {str(base)!r} has no folder GTSRB/Final_Test/Images. Unpack the test images."
        )
    table = next(
        (p for p in (base / _LABELS, base / "GTSRB" / _LABELS, folder / _LABELS) if p.is_file()),
        None,
    )
    if table is None:
        raise SpecError(
            f"gtsrb: {str(base)!r} has no {_LABELS}, the labels of the test images. Put it there."
        )
    there = {file.name: file for file in images_in("gtsrb", base, folder)}
    files, labels = [], []
    for line, (name, label) in enumerate(_rows(table), 2):
        if name not in there:
            raise SpecError(
                f"gtsrb: {str(table)!r} line {line} names {name!r}, which is not in "
                f"{str(folder)!r}."
            )
        if label not in _NUMBERS:
            raise SpecError(
                f"gtsrb: {str(table)!r} line {line} has the ClassId {label[:20]!r}, needed is one "
                "of 0 to 42."
            )
        files.append(there[name])
        labels.append(_NUMBERS[label])
    if not files:
        raise SpecError(f"gtsrb: {str(table)!r} holds no rows. Download it again.")
    return files, labels


def _rows(table: Path) -> list[tuple[str, str]]:
    """File name and class of each row."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            return [
                (row["Filename"] or "", row["ClassId"] or "")
                for row in csv.DictReader(stream, delimiter=";")
            ]
    except (OSError, ValueError, KeyError, csv.Error) as problem:
        raise SpecError(
            f"gtsrb: {str(table)!r} is no table with the columns Filename and ClassId between "
            "semicolons "
            f"({type(problem).__name__}). Download it again."
        ) from problem
