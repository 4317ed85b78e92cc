"""Image folder: your own images, one sub-folder a class.

Source: the layout of torchvision's ``ImageFolder``: classes are the sub-folders' names, sorted.
Deviation: the largest square in an image's centre is kept, scaled to ``size`` pixels. Links that
lead out of the folder are refused, so a data set cannot pull in other files.
"""

import hashlib
import os
from pathlib import Path
from typing import Literal

import torch

from trials.datasets._files import located
from trials.datasets._folders import decoded, folders, images_in
from trials.spec import Count, Fraction, Location, PositiveInt, SpecError
from trials.types import Images


def load(
    split: Literal["train", "test"],
    /,
    *,
    root: Location = "",
    size: PositiveInt = 32,
    test_share: Fraction = 0.0,
    pad: Count = 4,
    flip: bool = True,
) -> Images:
    """The training or test images under ``root``.

    Args:
        split: ``train`` or ``test``.
        root: folder with ``train`` and ``test`` (or ``val``), each with one sub-folder a class; or
            with the classes.
        size: side of the images in pixels after scaling and cropping.
        test_share: share of each class kept as test images, where ``root`` has no test folder.
        pad: training shifts an image by up to this many pixels.
        flip: training mirrors half of the images; false where a mirrored image has another meaning
            (text, signs).

    Raises:
        SpecError: no such folder, no test images, fewer than two classes, an empty class, an
            unreadable image, or a link that leaves the folder.
    """
    top = located("image_folder", root)
    base, names, files, labels = listed(top, split, test_share)
    x = decoded("image_folder", base, files, size)
    return Images(x, torch.tensor(labels), len(names), tuple(names), pad=pad, flip=flip)


def listed(top: Path, split: str, share: float) -> tuple[Path, list[str], list[Path], list[int]]:
    """The folder of the split, its classes, its files and their labels."""
    own_test = next((top / n for n in ("test", "val") if (top / n).is_dir()), None)
    has_train = (top / "train").is_dir() and (own_test is not None or len(folders(top)) == 1)
    train = top / "train" if has_train else top
    names = [p.name for p in folders(train)]
    if len(names) < 2:
        raise SpecError(
            f"image_folder: {str(train)!r} holds {len(names)} class "
            f"folder{'s' * (len(names) != 1)}, at least 2 are "
            "needed. Put the images of each class into a sub-folder of its own."
        )
    if has_train and own_test is not None:
        if share:
            raise SpecError(
                f"image_folder: {str(own_test)!r} has the test images, so leave test_share at 0."
            )
        if lone := sorted(set(names) ^ {p.name for p in folders(own_test)}):
            raise SpecError(
                f"image_folder: class {lone[0]!r} is in only one of {str(train)!r} and "
                f"{str(own_test)!r}."
            )
        base, share = (own_test if split == "test" else train), 0.0
    elif split == "test" and not share:
        raise SpecError(
            f"image_folder: {str(top)!r} has no test or val folder. Add one, or set test_share "
            "(say 0.2)."
        )
    else:
        base = train
    files: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = _part(base, images_in("image_folder", top, base / name), split, share)
        files += found
        labels += [label] * len(found)
    return base, names, files, labels


def _part(base: Path, files: list[Path], split: str, share: float) -> list[Path]:
    """The files of the split: by the hash of their names, so that a new image moves few others."""
    if not share:
        return files
    if len(files) < 2:
        raise SpecError(
            f"image_folder: {str(files[0].parent)!r} holds one image; test_share needs at least 2 "
            "a class."
        )
    digest = {
        f: hashlib.sha256(os.fsencode(f.relative_to(base).as_posix())).digest() for f in files
    }
    count = min(max(1, round(share * len(files))), len(files) - 1)
    test = set(sorted(files, key=digest.__getitem__)[:count])
    return [f for f in files if (f in test) == (split == "test")]
