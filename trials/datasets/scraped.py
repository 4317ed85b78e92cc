"""Scraped: a set of unknown origin to train on, and trusted images beside it, which no training
sees.

Source: the layouts of ``image_folder`` and ``image_table``, each for itself.
Deviation: there are no test images: whoever is given such a set has none.
"""

from pathlib import Path
from typing import Literal

from trials import catalog, image_tables
from trials.spec import Count, Location, PositiveInt, SpecError
from trials.types import Images


def load(
    split: Literal["train", "test", "trusted"],
    /,
    *,
    root: Location = "",
    trusted: Location = "",
    size: PositiveInt = 32,
    pad: Count = 4,
    flip: bool = True,
    order: Literal["numbers", "text"] = "numbers",
) -> Images:
    """The images to train on, or the trusted ones.

    Args:
        split: ``train`` or ``trusted``; there is no ``test``.
        root: the images of unknown origin: a folder with one sub-folder a class, or what
            ``image_table`` takes.
        trusted: the trusted images, as ``root``; of the same classes.
        size: side of the images in pixels after scaling and cropping.
        pad: training shifts an image by up to this many pixels.
        flip: training mirrors half of the images.
        order: of the classes: numbers sorts names that are all numbers by their value, text all
            names as text.

    Raises:
        SpecError: what the two data sets raise, no test images, or trusted images of other classes.
    """
    if split == "test":
        raise SpecError("scraped: there are no test images, but trusted ones.")
    images, known = (_read(Path(p), size, pad, flip, order) for p in (root, trusted))
    if images.names != known.names:
        raise SpecError(_other(images.names, known.names))
    return known if split == "trusted" else images


def _read(root: Path, size: int, pad: int, flip: bool, order: Literal["numbers", "text"]) -> Images:
    read = catalog.find("datasets", "image_table" if _table(root) else "image_folder")
    found: Images = read("train", root=str(root), size=size, pad=pad, flip=flip, order=order)
    return found


def _table(root: Path) -> bool:
    return root.is_file() or bool(image_tables.in_files(root, "train"))


def _other(names: tuple[str, ...], known: tuple[str, ...]) -> str:
    lost, strange = sorted(set(names) - set(known)), sorted(set(known) - set(names))
    parts = [f"no class {lost[0]!r}, which the others have"] if lost else []
    parts += [f"a class {strange[0]!r}, which the others do not have"] if strange else []
    return (
        f"the trusted images have {' and '.join(parts) or 'the classes in another order'}: both "
        "sets need the same classes."
    )
