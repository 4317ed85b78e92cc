"""What data sets of image files share: the folder of each class, the images in it, and their
decoded pixels.
"""

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from trials.datasets._cache import cached
from trials.datasets._files import fingerprint, rgb
from trials.spec import SpecError, content_id

_ENDINGS = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
_CHUNK = 256  # images decoded together, at most
_BYTES = 256 * 2**20  # of images decoded together
_LARGEST = 4096  # pixels of a side; a larger one is taken for a typing error


def folders(path: Path) -> list[Path]:
    """The sub-folders, sorted; hidden ones are left out."""
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def images_in(method: str, top: Path, folder: Path) -> list[Path]:
    """The images below one class folder, sorted.

    Raises SpecError if there are none, or a link leaves ``top``.
    """
    if folder.is_symlink():
        _stays(method, top, folder)
    found, todo = [], [folder]
    while todo:
        with os.scandir(todo.pop()) as entries:
            # a call an entry would take minutes for a million images
            for entry in entries:
                path = Path(entry.path)
                if entry.is_symlink():
                    _stays(method, top, path)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(path)
                elif path.suffix.lower() in _ENDINGS and entry.is_file():
                    found.append(path)
    if not found:
        raise SpecError(
            f"{method}: class folder {str(folder)!r} holds no images "
            f"({', '.join(sorted(_ENDINGS))})."
        )
    return sorted(found)


def decoded(method: str, base: Path, files: list[Path], size: int, share: float = 1.0) -> Tensor:
    """The images as uint8 (n, 3, size, size) from the cache, which they enter when first asked for.

    Args:
        method: the data set's name; begins the cache file's.
        base: folder that the files lie in.
        files: the images.
        size: side in pixels.
        share: of the largest centred square, the part of its side that is kept.

    Raises:
        SpecError: an image cannot be read, or a side of more than 4,096 pixels.
    """

    if size > _LARGEST:
        raise SpecError(f"{method}: size must be at most {_LARGEST} pixels, got {size}.")
    chunk = max(1, min(_CHUNK, _BYTES // (3 * size**2)))

    def chunks() -> Iterator[NDArray[np.uint8]]:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool, warnings.catch_warnings():
            # Pillow warns of odd palettes and tags, but an image can be decoded or it cannot
            warnings.simplefilter("ignore")
            for start in range(0, len(files), chunk):
                part = files[start : start + chunk]
                yield np.stack(list(pool.map(lambda file: _square(file, size, share), part)))

    what = [fingerprint(base, files), size, *([share] if share != 1 else [])]
    return cached(f"{method}-{content_id(what)}", (len(files), 3, size, size), chunks)


def _stays(method: str, top: Path, link: Path) -> None:
    try:
        inside = link.resolve().is_relative_to(top.resolve())
    except (OSError, RuntimeError) as problem:  # links in a circle
        raise SpecError(
            f"{method}: {str(link)!r} is a link that leads nowhere. Remove it."
        ) from problem
    if not inside:
        raise SpecError(
            f"{method}: {str(link)!r} is a link out of {str(top)!r}. Put the images themselves "
            "there."
        )


def _square(file: Path, size: int, share: float) -> NDArray[np.uint8]:
    image = rgb(file, str(file))
    # crop first: a strip of 1 x 1,000,000 pixels must not be scaled up whole
    side = min(image.size) * share
    left, upper = (image.width - side) // 2, (image.height - side) // 2
    image = image.resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, upper, left + side, upper + side)
    )
    return np.asarray(image).transpose(2, 0, 1)
