"""The cache of decoded images: decoded once, rebuilt when damaged, done without when it cannot be
written.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from trials.datasets import _cache
from trials.datasets._cache import Rows, cached
from trials.spec import SpecError

SHAPE = (6, 3, 4, 4)
ROWS = np.arange(6 * 48, dtype=np.int64).reshape(SHAPE).astype(np.uint8)


class Decoder:
    """Gives the rows in two chunks and counts how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> Iterator[Rows]:
        self.calls += 1
        yield ROWS[:4]
        yield ROWS[4:]


def test_decodes_once_and_gives_the_same_rows_again(cache_folder: Path) -> None:
    decoder = Decoder()
    first, second = cached("key", SHAPE, decoder), cached("key", SHAPE, decoder)
    assert decoder.calls == 1
    assert torch.equal(first, torch.from_numpy(ROWS)) and torch.equal(first, second)
    assert sorted(p.name for p in cache_folder.iterdir()) == ["key.lock", "key.npy"]


def test_writing_to_the_tensor_leaves_the_file_alone() -> None:
    cached("key", SHAPE, Decoder())[:] = 7
    assert torch.equal(cached("key", SHAPE, Decoder()), torch.from_numpy(ROWS))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "other shape", "not npy"])
def test_a_damaged_file_is_written_again(cache_folder: Path, damage: str) -> None:
    cached("key", SHAPE, Decoder())
    file = cache_folder / "key.npy"
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[-20] ^= 1
    np.save(cache_folder / "other.npy", ROWS[:5])
    other = (cache_folder / "other.npy").read_bytes()
    new: dict[str, bytes | bytearray] = {
        "truncated": content[:-30],
        "flipped": content,
        "emptied": b"",
        "other shape": other,
        "not npy": b"x" * 500,
    }
    file.write_bytes(bytes(new[damage]))
    decoder = Decoder()
    assert torch.equal(cached("key", SHAPE, decoder), torch.from_numpy(ROWS))
    assert decoder.calls == 1


def test_a_decoder_that_fails_leaves_nothing_behind(cache_folder: Path) -> None:
    def failing() -> Iterator[Rows]:
        yield ROWS[:4]
        raise SpecError("image 5 is broken")

    with pytest.raises(SpecError, match="image 5"):
        cached("key", SHAPE, failing)
    assert [p.name for p in cache_folder.iterdir()] == ["key.lock"]


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("POISONSWEEP_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="POISONSWEEP_CACHE"):
        assert torch.equal(cached("key", SHAPE, Decoder()), torch.from_numpy(ROWS))


def test_a_set_too_large_for_memory_needs_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("POISONSWEEP_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(_cache, "_IN_MEMORY", 10)
    with pytest.raises(SpecError, match="Set POISONSWEEP_CACHE"):
        cached("key", SHAPE, Decoder())
