"""Weights in and out of models: safetensors, or a plain torch state dict; never code.

A file is checked whole (names, shapes, types, values) before the first weight changes, so a refused
file leaves the model as it was.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from trials.spec import SpecError
from trials.weights.names import NORMALIZE_INPUT, Matching, Shapes, check_fit, match, some
from trials.weights.other_files import ACCEPTED
from trials.weights.reading import (
    SAFE_TYPES,
    is_safetensors,
    not_whole,
    read_torch,
    safetensors_header,
)
from trials.weights.shards import files_of, is_hugging_face
from trials.whole import whole

T = TypeVar("T")
SAVED_NAMES = "saved_names"  # of a model: its tensors' names in its library's files, where others
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_HALF = (torch.float16, torch.bfloat16)
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True, slots=True)
class Taken:
    """What was taken of a file.

    Attributes:
        names: the model's name of each tensor to the file's.
        where: the entries of the file that the state dict lay in; empty for none.
        prefix: what the file's names have in front; empty for nothing.
        converted: the types that were made float32.
        left_out: names of tensors that are no part of the model.
    """

    names: Mapping[str, str]
    where: str
    prefix: str
    converted: tuple[str, ...]
    left_out: tuple[str, ...]

    def line(self) -> str:
        """One sentence for a person."""
        parts = [f"{len(self.names)} tensors" + (f" of {self.where}" if self.where else "")]
        if self.prefix:
            parts.append(f"names without {self.prefix!r}")
        if self.converted:
            parts.append(f"{' and '.join(self.converted)} made float32")
        if self.left_out:
            parts.append(f"left out, as no part of the model: {some(self.left_out)}")
        return f"Weights: {'; '.join(parts)}."


def load_weights(
    model: nn.Module, path: str | os.PathLike[str], *, may_differ: Collection[str] = ()
) -> Taken:
    """Fill ``model`` with the weights in the file, in place.

    Args:
        model: gets the weights; unchanged if the file is refused.
        path: safetensors, or a state dict saved by torch (also within ``state_dict``, ``model`` and
            others, or with ``module.`` and the like before each name); or a Hugging Face folder.
        may_differ: names that keep the model's own weights where the file has another shape or none
            (a new head).

    Raises:
        SpecError: no such file, not weights, damaged, for another architecture, or not finite.
    """
    file = Path(path).expanduser()
    parts = files_of(file) if is_hugging_face(file) else (file,)
    kinds = {is_safetensors(part) for part in parts}
    if kinds == {True}:
        state, found = _read_safetensors(model, parts, str(file), may_differ)
        return _fill(model, state, found, str(file))
    opened = [read_torch(part, _most(model)) for part in parts]
    tensors = together(str(file), [one.tensors for one in opened])
    return fill(model, tensors, str(file), may_differ=may_differ, where=opened[0].where)


def outputs_of(model: nn.Module, path: str | os.PathLike[str], outputs: int) -> int | None:
    """How many outputs the model in the file has; None where the file would not fit ``model`` with
    another number of outputs either.

    Args:
        model: left alone.
        path: as for ``load_weights``.
        outputs: of ``model``.

    Raises:
        SpecError: no such file, or no weights.
    """
    file, ours = Path(path).expanduser(), shapes_of(_tensors(model))
    shapes: Shapes = {}
    for part in files_of(file) if is_hugging_face(file) else (file,):
        if is_safetensors(part):
            shapes = {**shapes, **safetensors_header(part)[0]}
        else:
            shapes = {**shapes, **shapes_of(read_torch(part, _most(model)).tensors)}
    found = match(ours, shapes, str(file))
    if found.missing(ours) or found.unexpected:
        return None
    pairs = [(ours[k], shapes[found.names[k]]) for k in found.other_shapes(ours, shapes)]
    heads = all(own[1:] == theirs[1:] and own[:1] == (outputs,) for own, theirs in pairs)
    numbers = {theirs[0] if theirs else 0 for _, theirs in pairs} or {outputs}
    return numbers.pop() if heads and len(numbers) == 1 else None


def save_weights(
    model: nn.Module, path: str | os.PathLike[str], names: Mapping[str, str] | None = None
) -> None:
    """Write the model's parameters and buffers as safetensors; the file appears whole or not at
    all.

    Args:
        model: read, and left as it is.
        path: of the file.
        names: name of a tensor in the model to its name in the file, where that is another; given,
            the file also says that it is PyTorch's, which transformers asks for.
    """
    file = Path(path)
    other = {**getattr(model, SAVED_NAMES, {}), **names} if names is not None else {}
    state = {
        other.get(k, k): v.detach().cpu().clone(memory_format=torch.contiguous_format)
        for k, v in model.state_dict().items()
    }
    about = None if names is None else {"format": "pt"}
    with whole(file) as part:
        part.write_bytes(save(state, about))  # save_file makes files for their owner alone


def fill(
    model: nn.Module,
    state: Mapping[str, Tensor],
    name: str,
    *,
    may_differ: Collection[str] = (),
    where: str = "",
) -> Taken:
    """Fill ``model`` from a state dict called ``name`` in errors; the checks are those of
    ``load_weights``.
    """
    found = _fitting(model, shapes_of(state), name, may_differ)
    return _fill(model, state, found, name, where)


def _fill(
    model: nn.Module, state: Mapping[str, Tensor], found: Matching, name: str, where: str = ""
) -> Taken:
    own = _tensors(model)
    ready: dict[str, Tensor] = {}
    for key, theirs in found.names.items():
        value = state[theirs]
        if not key.startswith("normalize.") and value.shape != own[key].shape:
            continue  # check_fit has let it differ
        checked = _checked(key, value, own[key], name).reshape(own[key].shape)
        if not (key.startswith("normalize.") and value.dtype in _HALF):  # those are rounded
            ready[key] = checked
    with torch.no_grad():
        for key, value in ready.items():
            own[key].copy_(value)
    types = {str(state[k].dtype).removeprefix("torch.") for k in found.names.values()}
    converted = tuple(sorted(types & {"float16", "bfloat16", "float64"}))
    return Taken(found.names, where, found.prefix, converted, found.left_out)


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """The model's state dict, with the constants of a normalisation that is no part of it."""
    hook = getattr(model, NORMALIZE_INPUT, None)
    constants = dict(hook.named_buffers()) if isinstance(hook, nn.Module) else {}
    return {**model.state_dict(), **{f"normalize.{name}": v for name, v in constants.items()}}


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor."""
    return {k: tuple(v.shape) for k, v in state.items()}


def _fitting(model: nn.Module, shapes: Shapes, name: str, may_differ: Collection[str]) -> Matching:
    """Which tensor is which; raises SpecError unless they fit. Its library may have other names for
    the model's tensors in files, and either are taken.
    """
    own = shapes_of(_tensors(model))
    in_files: Mapping[str, str] = getattr(model, SAVED_NAMES, {})
    ours = {in_files.get(k, k): shape for k, shape in own.items()}
    found = match(ours, shapes, name)
    if in_files and found.missing(ours) and not (plain := match(own, shapes, name)).missing(own):
        in_files, ours, found = {}, own, plain
    check_fit(ours, shapes, found, name, may_differ)
    back = {other: k for k, other in in_files.items()}
    return replace(found, names={back.get(k, k): theirs for k, theirs in found.names.items()})


def _checked(key: str, value: Tensor, own: Tensor, name: str) -> Tensor:
    """The tensor in the model's type; raises SpecError where it is none of a trained model."""
    floats = value.dtype in _FLOATS
    counter = floats and key.endswith(_COUNTER)  # of a state dict that was halved as a whole
    if (floats != own.is_floating_point() and not counter) or (
        not floats and (value.is_complex() or value.is_floating_point())
    ):
        raise SpecError(
            f"{name!r}: {key} has the type {value.dtype}, expected {own.dtype}. {ACCEPTED}"
        )
    rounded = torch.finfo(value.dtype).eps if floats else 0.0
    finite = bool(torch.isfinite(value).all())
    value = value.detach().to(own.dtype)
    negative = key.endswith("running_var") and bool((value < 0).any())
    if not finite or not torch.isfinite(value).all() or negative:
        raise SpecError(
            f"{name!r}: {key} holds values that no trained model has (NaN, infinite or a "
            "variance < 0)."
        )
    if key.startswith("normalize.") and not torch.allclose(
        value.flatten(), own.cpu().flatten(), rtol=max(1e-5, rounded), atol=1e-4
    ):
        raise SpecError(
            f"{name!r} was trained with the normalisation {key} = {_short(value)}, the model has "
            f"{_short(own)}. Set the model's norm to match."
        )
    return value


