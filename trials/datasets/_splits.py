"""Which folder holds which split, and which images of each class are kept for the test where none
does.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from trials.datasets._folders import folders
from trials.spec import SpecError

TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")  # the first that is there is read


def split_folders(top: Path) -> tuple[Path, Path | None]:
    """The folder of the training images, which is ``top`` where it has no splits, and of the test
    images.

    A split is told by its name, in any case, and the training images' by the folders in it: classes
    may be called train and test.
    """
    here = {p.name.lower(): p for p in folders(top)}
    train = next((here[n] for n in TRAIN if n in here and folders(here[n])), None)
    tests = [here[n] for n in TEST if n in here]
    if train is None or (not tests and len(here) > 1):
        return top, None
    return train, next((p for p in tests if folders(p)), None)


def held_out(method: str, name: str, keys: Sequence[str], share: float) -> set[str]:
    """The keys of the test images of one class: by their hash, so that a new image moves few
    others.

    Args:
        method: the data set's name, for the error.
        name: the class, for the error.
        keys: one an image.
        share: of the images.

    Raises:
        SpecError: there are fewer than two.
    """
    if len(keys) < 2:
        raise SpecError(f"{method}: {name} holds one image; test_share needs at least 2 a class.")
    count = min(max(1, round(share * len(keys))), len(keys) - 1)
    return set(sorted(keys, key=lambda k: hashlib.sha256(os.fsencode(k)).digest())[:count])
