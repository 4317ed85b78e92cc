"""How the content of a file of weights is shown."""

import json
import shlex
from collections.abc import Iterable

from sweep.commands.inspect import Looked
from sweep.commands.inspect_folder import Configured
from sweep.console.terminal import shown
from trials.weights.inspection import Inspection
from trials.weights.known import Fit
from trials.weights.names import Shape, some

_NEAR = 0.5  # share of tensors alike from which an architecture is worth naming
_COLUMN = 14


def inspected(found: Looked, as_json: bool) -> None:
    """Print what was found, as lines or as JSON."""
    if as_json:
        print(json.dumps(found.as_json(), indent=1))
        return
    for head, text in found_lines(found):
        print(shown(f"{head:{_COLUMN}}{text}".rstrip()))


def found_lines(found: Looked) -> Iterable[tuple[str, str]]:
    """Head and text of each line."""
    if found.folder:
        yield from _folder(found.folder)
    if found.inspection:
        yield from _weights(found.inspection, found.folder)
    if found.folder:
        yield "defend", _taken(found.folder, found.inspection)


def _taken(folder: Configured, seen: Inspection | None) -> str:
    """The command that takes a folder, or why it is refused."""
    best = seen.fits[0] if seen and seen.fits else None
    if folder.refused or best is None or not best.complete:
        return f"refuses it: {folder.refused or 'its weights do not fit'}"
    arch = _option(best, folder)
    return f"poisonsweep defend --model {shlex.quote(folder.path)} {arch}--trusted IMAGES"


def _option(fit: Fit, folder: Configured | None) -> str:
    """What stands for an architecture; nothing for a folder's own."""
    own = folder is not None and fit.label == folder.architecture
    return "" if own else f"--arch {fit.label} "


def _folder(folder: Configured) -> Iterable[tuple[str, str]]:
    yield "folder", f"{folder.path}: Hugging Face"
    kind = f" (model type {folder.model_type})" if folder.model_type else ""
    yield "architecture", f"{folder.architecture or 'not said'}{kind}"
    names = f": {some(folder.names)}" if folder.names else ""
    yield "classes", f"{folder.classes}{names}"
    if folder.own_code:
        yield "warning", "config.json asks for code of its own (auto_map), which is never run"
    if folder.size:
        yield "image size", f"{folder.size} x {folder.size} pixels"
    if not folder.refused:
        yield "normalisation", folder.normalisation or "not said; --norm says it, or a probe"


def _weights(seen: Inspection, folder: Configured | None) -> Iterable[tuple[str, str]]:
    files = f" in {seen.parts} files" if seen.parts > 1 else ""
    yield "file", f"{seen.file}: {seen.format}{files}, {seen.bytes / 2**20:,.1f} MiB"
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
    yield from _fits(seen.fits, folder)
    if folder is None and len(seen.fits) != 1 and not (seen.fits and seen.fits[0].share >= _NEAR):
        yield "try", "--arch timm:NAME, if it is one of timm's; those are not looked through"


def _fits(fits: tuple[Fit, ...], folder: Configured | None) -> Iterable[tuple[str, str]]:
    if not fits or (not fits[0].alike and len(fits) > 1):
        yield "fits", "no known architecture"
        return
    best = fits[0]
    named = _option(best, folder).strip() or best.label
    if best.complete:
        yield "fits", f"{named}, by all names and shapes"
        if best.left_out:
            yield "left out", f"as no part of the model: {some(best.left_out)}"
        return
    near = f"{best.alike} of {best.total} tensors alike"
    if best.share >= _NEAR or len(fits) == 1:
        yield "fits", f"not quite; nearest is {named}, {near}"
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
