"""What a stranger's file of weights, or those of a Hugging Face folder, hold; nothing in them is
run.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from trials.spec import SpecError
from trials.weights.files import shapes_of, together
from trials.weights.known import Candidate, Fit, first_layer, fits, known, last_layer
from trials.weights.names import Shape, Shapes, common_prefix, is_state, without_wrappers
from trials.weights.reading import SAFE_TYPES, is_safetensors, read_torch, safetensors_header
from trials.weights.shards import files_of, is_hugging_face

_SPARE = 64 * 2**20  # bytes that a torch file may unpack to beyond its own size
_FRONT = 3  # parts of a prefix that no architecture confirms


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a file holds.

    Attributes:
        file: its path; of several, their folder's.
        parts: number of files.
        format: safetensors or one of torch's.
        bytes: their size.
        where: the entries that the state dict lay in; empty for none.
        beside: names of what lies beside the state dict and is no tensor.
        prefix: what all names of the model have in front.
        tensors: their number.
        parameters: numbers in them, without running statistics and counters.
        types: type of the numbers to tensors.
        first: name and shape of the first convolution.
        last: name and shape of the last linear layer.
        classes: its outputs.
        fits: known architectures, the best first.
    """

    file: str
    parts: int
    format: str
    bytes: int
    where: str
    beside: tuple[str, ...]
    prefix: str
    tensors: int
    parameters: int
    types: Mapping[str, int]
    first: tuple[str, Shape] | None
    last: tuple[str, Shape] | None
    classes: int | None
    fits: tuple[Fit, ...]

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        found["fits"] = [{**asdict(fit), "complete": fit.complete} for fit in self.fits]
        return found


def inspect(path: Path, candidates: Callable[[Shapes], Iterable[Candidate]] = known) -> Inspection:
    """Look into a file of weights, or the weights of a Hugging Face folder.

    Args:
        path: safetensors, a torch file, or a folder with a config.json.
        candidates: gives the architectures to compare with.

    Raises:
        SpecError: it cannot be read, or is something else.
    """
    file = path.expanduser()
    parts = files_of(file) if is_hugging_face(file) else (file,)
    held = [_held(part) for part in parts]
    shapes = together(str(file), [one.shapes for one in held])
    types = together(str(file), [one.types for one in held])
    if not shapes:
        raise SpecError(f"{str(file)!r} holds no tensor.")
    ranked = tuple(fits(shapes, candidates(shapes)))
    first, last = first_layer(shapes), last_layer(shapes)
    return Inspection(
        file=str(parts[0] if len(parts) == 1 else file),
        parts=len(parts),
        format=held[0].format,
        bytes=sum(part.stat().st_size for part in parts),
        where=held[0].where,
        beside=held[0].beside,
        prefix=ranked[0].prefix if ranked and ranked[0].complete else _prefix(shapes),
        tensors=len(shapes),
        parameters=sum(prod(s) for k, s in shapes.items() if not is_state(k)),
        types=dict(Counter(types.values()).most_common()),
        first=(first, shapes[first]) if first else None,
        last=(last, shapes[last]) if last else None,
        classes=shapes[last][0] if last else None,
        fits=ranked,
    )


@dataclass(frozen=True, slots=True)
class _Held:
    """What one file holds; as ``Inspection`` has it."""

    format: str
    shapes: Shapes
    types: Mapping[str, str]
    where: str = ""
    beside: tuple[str, ...] = ()


def _held(file: Path) -> _Held:
    if is_safetensors(file):
        shapes, raw = safetensors_header(file)
        return _Held("safetensors", shapes, {k: SAFE_TYPES.get(t, t) for k, t in raw.items()})
    found = read_torch(file, file.stat().st_size + _SPARE, "its own size.")
    with file.open("rb") as stream:
        kind = "torch, zip archive" if stream.read(2) == b"PK" else "torch, before version 1.6"
    types = {k: str(v.dtype).removeprefix("torch.") for k, v in found.tensors.items()}
    return _Held(kind, shapes_of(found.tensors), types, found.where, found.beside)


def _prefix(shapes: Shapes) -> str:
    """What all names have in front, as far as it cannot be a part of the architecture."""
    short = without_wrappers(shapes)
    wrapped = next((k[: len(k) - len(s)] for k, s in short.items() if k.endswith(s) and k != s), "")
    shared = common_prefix(list(short.values()))
    return wrapped + (shared if shared.count(".") <= _FRONT and len(short) > 2 else "")
