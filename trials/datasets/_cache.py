"""Decoded images in a memory-mapped file: processes share one copy, and a set larger than memory is
still read.

A file is ``.npy`` followed by the CRC-32 of its data. It appears whole or not at all, and one that
is damaged is written again.
"""

import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trials.spec import SpecError
from trials.storage.node_cache import alone, folder
from trials.whole import whole

Rows = NDArray[np.uint8]
# bytes whose CRC is checked at each opening; of a larger set only the size and shape are
_CHECKED = 256 * 2**20
_IN_MEMORY = 2 * 2**30  # bytes that may stay in memory if the cache cannot be written


def cached(key: str, shape: tuple[int, ...], chunks: Callable[[], Iterator[Rows]]) -> Tensor:
    """The uint8 tensor of ``shape`` whose rows ``chunks()`` gives, decoded once for all processes
    of this machine.

    Writing to the tensor changes this process's copy only.

    Args:
        key: digest of all that decides the rows: the sources' content and the settings.
        shape: of the whole; ``chunks()`` must give ``shape[0]`` rows in all.
        chunks: decodes; is not called if the cache holds the rows.

    Raises:
        SpecError: the cache cannot be written and the set is too large for memory.
    """
    path = folder() / f"{key}.npy"
    if (found := _opened(path, shape)) is not None:
        return found
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path):
            if (found := _opened(path, shape)) is None:
                _write(path, shape, chunks())
                found = _opened(path, shape)
        if found is not None:
            return found
        problem: object = "the file written is damaged"
    except OSError as error:
        problem = error
    size, place = (
        int(np.prod(shape)),
        f"The cache folder {str(path.parent)!r} cannot be used ({problem})",
    )
    if size > _IN_MEMORY:
        raise SpecError(
            f"{place}, and {size / 2**30:.1f} GiB of images are too many for memory. "
            "Set POISONSWEEP_CACHE to a folder on a disk with that much room."
        )
    warnings.warn(
        f"{place}; the images stay in memory. Set POISONSWEEP_CACHE to another folder.",
        stacklevel=2,
    )
    return torch.from_numpy(np.concatenate(list(chunks())).reshape(shape))


def _opened(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
        if not isinstance(array, np.memmap) or array.shape != shape or array.dtype != np.uint8:
            return None
        end = array.offset + array.nbytes
        if path.stat().st_size != end + 4:
            return None
        with path.open("rb") as stream:
            stream.seek(end)
            if array.nbytes <= _CHECKED and zlib.crc32(array.data) != int.from_bytes(
                stream.read(4), "big"
            ):
                return None
    except (OSError, ValueError, EOFError):
        return None
    return torch.from_numpy(array)


def _write(path: Path, shape: tuple[int, ...], chunks: Iterator[Rows]) -> None:
    with whole(path) as part, part.open("wb") as out:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        crc = rows = 0
        for chunk in chunks:
            data = np.ascontiguousarray(chunk, dtype=np.uint8)
            out.write(data.data)
            crc, rows = zlib.crc32(data.data, crc), rows + len(data)
        if rows != shape[0]:
            raise ValueError(f"{rows} rows decoded, {shape[0]} expected")
        out.write(crc.to_bytes(4, "big"))
