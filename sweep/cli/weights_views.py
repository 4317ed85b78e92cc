"""How the content of a file of weights is shown."""

import json
from collections.abc import Iterable

from sweep.commands.inspect import Looked
from sweep.console.terminal import shown
from trials.weights.inspection import Inspection
from trials.weights.known import Fit
from trials.weights.names import Shape, some

_NEAR = 0.5  # share of tensors alike from which an architecture is worth naming
_COLUMN = 14
_CONFIG = {
    "architectures": "architecture",
    "model_type": "model type",
    "classes": "classes",
    "names": "their names",
    "image_size": "image size",
    "mean": "mean",
    "std": "std",
}


def inspected(found: Looked, as_json: bool) -> None:
    """Print what was found, as lines or as JSON."""
    if as_json:
        print(json.dumps(found.as_json(), indent=1))
        return
    for head, text in found_lines(found):
        print(shown(f"{head:{_COLUMN}}{text}".rstrip()))


def found_lines(found: Looked) -> Iterable[tuple[str, str]]:
    """Head and text of each line."""
    if found.folder is not None:
        yield "folder", f"{found.path}: Hugging Face"
        for key, head in _CONFIG.items():
            if found.folder[key] is not None:
                yield head, str(found.folder[key])
        if found.folder["own_code"]:
            yield "warning", "config.json asks for code of its own (auto_map), which is never run"
        if found.inspection is None:
            yield "weights", "no safetensors file; a .bin file is not opened here"
    if found.inspection is not None:
        yield from _weights(found.inspection)


def _weights(seen: Inspection) -> Iterable[tuple[str, str]]:
    yield "file", f"{seen.file}: {seen.format}, {seen.bytes / 2**20:,.1f} MiB"
    beside = f"; beside it: {', '.join(seen.beside)}" if seen.beside else ""
    if seen.where or beside:
        yield "state dict", (f"in {seen.where}" if seen.where else "not in another entry") + beside
    if seen.prefix:
        yield "names", f"have {seen.prefix!r} in front"
    types = ", ".join(f"{number} {kind}" for kind, number in seen.types.items())
    yield "tensors", f"{seen.tensors} ({types}), {seen.parameters:,} parameters"
    if seen.first:
        yield "first layer", _layer(seen.first)
    if seen.last:
        yield "last layer", f"{_layer(seen.last)}: {seen.classes} classes"
    yield from _fits(seen.fits)


def _fits(fits: tuple[Fit, ...]) -> Iterable[tuple[str, str]]:
    if not fits or (not fits[0].alike and len(fits) > 1):
        yield "fits", "no known architecture"
        return
    best = fits[0]
    if best.complete:
        yield "fits", f"--arch {best.label}, by all names and shapes"
        if best.left_out:
            yield "left out", f"as no part of the model: {some(best.left_out)}"
        return
    near = f"{best.alike} of {best.total} tensors alike"
    if best.share >= _NEAR or len(fits) == 1:
        yield "fits", f"not quite; nearest is --arch {best.label}, {near}"
    else:
        yield "fits", f"no known architecture; nearest is {best.label}, {near}"
    if best.missing:
        yield "missing", some(best.missing)
    if best.unexpected:
        yield "unexpected", some(best.unexpected)
    for name, theirs, ours in best.other_shapes[:3]:
        yield "other shape", f"{name} is {_size(theirs)}, expected {_size(ours)}"


def _layer(layer: tuple[str, Shape]) -> str:
    return f"{layer[0]}, {_size(layer[1])}"


def _size(shape: Shape) -> str:
    return " x ".join(map(str, shape)) or "one number"
