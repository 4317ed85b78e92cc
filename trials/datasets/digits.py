"""Digits: 1,797 handwritten digits that ship with scikit-learn, for runs of seconds without a
download.

Source: Alpaydin & Kaynak 1998, Optical Recognition of Handwritten Digits (UCI); the copy in
scikit-learn.
Deviation: grey 8x8 images become three equal channels of ``size`` pixels (bilinear). Every fifth
image of a class is a test image; the set has no split of its own in scikit-learn.
"""

import importlib.util
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F

from trials.datasets._reduced import long_tailed
from trials.spec import PositiveFraction, PositiveInt, SpecError
from trials.types import Images

_LARGEST = 128  # pixels; the originals have 8


def load(
    split: Literal["train", "test"],
    /,
    *,
    size: PositiveInt = 16,
    imbalance: PositiveFraction = 1.0,
) -> Images:
    """The training (about 80 %) or test images; the split is the same in every run.

    Args:
        split: ``train`` or ``test``.
        size: side of the images in pixels; 8 keeps them as they are.
        imbalance: training images of the last class as a share of those of the first, the classes
            between them falling exponentially; 1 keeps all. The test set stays balanced.

    Raises:
        SpecError: a size of more than 128.
    """
    if size > _LARGEST:
        raise SpecError(f"digits: size must be at most {_LARGEST} pixels, got {size}.")
    grey, labels = _stored()
    y = torch.from_numpy(np.asarray(labels, dtype=np.int64))
    x = torch.from_numpy(np.asarray(grey, dtype=np.float32)).reshape(-1, 1, 8, 8) / 16
    x = F.interpolate(x, (size, size), mode="bilinear", align_corners=False)
    x = (x * 255).round().to(torch.uint8).repeat(1, 3, 1, 1)
    is_test = torch.zeros(len(y), dtype=torch.bool)
    for label in range(10):
        is_test[(y == label).nonzero().flatten()[4::5]] = True
    chosen = is_test if split == "test" else ~is_test
    images = Images(x[chosen], y[chosen], 10, tuple(map(str, range(10))), pad=1, flip=False)
    return long_tailed(images, imbalance) if split == "train" else images


def _stored() -> tuple[Any, Any]:
    """Grey values (1797, 64) and labels (1797,): scikit-learn's file, without the second that
    importing it takes.
    """
    spec = importlib.util.find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            table = np.loadtxt(file, delimiter=",")
            return table[:, :-1], table[:, -1]
    from sklearn.datasets import load_digits  # noqa: PLC0415 - where the file has moved

    grey, labels = load_digits(return_X_y=True)
    return grey, labels
