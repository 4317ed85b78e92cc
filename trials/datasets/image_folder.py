"""Image folder: your own images, one sub-folder a class.

Source: the layout of torchvision's ``ImageFolder``: classes are the sub-folders' names, sorted.
Deviation: names that are all numbers are sorted as numbers (2 before 10), where torchvision sorts
them as text; ``order`` says which. Images are turned as their EXIF orientation says. The largest
square in an image's centre is kept, scaled to ``size`` pixels. Links that lead out of the folder
are refused, so a data set cannot pull in other files.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import torch

from trials.datasets._class_map import arranged
from trials.datasets._files import located
from trials.datasets._folders import decoded, folders, images_in, ordered
from trials.datasets._splits import held_out, split_folders
from trials.datasets._survey import Survey, look, survey, unused
from trials.spec import ClassMap, Count, Fraction, Location, PositiveInt, Scalar, SpecError
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
    order: Literal["numbers", "text"] = "numbers",
    turn: bool = True,
    classes: ClassMap = "",
    outputs: Count = 0,
) -> Images:
    """The training or test images under ``root``.

    Args:
        split: ``train`` or ``test``.
        root: folder with train (or training) and test (testing, val, valid, validation; the first
            that is there), each with one sub-folder a class; or with the classes.
        size: side of the images in pixels after scaling and cropping.
        test_share: share of each class kept as test images, where ``root`` has no test folder.
        pad: training shifts an image by up to this many pixels.
        flip: training mirrors half of the images; false where a mirrored image has another meaning
            (text, signs).
        order: of the classes: numbers sorts names that are all numbers by their value, text all
            names as text (10 before 2).
        turn: images are turned as their EXIF orientation says; false takes them as stored.
        classes: which of the model's outputs each class is, where they are not all outputs in their
            order: imagenet (classes named by synset, number or name), index (named by the output's
            number), or a text, CSV or JSON file of names and outputs.
        outputs: number of the model's outputs, with classes; 0 for as many as that knows of.

    Raises:
        SpecError: no such folder, no test images, fewer than two classes, an empty class, an
            unreadable image, or a link that leaves the folder.
    """
    top = located("image_folder", root)
    base, names, files, labels = listed(top, split, test_share, order)
    x = decoded("image_folder", base, files, size, turn=turn)
    images = Images(x, torch.tensor(labels), len(names), tuple(names), pad=pad, flip=flip)
    return arranged(images, "image_folder", order, classes, outputs)


def surveyed(params: Mapping[str, Scalar]) -> Survey:
    """What lies in the folder beside the training images, and what is done to these."""
    top, size, turn = Path(str(params["root"])), int(params["size"]), bool(params["turn"])
    share = float(params["test_share"])
    base, _, files, labels = listed(top, "train", share, str(params["order"]))
    names = [file.relative_to(base).as_posix() for file in files]
    seen = look((file.read_bytes for file in files), size, turn)
    return survey(names, labels, seen, unused(top, base, set(files)))


def encoded(params: Mapping[str, Scalar]) -> Iterator[Callable[[], bytes]]:
    """What reads the bytes of each training image."""
    share, order = float(params["test_share"]), str(params["order"])
    top = located("image_folder", str(params["root"]))
    return (file.read_bytes for file in listed(top, "train", share, order)[2])


def listed(
    top: Path, split: str, share: float, order: str
) -> tuple[Path, list[str], list[Path], list[int]]:
    """The folder of the split, its classes, its files and their labels."""
    train, own_test = split_folders(top)
    names = ordered((p.name for p in folders(train)), order)
    if len(names) < 2:
        raise SpecError(
            f"image_folder: {str(train)!r} holds {len(names)} class "
            f"folder{'s' * (len(names) != 1)}, at least 2 are "
            "needed. Put the images of each class into a sub-folder of its own."
        )
    if own_test is not None:
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
    """The files of the split."""
    if not share:
        return files
    keys = {file: file.relative_to(base).as_posix() for file in files}
    test = held_out("image_folder", repr(str(files[0].parent)), list(keys.values()), share)
    return [f for f in files if (keys[f] in test) == (split == "test")]
