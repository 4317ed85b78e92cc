"""A long trial's own checkpoint, from which it goes on, bit for bit, after its process was killed.

One safetensors file a trial, beside the artifacts, deleted when the trial has ended. It holds the
model, the optimizers, the generators and, as JSON, how far the trial had come; nothing is
unpickled. A checkpoint that is damaged or does not fit is dropped, and the record says so.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from trials.leaving import leaving
from trials.storage.artifacts import apart
from trials.storage.blobs import BlobStore

FOLDER = "checkpoints"
_OWN = ("commit", "dirty", "device", "device_name", "poisonsweep", "threads", "torch")
Tensors = dict[str, Tensor]


class Checkpointer:
    """What a trial writes down as it goes.

    Args:
        files: where checkpoints are put; they go into a sub-folder.
        key: the trial's id.
        every: least seconds between two checkpoints, and before the first.
        provenance: of the code and the device that run the trial now.

    Attributes:
        notes: for the record's provenance: whether it was resumed, and what went wrong with its
            checkpoint.
    """

    def __init__(
        self, files: BlobStore, key: str, every: float, provenance: Mapping[str, str]
    ) -> None:
        self.notes: dict[str, str] = {}
        self._files, self._name, self._every = files, f"{FOLDER}/{key}.safetensors", every
        self._provenance = {k: v for k, v in provenance.items() if k in _OWN}
        self._began = self._last = time.monotonic()
        self._before, self._resumes, self._used = 0.0, 0, False

    def elapsed(self) -> float:
        """Seconds that the trial has taken, those up to the checkpoint that it goes on from
        included.
        """
        return self._before + time.monotonic() - self._began

    def restore(
        self, model: nn.Module, optimizers: Sequence[Optimizer], rng: Generator
    ) -> dict[str, Any]:
        """Put all of them back to where the checkpoint was taken; returns the position kept with
        it, {} for none.
        """
        leaving.keeps = True
        try:
            blob = self._files.get(self._name)
        except FileNotFoundError:
            return {}
        except OSError as problem:
            self.notes["checkpoint"] = f"not read: {problem}"
            return {}
        self._used = True
        try:
            tensors, facts = _unpacked(blob)
            _put_back(tensors, model, optimizers, rng)
        except (ValueError, KeyError, TypeError, SafetensorError) as problem:
            self.notes["checkpoint"] = f"damaged and dropped, so it began anew: {problem}"
            self.end()
            return {}
        self._before, self._resumes = float(facts["seconds"]), int(facts["resumes"]) + 1
        position: dict[str, Any] = facts["position"]
        times = "once" if self._resumes == 1 else f"{self._resumes} times"
        self.notes["resumed"] = f"{times}, last at step {position['step']}"
        begun = {k: v for k, v in facts["provenance"].items() if self._provenance.get(k) != v}
        if begun:
            self.notes["begun_with"] = ", ".join(f"{k} {v}" for k, v in sorted(begun.items()))
        return position

    def keep(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        rng: Generator,
        position: Mapping[str, Any],
    ) -> None:
        """Write a checkpoint if it is time, or the trial leaves off here; one that cannot be
        written costs nothing.

        Args:
            model: with its buffers.
            optimizers: of the model's parameters, in the order in which ``restore`` gets them.
            rng: draws the batches; torch's own generators are kept beside it.
            position: plain values, ``step`` among them.
        """
        leaving.write = partial(self._write, model, optimizers, rng, position)
        if leaving.asked or time.monotonic() - self._last >= self._every:
            leaving.write()
        leaving.go()

    def moved_on(self) -> None:
        """The model is past what ``keep`` was last handed, so that cannot be written any more."""
        leaving.write = None

    def _write(
        self,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        rng: Generator,
        position: Mapping[str, Any],
    ) -> None:
        leaving.write = None
        facts = {
            "position": dict(position),
            "seconds": self.elapsed(),
            "resumes": self._resumes,
            "provenance": self._provenance,
        }
        self._used = True
        try:
            self._files.put(self._name, _packed(dict(_state(model, optimizers, rng)), facts))
        except OSError as problem:
            self.notes["checkpoint"] = f"not written: {problem}"
        self._last = time.monotonic()

    def end(self) -> None:
        """Drop the checkpoint."""
        if self._used:
            with suppress(OSError):
                self._files.drop(self._name)


def _state(
    model: nn.Module, optimizers: Sequence[Optimizer], rng: Generator
) -> Iterator[tuple[str, Tensor]]:
    for name, value in model.state_dict().items():
        yield f"model.{name}", value.detach().cpu().contiguous()
    for i, optimizer in enumerate(optimizers):
        for j, parameter in enumerate(_parameters(optimizer)):
            for name, value in optimizer.state.get(parameter, {}).items():
                if value is not None:
                    yield f"optimizer.{i}.{j}.{name}", value.detach().cpu().contiguous()
    yield "rng", rng.get_state()
    yield "torch", torch.get_rng_state()
    device = next(model.parameters()).device
    if device.type == "cuda":
        yield "cuda", torch.cuda.get_rng_state(device)


def _put_back(
    tensors: Tensors, model: nn.Module, optimizers: Sequence[Optimizer], rng: Generator
) -> None:
    """Raises ValueError or KeyError, before anything is changed, where they are not those of this
    trial.
    """
    own = model.state_dict()
    given = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in given.items()}:
        raise ValueError("its weights are not those of this model")
    device, drawn = next(model.parameters()).device, (tensors["rng"], tensors["torch"])
    momenta = []
    for name in (n for n in tensors if n.startswith("optimizer.")):
        _, i, j, what = name.split(".", 3)
        places = _parameters(optimizers[int(i)]) if int(i) < len(optimizers) else []
        if int(j) >= len(places):
            raise ValueError("its optimizers are not those of this trial")
        momenta.append((optimizers[int(i)], places[int(j)], what, tensors[name]))
    model.load_state_dict(given)
    for optimizer, parameter, what, value in momenta:
        # then as the parameter lies in memory: sums are rounded alike
        alike = value.shape == parameter.shape
        optimizer.state[parameter][what] = (
            torch.empty_like(parameter).copy_(value) if alike else value
        )
    rng.set_state(drawn[0])
    torch.set_rng_state(drawn[1])
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return list(chain.from_iterable(group["params"] for group in optimizer.param_groups))


def _packed(tensors: Tensors, facts: Mapping[str, Any]) -> bytes:
    text = json.dumps(facts)
    return save_tensors(apart(tensors), {"facts": text, "sha256": _digest(tensors, text)})


def _unpacked(blob: bytes) -> tuple[Tensors, dict[str, Any]]:
    """Raises ValueError, KeyError or SafetensorError where it is not what was written."""
    tensors = load_tensors(blob)
    said = json.loads(blob[8 : 8 + int.from_bytes(blob[:8], "little")])["__metadata__"]
    if _digest(tensors, said["facts"]) != said["sha256"]:
        raise ValueError("it does not match its hash")
    facts: dict[str, Any] = json.loads(said["facts"])
    return tensors, facts


def _digest(tensors: Tensors, text: str) -> str:
    state = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name].contiguous()
        state.update(f"{name}\0{value.dtype}\0{tuple(value.shape)}\0".encode())
        state.update(value.flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()
