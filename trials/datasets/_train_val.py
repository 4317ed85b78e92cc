"""ImageNet's layout: ``train`` and ``val``, each with a folder a class, named by its WordNet id."""

import re
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from trials.datasets._folders import decoded, folders, images_in
from trials.spec import SpecError

WORDNET = re.compile(r"n\d{8}")
_KEPT = 224 / 256  # the shorter side is scaled to 256/224 of the size, and the centre cut out


def wnids(method: str, top: Path) -> list[str]:
    """The classes' WordNet ids, sorted.

    Raises SpecError where ``train`` and ``val`` are not both of that form.
    """
    found = {part: _of(method, top, part) for part in ("train", "val")}
    if lone := sorted(set(found["train"]) ^ set(found["val"])):
        raise SpecError(
            f"{method}: class {lone[0]!r} is in only one of train and val under {str(top)!r}. "
            "Both need all classes."
        )
    return found["train"]


def read(
    method: str, top: Path, split: str, classes: list[str], per_class: int, size: int
) -> tuple[Tensor, Tensor]:
    """Pixels uint8 (n, 3, size, size) and labels int64 (n,) of one split.

    Args:
        method: the data set's name, for errors and the cache.
        top: folder with ``train`` and ``val``.
        split: ``train`` or ``test``; the latter is ``val``.
        classes: WordNet ids in the order of their labels; other folders are not looked into.
        per_class: training images of each class, the first by name; 0 for all.
        size: side in pixels.

    Raises:
        SpecError: an empty class, a link out of ``top``, or an image that cannot be read.
    """
    base = top / ("train" if split == "train" else "val")
    of_class = [images_in(method, top, base / name) for name in classes]
    if split == "train" and per_class:
        of_class = [files[:per_class] for files in of_class]
    counts = torch.tensor([len(files) for files in of_class])
    x = decoded(method, base, list(chain.from_iterable(of_class)), size, _KEPT)
    return x, torch.arange(len(classes)).repeat_interleave(counts)


def _of(method: str, top: Path, part: str) -> list[str]:
    if not (top / part).is_dir():
        raise SpecError(
            f"{method}: {str(top)!r} has no folder {part!r}. It needs train and val, as "
            "torchvision has them."
        )
    names = [p.name for p in folders(top / part)]
    other = [n for n in names if not WORDNET.fullmatch(n)]
    if other or not names:
        got = f"holds the folder {other[0]!r}" if other else "holds no class folders"
        raise SpecError(
            f"{method}: {str(top / part)!r} {got}; needed is one a class, named like n01440764. "
            "Sort the images into those, or use the dataset image_folder."
        )
    return names
