"""A torch file is opened in a process of its own: a hostile one can exhaust or crash that process,
and no other.

As a program, ``_unpack.py FILE BYTES`` writes the state dict as safetensors to standard output,
within limits on memory and time and without a right to write files.
"""

import os
import pickle
import re
import subprocess
import sys
import warnings
from collections.abc import Mapping
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
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")


class Refused(Exception):
    """Why a file gave no state dict: one of the exit codes, or ``DIED``."""


def unpacked(file: Path, most: int) -> dict[str, Tensor]:
    """The tensors of a torch file, read by another process that may need ``most`` bytes for them.

    Raises:
        Refused: with the exit code that says why.
    """
    try:
        done = _reader(file, most)
    except subprocess.TimeoutExpired:
        raise Refused(TOO_MUCH) from None
    if done.returncode:
        raise Refused(
            done.returncode if done.returncode in (CODE, NO_STATE, DAMAGED, TOO_MUCH) else DIED
        )
    try:
        return load_tensors(done.stdout)
    except SafetensorError as problem:
        raise Refused(DAMAGED) from problem


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


def read(file: str) -> dict[str, Tensor]:
    """The tensors of a torch file, read in this process by torch's restricted unpickler.

    Raises Refused.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of unusual pickle protocols
            state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        code = re.search(r"GLOBAL|[Uu]nsupported (global|class|operand)", str(problem))
        raise Refused(CODE if code else DAMAGED) from problem
    except MemoryError as problem:
        raise Refused(TOO_MUCH) from problem
    except Exception as problem:  # a damaged file may raise anything
        raise Refused(TOO_MUCH if "allocate" in str(problem) else DAMAGED) from problem
    for _ in range(4):
        state = next((s for s in _inside(state) if isinstance(s, Mapping)), state)
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(map(_is_weight, state, state.values()))
    ):
        raise Refused(NO_STATE)
    return dict(state)


def _inside(state: Any) -> list[Any]:
    return [state.get(k) for k in _WRAPPERS] if isinstance(state, Mapping) else []


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
        if sum(v.numel() * v.element_size() for v in found.values()) > int(most):
            # many views of few numbers
            raise Refused(TOO_MUCH)
        state = {k: v.detach().contiguous().clone() for k, v in found.items()}
        sys.stdout.buffer.write(save_tensors(state))
    except Refused as problem:
        sys.exit(problem.args[0])
    except (MemoryError, RuntimeError):
        sys.exit(TOO_MUCH)


if __name__ == "__main__":
    _main(*sys.argv[1:])
