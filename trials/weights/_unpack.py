"""A torch file is opened in a process of its own: a hostile one can exhaust or crash that process,
and no other.

As a program, ``_unpack.py FILE BYTES`` writes the state dict as safetensors to standard output,
within limits on memory and time and without a right to write files. Of what lies beside the weights
nothing is built: ``_STAND_INS`` are of this file.
"""

import json
import os
import pickle
import re
import subprocess
import sys
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

try:
    import resource
except ImportError:  # Windows: time is limited there, memory is not
    resource = None  # type: ignore[assignment]

CODE, NO_STATE, DAMAGED, TOO_MUCH = 3, 4, 5, 6  # exit codes; also what a refusal raises
DIED = 7  # what a refusal raises where the process ended in any other way
CPU_SECONDS = 20  # and one for each 64 MiB that the weights may take
SECONDS = 600  # on a machine that has other things to do
_SLACK = 2**30  # bytes beside the weights: threads' stacks, the allocator's arenas
WRAPPERS = (  # where a state dict lies, the first of them that is there
    *("state_dict", "model_state_dict", "model", "net", "network", "weights"),
    *("ema", "model_ema", "state_dict_ema", "params"),
)
_DEPTH = 4  # wrappers in wrappers
_NAMED = 20  # things beside the weights that are named
_LONGEST = 60  # characters of such a name