def _short(value: Tensor) -> str:
    return "(" + ", ".join(f"{v:.4g}" for v in value.flatten().tolist()[:4]) + ")"


def _read_safetensors(
    model: nn.Module, files: Sequence[Path], name: str, may_differ: Collection[str]
) -> tuple[dict[str, Tensor], Matching]:
    """The model's tensors, after their shapes and types were compared with the model's in the
    headers.
    """
    heads = [safetensors_header(file) for file in files]
    shapes = together(name, [shapes for shapes, _ in heads])
    types = together(name, [types for _, types in heads])
    found = _fitting(model, shapes, name, may_differ)
    for key in found.names.values():
        if types[key] not in SAFE_TYPES:
            raise SpecError(f"{name!r}: {key} has the type {types[key]}, expected F32. {ACCEPTED}")
    state: dict[str, Tensor] = {}
    wanted = set(found.names.values())
    for file, (held, _) in zip(files, heads, strict=True):
        try:
            with safe_open(file, framework="pt", device="cpu") as opened:
                state |= {k: opened.get_tensor(k) for k in wanted & held.keys()}
        except (SafetensorError, OSError) as problem:
            raise not_whole(file, problem) from problem
    return state, found


def together(name: str, parts: Sequence[Mapping[str, T]]) -> dict[str, T]:
    """What the files of one model hold. Raises SpecError for what is in two of them."""
    found: dict[str, T] = {}
    for part in parts:
        if twice := sorted(found.keys() & part.keys()):
            raise SpecError(f"{name!r} holds {twice[0]} in two of its files. Copy it again.")
        found.update(part)
    return found


def _most(model: nn.Module) -> int:
    """The bytes that the model could need, an optimizer's state beside it."""
    return 16 * sum(int(t.nbytes) for t in model.state_dict().values()) + 64 * 2**20
