"""What a stranger's file of weights, or a Hugging Face folder, holds; nothing in it is run."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from trials.spec import SpecError
from trials.weights.files import shapes_of
from trials.weights.known import Candidate, Fit, first_layer, fits, known, last_layer
from trials.weights.names import Shape, Shapes, common_prefix, is_state, without_wrappers
from trials.weights.reading import SAFE_TYPES, is_safetensors, read_torch, safetensors_header

_CONFIG = 2**20  # bytes of a config.json
_SPARE = 64 * 2**20  # bytes that a torch file may unpack to beyond its own size
_LONGEST = 80  # characters of a value of a config.json
_FRONT = 3  # parts of a prefix that no architecture confirms


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a file holds.

    Attributes:
        file: its path.
        format: safetensors or one of torch's.
        bytes: its size.
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
    """Look into a file of weights.

    Args:
        path: safetensors, or a torch file.
        candidates: gives the architectures to compare with.

    Raises:
        SpecError: it cannot be read, or is something else.
    """
    file = path.expanduser()
    where, beside = "", tuple[str, ...]()
    if is_safetensors(file):
        shapes, raw = safetensors_header(file)
        types, kind = {k: SAFE_TYPES.get(t, t) for k, t in raw.items()}, "safetensors"
    else:
        found = read_torch(file, file.stat().st_size + _SPARE, "its own size.")
        shapes, where, beside = shapes_of(found.tensors), found.where, found.beside
        types = {k: str(v.dtype).removeprefix("torch.") for k, v in found.tensors.items()}
        with file.open("rb") as stream:
            kind = "torch, zip archive" if stream.read(2) == b"PK" else "torch, before version 1.6"
    if not shapes:
        raise SpecError(f"{str(file)!r} holds no tensor.")
    ranked = tuple(fits(shapes, candidates(shapes)))
    first, last = first_layer(shapes), last_layer(shapes)
    return Inspection(
        file=str(file),
        format=kind,
        bytes=file.stat().st_size,
        where=where,
        beside=beside,
        prefix=ranked[0].prefix if ranked and ranked[0].complete else _prefix(shapes),
        tensors=len(shapes),
        parameters=sum(prod(s) for k, s in shapes.items() if not is_state(k)),
        types=dict(Counter(types.values()).most_common()),
        first=(first, shapes[first]) if first else None,
        last=(last, shapes[last]) if last else None,
        classes=shapes[last][0] if last else None,
        fits=ranked,
    )


def hugging_face(folder: Path) -> dict[str, Any]:
    """What config.json and preprocessor_config.json of a folder say of an image classifier.

    Raises:
        SpecError: there is none, or it cannot be read.
    """
    config = _json(folder / "config.json")
    images = (
        _json(folder / "preprocessor_config.json")
        if (folder / "preprocessor_config.json").is_file()
        else {}
    )
    labels = config.get("id2label")
    return {
        "architectures": _short(config.get("architectures")),
        "model_type": _short(config.get("model_type")),
        "classes": len(labels) if isinstance(labels, dict) else _short(config.get("num_labels")),
        "names": _short(list(labels.values())) if isinstance(labels, dict) else None,
        "image_size": _short(images.get("size", config.get("image_size"))),
        "mean": _short(images.get("image_mean")),
        "std": _short(images.get("image_std")),
        "weights": sorted(p.name for p in folder.glob("*.safetensors")),
        "own_code": "auto_map" in config,
    }


def _prefix(shapes: Shapes) -> str:
    """What all names have in front, as far as it cannot be a part of the architecture."""
    short = without_wrappers(shapes)
    wrapped = next((k[: len(k) - len(s)] for k, s in short.items() if k.endswith(s) and k != s), "")
    shared = common_prefix(list(short.values()))
    return wrapped + (shared if shared.count(".") <= _FRONT and len(short) > 2 else "")


def _json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size > _CONFIG:
            raise ValueError(f"more than {_CONFIG} bytes")
        found = json.loads(file.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("no object")
    except (OSError, ValueError, RecursionError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise SpecError(f"{str(file)!r} cannot be read: {reason}. Copy it again.") from problem
    return found


def _short(value: Any) -> str | None:
    """A value of a stranger's file, as text of bounded length."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
