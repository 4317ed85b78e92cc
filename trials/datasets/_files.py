"""What data sets read from disk: where it lies, which bytes it is, and the pixels of one image."""

import hashlib
import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from trials.spec import SpecError

# bytes; a larger set is known by names, sizes and times, without reading it twice
_WHOLE_BELOW = 256 * 2**20
# no others: EPS would start an interpreter of PostScript
FORMATS = ("PNG", "JPEG", "PPM", "BMP", "TIFF", "WEBP")
_LARGEST = 89_478_485  # pixels, Pillow's own limit: a quarter of a GiB decoded
# pixels of a side: a strip of one column takes a pointer or two, of 8 bytes each, for each row
_LONGEST = 2**20
_ORIENTATION = 0x0112  # the EXIF tag that says how a camera was held
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def expanded(method: str, root: str) -> Path:
    """The path that ``root`` names, variables and ``~`` expanded.

    Raises SpecError if it is not there.
    """
    if not root:
        raise SpecError(f"{method}: root is empty. Set root = the folder that holds the images.")
    try:
        path = Path(os.path.expandvars(root)).expanduser()
    except RuntimeError as problem:  # no such user
        raise SpecError(f"{method}: root is {root!r}: {problem} Write root = a path.") from problem
    if "$" in str(path):
        raise SpecError(
            f"{method}: root is {root!r}, but that variable is not set. Set it, or write root = a "
            "path."
        )
    return path


def located(method: str, root: str) -> Path:
    """The folder that ``root`` names, as ``expanded`` does.

    Raises SpecError if it is none.
    """
    path = expanded(method, root)
    if not path.is_dir():
        raise SpecError(
            f"{method}: root names {str(path)!r}, which is not a folder. Set root to the images' "
            "folder."
        )
    return path


def fingerprint(root: Path, files: Iterable[Path]) -> str:
    """A digest of the files' names and bytes; of names, sizes and times where the bytes are too
    many.
    """
    state, known = hashlib.sha256(), [(file, file.stat()) for file in files]
    small = sum(status.st_size for _, status in known) <= _WHOLE_BELOW
    for file, status in known:
        state.update(
            f"{os.path.relpath(file, root)}\0{status.st_size}\0".encode("utf-8", "surrogateescape")
        )
        state.update(file.read_bytes() if small else str(status.st_mtime_ns).encode())
    return state.hexdigest()


def orientation(image: Image.Image) -> Image.Transpose | None:
    """How a decoded image has to be turned to stand upright, as its EXIF orientation says."""
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged tag says nothing; the pixels are whole
        return None


def rgb(source: Path | bytes, name: str, turn: bool = False) -> Image.Image:
    """The decoded image in RGB; with ``turn`` upright, as its EXIF orientation says.

    Raises SpecError that names the image if it cannot be, or is a decompression bomb.
    """
    try:
        with Image.open(
            io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS
        ) as image:
            if image.width * image.height > _LARGEST:  # before decoding; Pillow itself only warns
                raise ValueError(f"{image.width}x{image.height} pixels are more than {_LARGEST}")
            if max(image.size) > _LONGEST:
                raise ValueError(f"a side of {max(image.size)} pixels is more than {_LONGEST}")
            if image.mode.startswith("I;16"):  # Pillow would clip 16-bit grey to white
                grey = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
                return _upright(image, grey.convert("RGB"), turn)
            if image.mode in ("I", "F"):
                raise ValueError(f"pixels of mode {image.mode} have no fixed range")
            return _upright(image, image.convert("RGB"), turn)
    except Exception as problem:  # a decoder given hostile bytes may raise anything
        reason = " ".join(str(problem).split())[:200] or type(problem).__name__
        raise SpecError(
            f"cannot read the image {name!r}: {reason}. Replace or remove it."
        ) from problem


def _upright(image: Image.Image, decoded: Image.Image, turn: bool) -> Image.Image:
    how = orientation(image) if turn else None
    return decoded if how is None else decoded.transpose(how)
