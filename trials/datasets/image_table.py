"""Image table: your own images, one row an image with its label.

Source: a CSV or TSV file of path and label; Parquet as Hugging Face's datasets write it; or
WebDataset's tar shards of KEY.jpg and KEY.cls.
Deviation: the largest square in an image's centre is kept, scaled to ``size`` pixels, and images
are turned as their EXIF orientation says. Classes are in the order of the schema's names; without
them labels are sorted, numbers by their value. A path that leads out of the table's folder is
refused, so a table cannot pull in other files; shards are read in place, never unpacked.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from trials.datasets._class_map import arranged
from trials.datasets._files import expanded
from trials.datasets._folders import ordered, small
from trials.datasets._splits import held_out
from trials.datasets._survey import Survey, look, survey, unused
from trials.datasets._table_kinds import METHOD, Table, table_of
from trials.image_tables import in_files
from trials.spec import ClassMap, Count, Fraction, Location, PositiveInt, Scalar, SpecError
from trials.types import Images


def load(
    split: Literal["train", "test"],
    /,
    *,
    root: Location = "",
    test: Location = "",
    size: PositiveInt = 32,
    test_share: Fraction = 0.0,
    pad: Count = 4,
    flip: bool = True,
    order: Literal["numbers", "text"] = "numbers",
    classes: ClassMap = "",
    outputs: Count = 0,
) -> Images:
    """The training or test images of a table.

    Args:
        split: ``train`` or ``test``.
        root: a .csv or .tsv file with the columns path and label, its paths relative to its folder;
            a .parquet file with the columns image (or img) and label; a .tar shard; or a folder
            with train-*.parquet and, for the test, test-*.parquet or validation-*.parquet, also
            under data; or a folder of shards, told apart by train, test and val in their names or
            folders.
        test: a file of the same kinds that holds the test images.
        size: side of the images in pixels after scaling and cropping.
        test_share: share of each class kept as test images, where there are no others.
        pad: training shifts an image by up to this many pixels.
        flip: training mirrors half of the images; false where a mirrored image has another meaning
            (text, signs).
        order: of the classes: numbers takes the schema's order, or sorts labels that are all
            numbers by their value; text sorts all names as text.
        classes: which of the model's outputs each class is, where they are not all outputs in their
            order: imagenet (classes named by synset, number or name), index (named by the output's
            number), or a text, CSV or JSON file of names and outputs.
        outputs: number of the model's outputs, with classes; 0 for as many as that knows of.

    Raises:
        SpecError: no such file, no path or label in a row, fewer than two classes, or an image that
            cannot be read.
    """
    small(METHOD, size)
    place = expanded(METHOD, root)
    train = _training(place)
    names = _names(train, order, place)
    held = table_of(expanded(METHOD, test)) if test else _beside(place)
    if held is not None and test_share:
        raise SpecError(f"{METHOD}: there are test images, so leave test_share at 0.")
    if split == "test" and held is None and not test_share:
        raise SpecError(
            f"{METHOD}: {str(place)!r} has no test images. Set test, or test_share (say 0.2)."
        )
    table = held if split == "test" and held is not None else train
    images = Images(
        table.pixels(size), _labels(table, names), len(names), names, pad=pad, flip=flip
    )
    images = images.take(_part(train, names, split, test_share)) if test_share else images
    return arranged(images, METHOD, order, classes, outputs)


def surveyed(params: Mapping[str, Scalar]) -> Survey:
    """What is done to the images, all of which are used, and what lies beside them."""
    place = Path(str(params["root"]))
    used = set(in_files(place, "train"))
    beside = unused(place, place, used) if place.is_dir() else {}
    train = _training(place)
    names = _names(train, str(params["order"]), place)
    labels = _labels(train, names).tolist()
    others = sorted(chain.from_iterable(beside.values()))
    left = {"beside the training images": others} if others else {}
    left |= {"in a shard, but neither image nor label": list(train.unused)} if train.unused else {}
    return survey(train.keys, labels, look(train.encoded(), int(params["size"]), turn=True), left)


def encoded(params: Mapping[str, Scalar]) -> Iterator[Callable[[], bytes]]:
    """What gives the bytes of each training image."""
    return _training(expanded(METHOD, str(params["root"]))).encoded()


def keys(root: Path) -> list[str]:
    """The name of each training image of a table."""
    return _training(root).keys


def _training(place: Path) -> Table:
    train = table_of(place)
    if train is None:
        raise SpecError(
            f"{METHOD}: {str(place)!r} holds neither shards (.tar) nor train.parquet or "
            "train-*.parquet, also not under data. Name the file."
        )
    return train


def _beside(place: Path) -> Table | None:
    return table_of(place, "test") if place.is_dir() else None


def _names(table: Table, order: str, place: Path) -> tuple[str, ...]:
    given = table.names if order == "numbers" else ()
    found = given or tuple(ordered(set(table.names) or set(table.labels), order))
    if len(found) < 2 or len(set(found)) < len(found):
        raise SpecError(
            f"{METHOD}: {str(place)!r} has {len(set(found))} classes of different names, at least "
            "2 are needed, and each once."
        )
    return found


def _labels(table: Table, names: tuple[str, ...]) -> Tensor:
    index = {name: i for i, name in enumerate(names)}
    if lone := sorted(set(table.labels) - index.keys()):
        raise SpecError(
            f"{METHOD}: the label {lone[0]!r} is not one of the {len(names)} classes of the "
            "training images."
        )
    return torch.tensor([index[label] for label in table.labels], dtype=torch.int64)


def _part(table: Table, names: tuple[str, ...], split: str, share: float) -> Tensor:
    """Places of the split's images."""
    of_class: dict[str, list[str]] = {name: [] for name in names}
    for key, label in zip(table.keys, table.labels, strict=True):
        of_class[label].append(key)
    test = set[str]()
    for name, keys in of_class.items():
        test |= held_out(METHOD, f"class {name!r}", keys, share)
    return torch.tensor([(key in test) == (split == "test") for key in table.keys])
