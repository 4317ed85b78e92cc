"""What lies in a folder of images besides what is used, and what is done to an image before a model
sees it.
"""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from PIL import Image

from trials.datasets._files import FORMATS

_THREADS = 8
_ORIENTATION = 0x0112  # the EXIF tag that says how a camera was held
_GREY, _CLEAR = ("1", "L"), ("LA", "PA", "RGBA", "RGBa", "La")


@dataclass(frozen=True, slots=True)
class Survey:
    """Files of a folder of images.

    Attributes:
        skipped: files that are not used, by why.
        converted: images that are changed, by how.
        sha256: of the lines that ``sha256sum`` prints for the images that are used, sorted by path.
    """

    skipped: Mapping[str, int]
    converted: Mapping[str, int]
    sha256: str


def survey(top: Path, base: Path, files: Iterable[Path], size: int) -> Survey:
    """Look at every file once; reads the images' bytes, but decodes none.

    Args:
        top: the folder that the user named.
        base: the folder below it that holds the class folders.
        files: the images that are used, all of them readable.
        size: side in pixels that they are brought to.
    """
    known = sorted(files, key=lambda file: file.relative_to(base).as_posix())
    with ThreadPoolExecutor(_THREADS) as pool:
        seen = list(pool.map(lambda file: _seen(file, size), known))
    converted = Counter[str](chain.from_iterable(changes for _, changes in seen))
    state = hashlib.sha256()
    for file, (digest, _) in zip(known, seen, strict=True):
        state.update(
            f"{digest}  {file.relative_to(base).as_posix()}\n".encode("utf-8", "surrogateescape")
        )
    return Survey(
        dict(_skipped(top, base, set(known)).most_common()),
        dict(converted.most_common()),
        state.hexdigest(),
    )


def _skipped(top: Path, base: Path, known: set[Path]) -> Counter[str]:
    found: Counter[str] = Counter()
    for here, below, names in os.walk(top):
        folder = Path(here)
        found.update("link to a folder" for name in below if (folder / name).is_symlink())
        found.update(_why(folder / name, top, base) for name in names if folder / name not in known)
    return found


def _why(file: Path, top: Path, base: Path) -> str:
    if not file.is_relative_to(base):
        return f"outside {base.relative_to(top).as_posix()}/"
    parts = file.relative_to(base).parts
    if len(parts) == 1:
        return "beside the class folders"
    if parts[0].startswith("."):
        return "in a hidden folder"
    return f"no image by its ending ({file.suffix.lower() or 'none'})"


def _seen(file: Path, size: int) -> tuple[str, list[str]]:
    """SHA-256 of the file, and what is done to the image."""
    content = file.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return digest, _changes(image, size)
    except Exception:
        # a decoder given hostile bytes may raise anything; what cannot be decoded was refused
        # before
        return digest, []


def _of_mode(image: Image.Image) -> str:
    """What is done to the image's colours; empty for nothing."""
    if image.mode in _GREY:
        return "grey to RGB"
    if image.mode.startswith("I;16"):
        return "16-bit grey to 8-bit RGB"
    if image.mode in _CLEAR or "transparency" in image.info:
        return "transparency dropped"
    return "" if image.mode == "RGB" else f"{'palette' if image.mode == 'P' else image.mode} to RGB"


def _changes(image: Image.Image, size: int) -> list[str]:
    found = list(filter(None, [_of_mode(image)]))
    if image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False):
        found.append("first frame of several taken")
    if image.format != "PNG" and image.getexif().get(_ORIENTATION, 1) not in (0, 1):
        # of a PNG all is decoded for it
        found.append("taken as stored, not turned as its EXIF orientation says")
    if image.width != image.height:
        found.append("cropped to the square in its centre")
    if min(image.size) != size:
        found.append(
            f"scaled {'down' if min(image.size) > size else 'up'} to {size} x {size} pixels"
        )
    return found
