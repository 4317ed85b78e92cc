"""The digest of a file or folder: what identifies it in an id, wherever it lies."""

import hashlib
import math
import os
from pathlib import Path

from trials.image_tables import TEXT, named
from trials.spec import SpecError

# bytes of one file; a sparse one costs its maker nothing, and its reader hours
_LARGEST = 16 * 2**30
_SAMPLED = 10_000  # files of a large folder that are looked into
_PIECE = 4096  # bytes of each of the three pieces that are read of such a file


def digest_of(path: str | os.PathLike[str], whole_below: int = 256 * 2**20, few: int = 64) -> str:
    """Digest of a file's bytes, or of a folder: names, sizes and the bytes.

    Of a folder with more than ``few`` files and ``whole_below`` bytes (images, not weights) a
    sample of the bytes stands for all: the head, the middle and the tail of up to 10,000 files,
    spread over the whole. Times of modification stay out: a copy of the folder has others, and
    would run again all that is stored. A CSV or TSV file is digested like a folder that holds it
    and the images that it names.

    Raises:
        SpecError: a file whose bytes are wanted has more than 16 GiB.
    """
    root, state = Path(path), hashlib.sha256()
    files = _files(root)
    sizes = [p.stat().st_size for p in files]
    whole = sum(sizes) <= whole_below or len(files) <= few
    for file, size in zip(files, sizes, strict=True):
        if whole and size > _LARGEST:
            raise SpecError(
                f"{str(file)!r} has {size / 2**30:.0f} GiB; files of at most 16 GiB are read."
            )
    if files == [root]:
        with root.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    base = files[0].parent if root.is_file() else root
    step = math.ceil(len(files) / _SAMPLED)
    for i, (file, size) in enumerate(zip(files, sizes, strict=True)):
        state.update(
            f"{file.relative_to(base).as_posix()}\0{size}\0".encode("utf-8", "surrogateescape")
        )
        if whole:
            with file.open("rb") as stream:
                while block := stream.read(2**20):
                    state.update(block)
        elif i % step == 0:
            state.update(_sample(file, size))
    return state.hexdigest()[:16]


def _files(root: Path) -> list[Path]:
    if not root.is_file():
        return sorted(p for p in root.rglob("*") if p.is_file())
    return [root.resolve(), *named(root)] if root.suffix.lower() in TEXT else [root]


def _sample(file: Path, size: int) -> bytes:
    """The head, the middle and the tail of a file; all of a small one."""
    with file.open("rb") as stream:
        if size <= 3 * _PIECE:
            return stream.read(3 * _PIECE)
        pieces = []
        for start in (0, (size - _PIECE) // 2, size - _PIECE):
            stream.seek(start)
            pieces.append(stream.read(_PIECE))
        return b"".join(pieces)
