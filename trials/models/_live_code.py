"""A user's own live network as bytes and back, without its weights, by cloudpickle.

Equal code gives equal bytes in every process: where code stands in a file, the number of a process
in a file's name and the order of a set stay out. What is of a module that is not installed goes
with it by value, so that a worker needs no file of the user's.
"""

import io
import os
import pickle
import re
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle
import torch
from torch import Tensor, nn

_OURS = ("poisonsweep", "trials", "search_spaces", "results", "sweep")
# what cloudpickle draws for a class in each process anew
_TRACKER = re.compile(r"[0-9a-f]{32}")
_LINES = ("__firstlineno__", "__static_attributes__")  # of a class, where its code stands


def dumps(network: nn.Module) -> bytes:
    """The network's classes, settings and structure; of its weights the shapes alone.

    Args:
        network: left alone. Its parameters and buffers, as in its state dict, are left out; tied
            ones stay tied. Other tensors go with it.

    Raises:
        Exception: whatever pickling an object raises that cannot be pickled.
    """
    stream = io.BytesIO()
    with _by_value():
        _Pickler(stream, network).dump(network)
    return stream.getvalue()


def loads(code: bytes) -> nn.Module:
    """A new network, its weights drawn from torch's global generator; runs what ``code`` holds."""
    found: nn.Module = _Unpickler(io.BytesIO(code)).load()
    return found


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, stream: io.BytesIO, network: nn.Module) -> None:
        super().__init__(stream, protocol=5)
        weights = network.state_dict(keep_vars=True).values()
        self._weights = {id(w): i for i, w in enumerate(weights) if isinstance(w, Tensor)}

    def persistent_id(self, value: Any) -> Any:
        """A weight by its place, shape and type, a set by its sorted names."""
        if id(value) in self._weights:
            kind = "parameter" if isinstance(value, nn.Parameter) else "buffer"
            return kind, self._weights[id(value)], tuple(value.shape), value.dtype
        if type(value) in (set, frozenset) and all(isinstance(v, str) for v in value):
            return type(value).__name__, tuple(sorted(value))
        return None

    def reducer_override(self, value: Any) -> Any:
        """As cloudpickle's, without what differs from process to process."""
        if isinstance(value, CodeType):
            name = Path(value.co_filename).name
            return self.dispatch_table[CodeType](value.replace(co_filename=name, co_firstlineno=1))
        found = super().reducer_override(value)
        if isinstance(value, FunctionType) and isinstance(found, tuple) and len(found[1]) > 1:
            found[1][1].pop("__file__", None)  # of the globals that all of a file's functions share
        if isinstance(value, type) and isinstance(found, tuple) and len(found) > 2:
            make, args, (members, slots), *rest = found
            for name in _LINES:
                members.pop(name, None)
            return make, tuple(map(_untracked, args)), (members, slots), *rest
        return found


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self._weights = dict[int, Tensor]()

    def persistent_load(self, said: Any) -> Any:
        kind, first, *rest = said
        if kind in ("set", "frozenset"):
            return set(first) if kind == "set" else frozenset(first)
        if first not in self._weights:
            self._weights[first] = _drawn(kind, *rest)
        return self._weights[first]


def _drawn(kind: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Stands for a weight until the given ones are read."""
    if kind == "buffer":
        return torch.ones(shape, dtype=dtype)
    value = torch.randn(shape) * 0.05
    return nn.Parameter(value.to(dtype), requires_grad=dtype.is_floating_point)


def _untracked(value: Any) -> Any:
    return None if isinstance(value, str) and _TRACKER.fullmatch(value) else value


@contextmanager
def _by_value() -> Iterator[None]:
    """Within the block, modules that are not installed are pickled with their code."""
    known = cloudpickle.list_registry_pickle_by_value()
    local = [m for m in list(sys.modules.values()) if _is_local(m) and m.__name__ not in known]
    for module in local:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in local:
            cloudpickle.unregister_pickle_by_value(module)


def _is_local(module: Any) -> bool:
    if not isinstance(module, ModuleType) or sys.modules.get(module.__name__) is not module:
        return False
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or module.__name__.partition(".")[0] in (*_OURS, "__main__"):
        return False
    parts = Path(file).parts
    installed = "site-packages" in parts or "dist-packages" in parts
    return not installed and not file.startswith(_LIBRARY)


_LIBRARY = tuple(
    sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
