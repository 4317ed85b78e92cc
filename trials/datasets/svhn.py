"""SVHN: 73,257 training and 26,032 test images of 32x32 pixels, digits of house numbers, read from
a folder.

Source: Netzer et al. 2011, Reading Digits in Natural Images with Unsupervised Feature Learning; the
cropped digits, in the files that torchvision's ``SVHN`` reads.
Deviation: never downloads. The 531,131 extra images are not read. Training never mirrors: a
mirrored digit is none.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from trials.datasets._files import located
from trials.spec import Location, SpecError
from trials.types import Images


def load(
    split: Literal["train", "test"], /, *, root: Location = "$POISONSWEEP_DATA/svhn"
) -> Images:
    """The training or test images; class 0 is the digit 0, which the files call 10.

    Args:
        split: ``train`` or ``test``.
        root: folder that holds train_32x32.mat and test_32x32.mat.

    Raises:
        SpecError: a file is missing, damaged, or holds other images.
    """
    file = located("svhn", root) / f"{split}_32x32.mat"
    if not file.is_file():
        raise SpecError(f"svhn: {str(file)!r} is not there. Set root = the folder that holds it.")
    x, y = _read(file)
    return Images(
        torch.from_numpy(x), torch.from_numpy(y), 10, tuple(map(str, range(10))), pad=4, flip=False
    )


def _read(file: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels (n, 3, 32, 32) and labels (n,)."""
    from scipy.io import loadmat  # noqa: PLC0415 - slow to load

    try:
        found: dict[str, Any] = loadmat(file, variable_names=["X", "y"])
        x, y = found["X"], found["y"].reshape(-1).astype(np.int64)
    except Exception as problem:  # a reader given hostile bytes may raise anything
        raise SpecError(
            f"svhn: cannot read {str(file)!r} as a MATLAB file with X and y "
            f"({type(problem).__name__}). Download it again."
        ) from problem
    if x.dtype != np.uint8 or x.shape != (32, 32, 3, len(y)) or not len(y):
        raise SpecError(
            f"svhn: {str(file)!r} holds X of the shape {x.shape} and type {x.dtype}, and {len(y)} "
            "labels; needed are 32 x 32 x 3 x n bytes and n labels. Download it again."
        )
    if y.min() < 0 or y.max() > 10:
        raise SpecError(f"svhn: {str(file)!r} has labels that are not in 0..10.")
    return np.ascontiguousarray(x.transpose(3, 2, 0, 1)), y % 10
