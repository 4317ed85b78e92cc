"""The files that hold the weights of a Hugging Face folder: one, or several and their index."""

import json
from pathlib import Path, PurePosixPath

from trials.spec import SpecError
from trials.weights.other_files import ACCEPTED

CONFIG = "config.json"
_WHOLE = ("model.safetensors", "pytorch_model.bin")  # the first that is there, or its index
_INDEX = ".index.json"
_BYTES = 16 * 2**20  # of an index; the largest have some MiB
_MOST = 1000  # files of one model


def is_hugging_face(path: Path) -> bool:
    """Whether it is a folder whose config.json says what its weights are of."""
    return (path / CONFIG).is_file()


def files_of(folder: Path) -> tuple[Path, ...]:
    """The files that hold a folder's weights.

    Raises:
        SpecError: there are none, or not all that the index names.
    """
    for name in _WHOLE:
        if (folder / name).is_file():
            return (folder / name,)
        if (folder / f"{name}{_INDEX}").is_file():
            return _listed(folder, folder / f"{name}{_INDEX}")
    raise SpecError(
        f"{str(folder)!r} has a {CONFIG}, but no weights: needed is {' or '.join(_WHOLE)}, or the "
        "index of its parts. Copy the folder whole, or save it again with save_pretrained."
    )


def _listed(folder: Path, index: Path) -> tuple[Path, ...]:
    try:
        if index.stat().st_size > _BYTES:
            raise ValueError(f"more than {_BYTES} bytes")
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
        if not 0 < len(names) <= _MOST:
            raise ValueError(f"{len(names)} files; 1 to {_MOST} are read")
        if strange := [n for n in names if PurePosixPath(n).name != n or n in (".", "..")]:
            raise ValueError(f"the name {strange[0][:80]!r}")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise SpecError(
            f"{str(index)!r} is no index of weights ({reason}). {ACCEPTED}"
        ) from problem
    if lost := [n for n in names if not (folder / n).is_file()]:
        raise SpecError(
            f"{str(index)!r} names {len(lost)} files that are not there, the first {lost[0]!r}. "
            "Copy the folder whole."
        )
    return tuple(folder / n for n in names)
