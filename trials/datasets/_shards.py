"""WebDataset's shards: tar files in which files of one name, but for their endings, are a sample.

Source: the layout that webdataset writes (https://github.com/webdataset/webdataset): ``KEY.jpg``
beside ``KEY.cls``.
Deviation: nothing is unpacked, and no name in a shard is taken for a path.
"""

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trials.datasets._folders import IMAGE_ENDINGS
from trials.spec import SpecError

_LABELS = ("cls", "cls.txt")
_LABEL = 4096  # bytes of a label
_LARGEST = 2**30  # bytes of an image
_MOST = 1_000_000  # files in the shards of a split
_SHOWN = 60  # characters of a name in an error


@dataclass(frozen=True, slots=True)
class Sample:
    """An image and its class, and where its bytes lie.

    Attributes:
        shard: the tar file.
        key: the sample's name in it.
        label: name or number of the class.
        start, size: of the image's bytes in the shard.
    """

    shard: Path
    key: str
    label: str
    start: int
    size: int

    @property
    def name(self) -> str:
        """What an error calls the image."""
        return f"{self.shard.name}/{self.key}"

    def read(self) -> bytes:
        """The encoded image."""
        with self.shard.open("rb") as stream:
            stream.seek(self.start)
            return stream.read(self.size)


@dataclass(slots=True)
class _Parts:
    """The files of a sample, as far as they were met."""

    label: str | None = None
    image: tuple[int, int] | None = None  # start and size


@dataclass(frozen=True, slots=True)
class Shards:
    """What the shards of a split hold.

    Attributes:
        samples: in the order of the shards and of the files in them.
        unused: names of other files in them.
    """

    samples: list[Sample]
    unused: list[str]


def read(method: str, shards: list[Path]) -> Shards:
    """The samples of some shards; of the images nothing but their place is read.

    Args:
        method: the data set's name, for errors.
        shards: uncompressed tar files, in order.

    Raises:
        SpecError: a shard is no whole tar file, has links or devices, or a sample lacks its image
            or its label, or has two.
    """
    samples, unused = list[Sample](), list[str]()
    for shard in shards:
        try:
            found = _of_shard(shard, unused, _MOST - len(samples))
        except (tarfile.TarError, OSError, ValueError, OverflowError, EOFError) as problem:
            reason = " ".join(str(problem).split())[:200] or type(problem).__name__
            raise SpecError(
                f"{method}: cannot read the shard {str(shard)!r}: {reason}. Needed is an "
                "uncompressed tar file with NAME.jpg (or another image) and NAME.cls for each one."
            ) from problem
        samples += found
    return Shards(samples, unused)


def _of_shard(shard: Path, unused: list[str], most: int) -> list[Sample]:
    """The samples of a shard. Raises ValueError for what a shard must not have."""
    parts: dict[str, _Parts] = {}
    with shard.open("rb") as stream, tarfile.open(fileobj=stream, mode="r:") as opened:
        for number, member in enumerate(_members(opened, shard.stat().st_size)):
            if number >= most * 2:
                raise ValueError(f"more than {_MOST:,} images")
            key, _, ending = _split(member.name)
            if ending in _LABELS:
                _once(parts, key, "labels").label = _label(opened, member)
            elif f".{ending.rpartition('.')[2]}" in IMAGE_ENDINGS:
                _once(parts, key, "images").image = member.offset_data, member.size
            else:
                unused.append(f"{shard.name}/{member.name}")
    return [_sample(shard, key, part) for key, part in parts.items()]


def _members(opened: tarfile.TarFile, size: int) -> Iterator[tarfile.TarInfo]:
    """The plain files, each within the shard; folders are passed over."""
    end = 0
    for member in opened:
        name = member.name[:_SHOWN]
        if member.offset_data < end or member.size < 0 or member.offset_data + member.size > size:
            raise ValueError(f"{name!r} does not lie within it, so it is cut short or damaged")
        end = member.offset_data
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            raise ValueError(f"{name!r} is a link, a device or a sparse file, not a plain one")
        yield member
    if not end:
        raise ValueError("it is empty")


def _split(name: str) -> tuple[str, str, str]:
    """A file's name up to the first dot of its last part, and its ending, in small letters."""
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.partition(".")
    return f"{folder}{slash}{stem}", dot, ending.lower()


def _once(parts: dict[str, _Parts], key: str, what: str) -> _Parts:
    """The sample of that name, which has no such file yet."""
    part = parts.setdefault(key, _Parts())
    if (part.label if what == "labels" else part.image) is not None:
        raise ValueError(f"{key[:_SHOWN]!r} has two {what}")
    return part


def _label(opened: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    stream = opened.extractfile(member) if member.size <= _LABEL else None
    text = stream.read().decode("utf-8").strip() if stream else ""
    if not text or not text.isprintable():
        raise ValueError(f"{member.name[:_SHOWN]!r} is no class: needed is its number or name")
    return text


def _sample(shard: Path, key: str, part: _Parts) -> Sample:
    if part.image is None or part.label is None:
        lacks = "image" if part.image is None else "label (.cls)"
        raise ValueError(f"{key[:_SHOWN]!r} has no {lacks}")
    start, size = part.image
    if size > _LARGEST:
        raise ValueError(f"the image {key[:_SHOWN]!r} has more than {_LARGEST // 2**20} MiB")
    return Sample(shard, key, part.label, start, size)


def encoded(samples: list[Sample]) -> Iterator[tuple[bytes, str]]:
    """The encoded images, each with its name."""
    return ((sample.read(), sample.name) for sample in samples)


def readers(samples: list[Sample]) -> Iterator[Callable[[], bytes]]:
    """What reads each encoded image."""
    return (partial(Sample.read, sample) for sample in samples)
