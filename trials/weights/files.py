"""Weights in and out of models: safetensors, or a plain torch state dict; never code.

A file is checked whole (names, shapes, types, values) before the first weight changes, so a refused
file leaves the model as it was.
"""

import os
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from trials.spec import SpecError
from trials.weights._unpack import CODE, DIED, NO_STATE, TOO_MUCH, Refused, unpacked
from trials.weights.names import check_fit, renamed
from trials.whole import whole

_TORCH = (b"PK", b"\x80")  # a zip archive; a pickle, as torch wrote before version 1.6
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_SAFE = {
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F64": torch.float64,
    "I64": torch.int64,
}
_ACCEPTED = (
    "Accepted: safetensors, or a plain state dict saved by torch.save(model.state_dict(), file)."
)


def load_weights(
    model: nn.Module, path: str | os.PathLike[str], *, may_differ: Collection[str] = ()
) -> None:
    """Fill ``model`` with the weights in the file, in place.

    Args:
        model: gets the weights; unchanged if the file is refused.
        path: safetensors, or a state dict saved by torch (also within ``state_dict`` or ``model``,
            or with ``module.`` before each name).
        may_differ: names that keep the model's own weights where the file has another shape or none
            (a new head).

    Raises:
        SpecError: no such file, not weights, damaged, for another architecture, or not finite.
    """
    file = Path(path).expanduser()
    try:
        if file.exists() and not file.is_file():  # a pipe or a device would be read for ever
            raise OSError(0, "it is not a file")
        with file.open("rb") as stream:
            head = stream.read(9)
    except OSError as problem:
        raise SpecError(
            f"cannot read the weights {str(file)!r}: {problem.strerror}. Check the path."
        ) from problem
    if head[8:] == b"{" or file.suffix == ".safetensors":
        state = _read_safetensors(model, file, may_differ)
    elif head.startswith(_TORCH):
        state = _read_torch(model, file)
    else:
        raise SpecError(f"{str(file)!r} is no weights file, or damaged. {_ACCEPTED}")
    fill(model, state, str(file), may_differ=may_differ)


def save_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write the model's parameters and buffers as safetensors; the file appears whole or not at
    all.
    """
    file = Path(path)
    state = {
        k: v.detach().cpu().clone(memory_format=torch.contiguous_format)
        for k, v in model.state_dict().items()
    }
    with whole(file) as part:
        part.write_bytes(save(state))  # save_file makes files for their owner alone


def fill(
    model: nn.Module, state: Mapping[str, Tensor], name: str, *, may_differ: Collection[str] = ()
) -> None:
    """Fill ``model`` from a state dict called ``name`` in errors; the checks are those of
    ``load_weights``.
    """
    own = model.state_dict()
    found = renamed(own, state, name)
    check_fit(own, {k: tuple(v.shape) for k, v in found.items()}, name, may_differ)
    ready: dict[str, Tensor] = {}
    for key, value in found.items():
        if value.shape != own[key].shape:  # check_fit has let it differ
            continue
        floats = value.dtype in _FLOATS
        if (
            floats != own[key].is_floating_point()
            or value.is_complex()
            or (not floats and value.is_floating_point())
        ):
            raise SpecError(
                f"{name!r}: {key} has the type {value.dtype}, expected {own[key].dtype}. "
                f"{_ACCEPTED}"
            )
        value = value.detach().to(own[key].dtype)  # noqa: PLW2901
        if not torch.isfinite(value).all() or (key.endswith("running_var") and (value < 0).any()):
            raise SpecError(
                f"{name!r}: {key} holds values that no trained model has (NaN, infinite or a "
                "variance < 0)."
            )
        if key.startswith("normalize.") and not torch.allclose(value, own[key].cpu(), atol=1e-4):
            raise SpecError(
                f"{name!r} was trained with the normalisation {key} = {_short(value)}, the model "
                "has "
                f"{_short(own[key])}. Set the model's norm to match."
            )
        ready[key] = value
    with torch.no_grad():
        for key, value in ready.items():
            own[key].copy_(value)


def _short(value: Tensor) -> str:
    return "(" + ", ".join(f"{v:.4g}" for v in value.flatten().tolist()[:4]) + ")"


def _read_safetensors(
    model: nn.Module, file: Path, may_differ: Collection[str]
) -> dict[str, Tensor]:
    """The tensors, after their shapes and types were compared with the model's in the header."""
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            slices = {k: opened.get_slice(k) for k in opened.keys()}  # noqa: SIM118 - not a mapping
            own = model.state_dict()
            shapes = {k: tuple(s.get_shape()) for k, s in slices.items()}
            check_fit(own, renamed(own, shapes, str(file)), str(file), may_differ)
            for key, part in slices.items():
                if part.get_dtype() not in _SAFE:
                    raise SpecError(
                        f"{str(file)!r}: {key} has the type {part.get_dtype()}, expected F32. "
                        f"{_ACCEPTED}"
                    )
            return {k: opened.get_tensor(k) for k in slices}
    except (SafetensorError, OSError) as problem:
        raise SpecError(
            f"{str(file)!r} is no whole safetensors file ({problem}). Copy it again."
        ) from problem


def _read_torch(model: nn.Module, file: Path) -> dict[str, Tensor]:
    """The tensors of a state dict, read by torch's own restricted unpickler in another process."""
    try:
        return unpacked(file, _bounded(model, file))
    except Refused as problem:
        says = {
            CODE: "holds more than weights, which could run code: refused",
            NO_STATE: "holds no state dict (names and dense tensors)",
            TOO_MUCH: "takes more memory or time to open than this model's weights could: refused",
            DIED: "made the process that opened it fail: refused",
        }.get(problem.args[0], "is no weights file, or damaged")
        raise SpecError(f"{str(file)!r} {says}. {_ACCEPTED}") from problem


def _bounded(model: nn.Module, file: Path) -> int:
    """The bytes that the model could need, an optimizer's state beside it; a file that unpacks to
    more is refused.
    """
    size = file.stat().st_size
    if zipfile.is_zipfile(file):
        try:
            with zipfile.ZipFile(file) as opened:
                size = max(size, sum(part.file_size for part in opened.infolist()))
        except (zipfile.BadZipFile, OSError, ValueError) as problem:
            raise SpecError(f"{str(file)!r} is damaged ({problem}). {_ACCEPTED}") from problem
    limit = 16 * sum(int(t.nbytes) for t in model.state_dict().values()) + 64 * 2**20
    if size > limit:
        raise SpecError(
            f"{str(file)!r} holds {size / 2**20:.0f} MiB, far more than this model. Is it for "
            "another one?"
        )
    return limit
