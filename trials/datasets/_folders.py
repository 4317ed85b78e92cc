"""What data sets of image files share: the folder of each class, the images in it, and their
decoded pixels.
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from operator import itemgetter
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from trials.datasets._cache import cached
from trials.datasets._files import fingerprint, rgb
from trials.spec import SpecError, content_id

IMAGE_ENDINGS = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"}
_CHUNK = 256  # images decoded together, at most
_BYTES = 256 * 2**20  # of images decoded together
_LARGEST = 4096  # pixels of a side; a larger one is taken for a typing error
_SYSTEM = ("thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin")
_DIGITS = 18  # of a name that is taken for a number
_NAMED = 3  # images that a line names besides the first
_FAULTS = 100  # images that cannot be read, after which no more are looked for
FileOrBytes = Path | bytes


def unseen(name: str) -> bool:
    """Whether a file or folder is hidden, or is one that a system leaves behind."""
    return name.startswith(".") or name.lower() in _SYSTEM


def folders(path: Path) -> list[Path]:
    """The sub-folders, sorted; hidden ones and those of a system are left out."""
    return sorted(p for p in path.iterdir() if p.is_dir() and not unseen(p.name))


def ordered(names: Iterable[str], order: str) -> list[str]:
    """Class names in the order of their labels.

    Args:
        names: each once.
        order: ``numbers``: names that are all numbers by their value, others as text; ``text``: all
            as text, 10 before 2.
    """
    found = sorted(names)
    if order == "numbers" and all(n.isdecimal() and len(n) <= _DIGITS for n in found):
        return sorted(found, key=int)
    return found


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
                if unseen(entry.name):
                    continue
                path = Path(entry.path)
                if entry.is_symlink():
                    _stays(method, top, path)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(path)
                elif path.suffix.lower() in IMAGE_ENDINGS and entry.is_file():
                    found.append(path)
    if not found:
        raise SpecError(
            f"{method}: class folder {str(folder)!r} holds no images "
            f"({', '.join(sorted(IMAGE_ENDINGS))})."
        )
    return sorted(found)


def decoded(
    method: str,
    base: Path,
    files: list[Path],
    size: int,
    share: float = 1.0,
    turn: bool = False,
) -> Tensor:
    """The images as uint8 (n, 3, size, size) from the cache, which they enter when first asked for.

    Args:
        method: the data set's name; begins the cache file's.
        base: folder that the files lie in.
        files: the images.
        size: side in pixels.
        share: of the largest centred square, the part of its side that is kept.
        turn: images are turned as their EXIF orientation says.

    Raises:
        SpecError: an image cannot be read, or a side of more than 4,096 pixels.
    """
    small(method, size)
    # what was decoded before images could be turned keeps its key
    how = [*([share] if share != 1 else []), *(["turned"] if turn else [])]

    def chunks() -> Iterator[NDArray[np.uint8]]:
        return squares(((file, str(file)) for file in files), size, share, turn)

    key = content_id([fingerprint(base, files), size, *how])
    return cached(f"{method}-{key}", (len(files), 3, size, size), chunks)


def small(method: str, size: int) -> None:
    """Raises SpecError for a side that is taken for a typing error."""
    if size > _LARGEST:
        raise SpecError(f"{method}: size must be at most {_LARGEST} pixels, got {size}.")


def squares(
    encoded: Iterable[tuple[FileOrBytes, str]], size: int, share: float = 1.0, turn: bool = False
) -> Iterator[NDArray[np.uint8]]:
    """The pixels uint8 (some, 3, size, size) of files or of encoded bytes, some at a time.

    Args:
        encoded: each with the name that an error calls it by.
        size: side in pixels.
        share: of the largest centred square, the part of its side that is kept.
        turn: images are turned as their EXIF orientation says.

    Raises:
        SpecError: an image cannot be read; names it, and how many others cannot be.
    """
    todo, faults = iter(encoded), list[tuple[str, SpecError]]()

    def square(one: tuple[FileOrBytes, str]) -> NDArray[np.uint8] | None:
        try:
            return _square(rgb(*one, turn), size, share)
        except SpecError as problem:
            faults.append((one[1], problem))
            return None

    chunk = max(1, min(_CHUNK, _BYTES // (3 * size**2)))
    with ThreadPoolExecutor(torch.get_num_threads()) as pool, warnings.catch_warnings():
        # Pillow warns of odd palettes and tags, but an image can be decoded or it cannot
        warnings.simplefilter("ignore")
        while len(faults) < _FAULTS and (part := list(islice(todo, chunk))):
            found = list(pool.map(square, part))
            if not faults:
                yield np.stack([one for one in found if one is not None])
    if faults:
        raise _all(sorted(faults, key=itemgetter(0)))


def _all(faults: list[tuple[str, SpecError]]) -> SpecError:
    """One error for all images that cannot be read."""
    if len(faults) == 1:
        return faults[0][1]
    names = ", ".join(repr(name) for name, _ in faults[1 : _NAMED + 1])
    rest = f" and {len(faults) - 1 - _NAMED} more" if len(faults) - 1 > _NAMED else ""
    return SpecError(f"{faults[0][1]} Nor can {names}{rest} be read.")


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


def _square(image: Image.Image, size: int, share: float) -> NDArray[np.uint8]:
    # crop first: a strip of 1 x 1,000,000 pixels must not be scaled up whole
    side = min(image.size) * share
    left, upper = (image.width - side) // 2, (image.height - side) // 2
    image = image.resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, upper, left + side, upper + side)
    )
    return np.asarray(image).transpose(2, 0, 1)
