"""A live network of a session of Python, written down so that workers can build it again."""

import copy
import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from trials.models._any_network import adapted, one_line
from trials.models._live_code import dumps
from trials.normalisation import CONSTANTS, asked_for
from trials.spec import SpecError
from trials.weights.files import save_weights
from trials.whole import durably, whole

Numbers = float | Sequence[float] | Tensor | None
_COLOURS = 3


@dataclass(frozen=True, slots=True)
class GivenModule:
    """A live network.

    Attributes:
        network: the user's own, which stays as it is.
        plain: a copy on the CPU, in float32 and eval mode.
        settings: of its normalisation, as ``trials.models.live`` has them.
    """

    network: nn.Module
    plain: nn.Module
    settings: dict[str, Any]

    def looked_at(self, size: int, grey: bool) -> tuple[int, bool]:
        """How many classes it has, and whether it takes one channel.

        Args:
            size: side of the images in pixels.
            grey: one channel is tried where it does not take three.

        Raises:
            SpecError: it does not take such images, or gives no logits.
        """
        try:
            return self._outputs(size, _COLOURS), False
        except SpecError:
            if not grey:
                raise
            return self._outputs(size, 1), True

    def _outputs(self, size: int, channels: int) -> int:
        x = torch.zeros(2, _COLOURS, size, size)
        probe = adapted(copy.deepcopy(self.plain), "none", grey=channels == 1)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                logits = probe(x)
        except Exception as problem:
            raise SpecError(
                f"the module does not take images of shape {(2, channels, size, size)} "
                f"({one_line(problem)}). "
                "Give size=, or a module that takes such images and returns logits."
            ) from problem
        if logits.ndim != 2 or len(logits) != len(x) or logits.shape[1] < 2:
            raise SpecError(
                f"the module gives {tuple(logits.shape)} for two images; needed is one logit for "
                "each of 2 or more classes."
            )
        return int(logits.shape[1])

    def write(self, folder: Path, grey: bool) -> tuple[Path, dict[str, Any]]:
        """Its weights' file, and the model as a sweep names it; both files are named after their
        content, and one that is there stays.

        Raises:
            SpecError: it cannot be pickled.
        """
        code = self._code()
        sha256 = hashlib.sha256(code).hexdigest()
        place = folder / f"module-{sha256[:16]}.pickle"
        with whole(place) as part:
            durably(part, code)
        weights = folder / f"weights-{_digest(self.plain)}.safetensors"
        if not weights.exists():
            save_weights(self.plain, weights)
        model = {"name": "live", "code": str(place.resolve()), "sha256": sha256}
        return weights, {**model, "grey": grey, **self.settings}

    def _code(self) -> bytes:
        try:
            return dumps(self.plain)
        except Exception as problem:
            raise SpecError(
                f"the module cannot be handed to workers ({one_line(problem)}). Remove what is no "
                "part of a network from it, or give a state dict's file and arch="
                "'package.module:callable'."
            ) from problem

    def repaired(self, weights: Path) -> nn.Module:
        """A copy of the user's network with the weights of a file; device, types, modes and
        ``requires_grad`` are the given one's.
        """
        found = copy.deepcopy(self.network)
        found.load_state_dict(load_file(weights), strict=True)
        return found


def module_of(network: nn.Module, norm: str | None, mean: Numbers, std: Numbers) -> GivenModule:
    """The network, without a wrapper of DataParallel or torch.compile.

    Args:
        network: left as it is.
        norm: a name in ``trials.normalisation``; None: it takes images in [0, 1].
        mean, std: by channel, or one number for all; in place of norm.

    Raises:
        SpecError: a network that cannot be copied, or a normalisation that is none.
    """
    settings = {"norm": "none", **normalisation(norm, mean, std)}
    network = _unwrapped(network)
    if isinstance(network, torch.jit.ScriptModule):
        raise SpecError(
            f"the module is a {type(network).__name__}, which is compiled. Give the module that it "
            "was made of."
        )
    try:
        plain = copy.deepcopy(network).cpu().float().eval()
        weights = list(plain.state_dict().values())
        finite = all(torch.isfinite(w).all() for w in weights)
    except Exception as problem:
        raise SpecError(
            f"the module cannot be copied ({one_line(problem)}). Call it once if it has lazy "
            "layers; it must have plain weights, neither quantised nor sparse."
        ) from problem
    if not weights or not finite:
        raise SpecError(
            f"the module has {'weights that are not finite' if weights else 'no weights'}. Give a "
            "trained classifier."
        )
    return GivenModule(network, plain, settings)


def _unwrapped(network: nn.Module) -> nn.Module:
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        inner = network.module if isinstance(network, wrappers) else None
        inner = getattr(network, "_orig_mod", inner)  # of torch.compile
        if not isinstance(inner, nn.Module):
            return network
        network = inner


def normalisation(norm: str | None, mean: Numbers, std: Numbers) -> dict[str, str]:
    """What is given, as settings of a model. Raises SpecError for what is no normalisation."""
    if (mean is None) != (std is None) or (norm is not None and mean is not None):
        raise SpecError("give norm=, or mean= and std= together, or none of them.")
    if norm is not None and norm not in CONSTANTS:
        raise SpecError(f"norm must be one of {', '.join(CONSTANTS)}, got {norm!r}.")
    if mean is None:
        return {"norm": norm} if norm else {}
    found = {"mean": _text("mean", mean), "std": _text("std", std)}
    asked_for("", found["mean"], found["std"])
    return found


def _text(name: str, given: Numbers) -> str:
    """Three numbers with commas between them."""
    try:
        values = torch.as_tensor(given, dtype=torch.float64).reshape(-1).tolist()
    except (TypeError, ValueError, RuntimeError) as problem:
        raise SpecError(f"{name} must be a number for each channel, got {given!r}.") from problem
    return ",".join(repr(v) for v in (values * _COLOURS if len(values) == 1 else values))


def _digest(network: nn.Module) -> str:
    state = hashlib.sha256()
    for name, value in network.state_dict().items():
        plain = value.detach().contiguous()
        state.update(f"{name}{tuple(plain.shape)}{plain.dtype}".encode())
        state.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return state.hexdigest()[:16]
