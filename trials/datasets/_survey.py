"""What lies in a folder of images besides what is used, and what is done to an image before a model
sees it.
"""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from PIL import Image

from trials.datasets._files import FORMATS, orientation
from trials.datasets._folders import unseen

_THREADS = 8
_AT_ONCE = 256  # images whose bytes are in memory together
_NAMED = 3  # files that stand for all of a kind
_GREY, _CLEAR = ("1", "L"), ("LA", "PA", "RGBA", "RGBa", "La")
Seen = tuple[str, list[str]]  # SHA-256 of an image's bytes, and what is done to it


@dataclass(frozen=True, slots=True)
class Survey:
    """A user's own images.

    Attributes:
        skipped: files that are not used, by why.
        converted: images that are changed, by how.
        sha256: of the lines that ``sha256sum`` prints for the images that are used, sorted by path;
            an image of a Parquet file is called by file and row.
        examples: for each reason why files are not used, some of them.
        twice: pairs of names of images whose bytes are the same and whose classes are not.
    """

    skipped: Mapping[str, int]
    converted: Mapping[str, int]
    sha256: str
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    twice: tuple[tuple[str, str], ...] = ()


def look(reads: Iterable[Callable[[], bytes]], size: int, turn: bool) -> list[Seen]:
    """Look at every image once; reads the bytes, but decodes none.

    Args:
        reads: each gives the bytes of an image, which can be decoded.
        size: side in pixels that they are brought to.
        turn: they are turned as their EXIF orientation says.
    """
    todo, found = iter(reads), list[Seen]()
    with ThreadPoolExecutor(_THREADS) as pool:
        while part := list(islice(todo, _AT_ONCE)):
            found += pool.map(lambda read: _seen(read(), size, turn), part)
    return found


def one_side(reads: Iterable[Callable[[], bytes]]) -> int | None:
    """The shorter side of the images, in pixels, where it is the same of all; else None.

    Only their heads are decoded; those that cannot be are passed over.
    """
    found: int | None = None
    for read in reads:
        try:
            with Image.open(io.BytesIO(read()), formats=FORMATS) as image:
                side = min(image.size)
        except Exception:  # a decoder given hostile bytes may raise anything
            continue
        if found not in (None, side):
            return None
        found = side
    return found


def survey(
    names: Sequence[str],
    labels: Sequence[int],
    seen: Sequence[Seen],
    unused: Mapping[str, Sequence[str]],
) -> Survey:
    """What was seen, counted.

    Args:
        names: of the images, paths in the folder.
        labels: their classes.
        seen: what ``look`` gives of them.
        unused: the files that are not used, by why.
    """
    counts = Counter({why: len(files) for why, files in unused.items()})
    converted = Counter[str](chain.from_iterable(changes for _, changes in seen))
    state, first, twice = hashlib.sha256(), dict[str, int](), list[tuple[str, str]]()
    for i in sorted(range(len(names)), key=names.__getitem__):
        digest = seen[i][0]
        state.update(f"{digest}  {names[i]}\n".encode("utf-8", "surrogateescape"))
        other = first.setdefault(digest, i)
        if labels[other] != labels[i]:
            twice.append((names[other], names[i]))
    return Survey(
        dict(counts.most_common()),
        dict(converted.most_common()),
        state.hexdigest(),
        {why: tuple(sorted(files)[:_NAMED]) for why, files in unused.items()},
        tuple(twice),
    )


def unused(top: Path, base: Path, known: set[Path]) -> dict[str, list[str]]:
    """The files below ``top`` that are not used, by why; hidden ones and those of a system are not
    told of.

    Args:
        top: the folder that the user named.
        base: the folder below it that holds the class folders.
        known: the images that are used.
    """
    found: dict[str, list[str]] = {}
    for here, below, names in os.walk(top):
        folder = Path(here)
        below[:] = [name for name in below if not unseen(name)]
        links = [folder / name for name in below if (folder / name).is_symlink()]
        others = [folder / name for name in names if not unseen(name)]
        why = dict.fromkeys(links, "link to a folder")
        why |= {file: _why(file, top, base) for file in others if file not in known}
        for file, reason in why.items():
            found.setdefault(reason, []).append(file.relative_to(top).as_posix())
    return found


def _why(file: Path, top: Path, base: Path) -> str:
    if not file.is_relative_to(base):
        parts = file.relative_to(top).parts
        where = f"in {parts[0]}/" if len(parts) > 1 else "beside the folders"
        return f"{where}, while only {base.relative_to(top).as_posix()}/ is read"
    if len(file.relative_to(base).parts) == 1:
        return "beside the class folders"
    return f"no image by its ending ({file.suffix.lower() or 'none'})"


def _seen(content: bytes, size: int, turn: bool) -> Seen:
    digest = hashlib.sha256(content).hexdigest()
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return digest, _changes(image, size, turn)
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


def _changes(image: Image.Image, size: int, turn: bool) -> list[str]:
    found = list(filter(None, [_of_mode(image)]))
    if image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False):
        found.append("first frame of several taken")
    # of a PNG without that tag at its head all would be decoded for it
    told = image.format != "PNG" or "exif" in image.info
    if told and orientation(image) is not None:
        how = "turned" if turn else "taken as stored, not turned"
        found.append(f"{how} as its EXIF orientation says")
    if image.width != image.height:
        found.append("cropped to the square in its centre")
    if min(image.size) != size:
        found.append(
            f"scaled {'down' if min(image.size) > size else 'up'} to {size} x {size} pixels"
        )
    return found