class Refused(Exception):
    """Why a file gave no state dict: one of the exit codes, or ``DIED``; for ``CODE`` then the
    object that the file asks for, where its name is known.
    """


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A state dict and where it lay.

    Attributes:
        tensors: by the names that the file has for them.
        where: the wrappers around it, such as ``model.state_dict``; empty for none.
        beside: names of what lay beside it or in it and is no tensor; 20 at most.
    """

    tensors: Mapping[str, Tensor]
    where: str = ""
    beside: tuple[str, ...] = ()


class _Beside:
    """Stands for an object beside the weights: it takes whatever makes one, and keeps nothing."""

    def __new__(cls, *_: object) -> "_Beside":
        return object.__new__(cls)

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class _Dict:
    """Stands for a mapping that the restricted unpickler does not fill: a plain one is."""

    def __new__(cls, *_: object) -> Any:
        return OrderedDict()


class _List:
    """Stands for a deque, in the same way."""

    def __new__(cls, *_: object) -> Any:
        return []


_NUMBERS = "float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool bool_"
_PATHS = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")
_FACTORIES = ("int", "float", "bool", "str", "bytes", "list", "tuple", "frozenset", "range")
_INERT = (
    *(f"numpy.{name}" for name in ("dtype", "ndarray", "str_", "bytes_", *_NUMBERS.split())),
    *("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar"),
    *("numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct"),
    *("argparse.Namespace", "types.SimpleNamespace", "torch.torch_version.TorchVersion"),
    *(f"pathlib.{name}" for name in _PATHS),
    *(f"pathlib._local.{name}" for name in _PATHS),  # Python 3.13
    *(f"datetime.{name}" for name in ("datetime", "date", "time", "timedelta", "timezone")),
    *(f"builtins.{name}" for name in _FACTORIES),  # of a defaultdict
    *("decimal.Decimal", "fractions.Fraction", "uuid.UUID"),
)
_MAPPINGS = (
    *("collections.defaultdict", "builtins.dict", "easydict.EasyDict"),
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "lightning.fabric.utilities.data.AttributeDict",
)
# Whatever name a file asks for it gets one of the three classes above, and never the named one: a
# numpy.dtype, say, whose state a file may choose, could describe memory that is not its own.
_STAND_INS: list[Any] = [
    *((_Beside, name) for name in _INERT),
    *((_Dict, name) for name in _MAPPINGS),
    (_List, "collections.deque"),
]


def unpacked(file: Path, most: int) -> Unpacked:
    """The tensors of a torch file, read by another process that may need ``most`` bytes for them.

    Raises:
        Refused: with the exit code that says why.
    """
    try:
        done = _reader(file, most)
    except subprocess.TimeoutExpired:
        raise Refused(TOO_MUCH) from None
    if done.returncode == CODE:
        raise Refused(CODE, *re.findall(r"\A[\w.]{1,200}\Z", done.stdout.decode(errors="replace")))
    if done.returncode:
        raise Refused(done.returncode if done.returncode in (NO_STATE, DAMAGED, TOO_MUCH) else DIED)
    try:
        tensors = load_tensors(done.stdout)
    except SafetensorError as problem:
        raise Refused(DAMAGED) from problem
    said = json.loads(done.stdout[8 : 8 + int.from_bytes(done.stdout[:8], "little")])
    about = said["__metadata__"]
    return Unpacked(tensors, about["where"], tuple(json.loads(about["beside"])))


def _reader(file: Path, most: int) -> "subprocess.CompletedProcess[bytes]":
    """This file as a program, with what it wrote."""
    words = [sys.executable, "-P", __file__, str(file), str(most)]
    return subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    """The environment variables of that process, without those whose names suggest a secret."""
    return {
        name: value
        for name, value in os.environ.items()
        if not re.search("PASS|SECRET|TOKEN|KEY|STORE", name)
    }


def read(file: str) -> Unpacked:
    """The tensors of a torch file, read in this process by torch's restricted unpickler.

    Raises Refused.
    """
    state, where = _loaded(file), list[str]()
    for _ in range(_DEPTH):
        inner = next((k for k in WRAPPERS if isinstance(_entry(state, k), Mapping)), None)
        if inner is None:
            break
        where.append(inner)
        outer, state = state, state[inner]
        beside = [k for k in outer if k != inner]
    if not isinstance(state, Mapping):
        raise Refused(NO_STATE)
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)}
    if not tensors or not all(map(_is_weight, tensors, tensors.values())):
        raise Refused(NO_STATE)
    beside = [k for k in state if k not in tensors] + (beside if where else [])
    named = tuple(str(k)[:_LONGEST] for k in beside[:_NAMED] if isinstance(k, str))
    return Unpacked(tensors, ".".join(where), named)


def _loaded(file: str) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_STAND_INS):
            warnings.simplefilter("ignore")  # of unusual pickle protocols
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        said = str(problem)
        if not re.search(r"GLOBAL|[Uu]nsupported (global|class|operand)|Can only build", said):
            raise Refused(DAMAGED) from problem
        asked = re.search(r"GLOBAL ([\w.]+)|got <class '([\w.]+)'>", said)
        raise Refused(CODE, *(name for name in (asked.groups() if asked else ()) if name)) from None
    except MemoryError as problem:
        raise Refused(TOO_MUCH) from problem
    except Exception as problem:  # a damaged file may raise anything
        raise Refused(TOO_MUCH if "allocate" in str(problem) else DAMAGED) from problem


def _entry(state: Any, key: str) -> Any:
    return state.get(key) if isinstance(state, Mapping) else None


def _is_weight(key: Any, value: Any) -> bool:
    dense = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized
    return isinstance(key, str) and dense and value.device.type == "cpu"


def _limit(most: int) -> None:
    if resource is None:
        return
    limits = {
        resource.RLIMIT_CPU: CPU_SECONDS + (most >> 26),
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    pages = Path("/proc/self/statm")
    if pages.exists():  # what torch itself has mapped does not count
        here = int(pages.read_text().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = here + _SLACK + 3 * most
    for what, value in limits.items():
        # whoever started this process may allow less, which cannot be raised
        hard = resource.getrlimit(what)[1]
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (least, least))


def _main(file: str, most: str) -> None:
    torch.set_num_threads(1)
    _limit(int(most))
    try:
        found = read(file)
        if sum(v.numel() * v.element_size() for v in found.tensors.values()) > int(most):
            # many views of few numbers
            raise Refused(TOO_MUCH)
        state = {k: v.detach().contiguous().clone() for k, v in found.tensors.items()}
        about = {"where": found.where, "beside": json.dumps(found.beside)}
        sys.stdout.buffer.write(save_tensors(state, about))
    except Refused as problem:
        code, *asked = problem.args
        sys.stdout.buffer.write("".join(asked).encode())
        sys.stdout.flush()
        sys.exit(code)
    except (MemoryError, RuntimeError):
        sys.exit(TOO_MUCH)


if __name__ == "__main__":
    _main(*sys.argv[1:])
