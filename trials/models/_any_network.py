"""Any network as a model of ours: normalised images in, the logits out, and its state dict its own.

Normalisation and the choice of the logits are hooks of the network, and the constants are no part
of its state dict: what the network's own library saved is read, and what is saved is read there.
"""

import difflib
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trials.models._normalize import Normalize
from trials.normalisation import CONSTANTS, Constants
from trials.spec import SpecError

MOST_WEIGHTS = 10**9  # torchvision's largest network has 645 million
MOST_WORK = 4e12  # floating point operations an image; torchvision's largest network needs 2e12
_NORMALIZE = "normalize_input"  # the name of the layer; no network has one of this name
_AUXILIARY = ("AuxLogits", "aux1", "aux2")  # heads of Inception and GoogLeNet for training alone
_NEAREST = 5  # names that an error suggests
Build = Callable[[], nn.Module]
Make = Callable[..., nn.Module]


@dataclass(frozen=True, slots=True)
class ImageSize:
    """The side of a network's images in pixels, as its configuration says.

    Attributes:
        side: in pixels.
        fixed: the network was made for it; else it is what the library's own weights were trained
            on.
    """

    side: int
    fixed: bool


def adapted(network: nn.Module, constants: str | Constants, *, grey: bool = False) -> nn.Module:
    """The network itself, which now normalises its images and returns the tensor of the logits.

    Args:
        network: changed in place; its parameters, buffers and their names stay.
        constants: a name in ``trials.normalisation``, or mean and standard deviation by channel.
        grey: it takes one channel, the mean of the three.
    """
    normalize = Normalize(constants, saved=False, grey=grey)
    if type(network).forward is nn.Sequential.forward:  # runs all that it holds, in this order
        network._modules = {_NORMALIZE: normalize, **network._modules}
    else:
        network.add_module(_NORMALIZE, normalize)
        network.register_forward_pre_hook(_normalized)
    network.register_forward_hook(_logits_alone)
    for name in _AUXILIARY:
        head = getattr(network, name, None)
        if isinstance(head, nn.Module):  # its logits are not used; it wants large images, too
            head.forward = _nothing
    return network


def is_adapted(network: nn.Module) -> bool:
    """True where the network has gone through ``adapted``."""
    return hasattr(network, _NORMALIZE)


def constants_of(config: object) -> Constants:
    """Mean and standard deviation of a library's configuration of pretrained weights.

    ImageNet's where it is None or says none.
    """
    given = config if isinstance(config, Mapping) else getattr(config, "__dict__", {})
    found = [tuple(map(float, given.get(key) or ())) for key in ("mean", "std")]
    return (found[0], found[1]) if all(len(c) == 3 for c in found) else CONSTANTS["imagenet"]  # type: ignore[return-value]


def of_library(
    library: str, make: Make, arch: str, classes: int, size: int, constants: str | Constants
) -> nn.Module:
    """A library's network, adapted, once one like it was tried.

    Args:
        library: its name, which begins an error with the network's.
        make: makes the network of that name, for so many classes and that size.
        arch: the network's name in the library.
        classes: logits that it must give.
        size: side of the images in pixels.
        constants: as for ``adapted``.

    Raises:
        SpecError: as ``check`` does.
    """
    check(f"{library}: {arch}", make, (arch, classes, size), classes, size)
    return adapted(make(arch, classes, size), constants)


@functools.lru_cache
def check(what: str, make: Make, given: tuple[str | int, ...], classes: int, size: int) -> None:
    """Try two images, once a process, on torch's device without memory where the network can be
    built there.

    Args:
        what: the network's name, which begins an error.
        make: makes the network, adapted or not.
        given: what it is called with.
        classes: logits that it must give.
        size: side of the images in pixels.

    Raises:
        SpecError: it cannot be built, is too large, or does not take such images.
    """

    def build() -> nn.Module:
        network = make(*given)
        return network if is_adapted(network) else adapted(network, "imagenet")

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            _try(what, build, classes, size, torch.device("meta"))
        except _TooLarge:
            raise
        except Exception:  # also where a network looks at numbers as it is built: RegNet
            _for_real(what, build, classes, size)


def check_weights(what: str, build: Build) -> None:
    """Raise SpecError where a network cannot be built without memory for its weights, or has too
    many: to be tried before ``check`` where a stranger's file says how large it is.
    """
    try:
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            _not_too_large(what, build())
    except SpecError:
        raise
    except Exception as problem:
        raise SpecError(f"{what} cannot be built ({one_line(problem)}).") from problem


def unknown(what: str, given: str, known: Sequence[str], where: str) -> str:
    """One line for a name that is none of very many, with the nearest of them."""
    near = difflib.get_close_matches(given, known, n=_NEAREST, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"unknown {what} {given[:80]!r}.{hint} All names: {where}."


class _TooLarge(SpecError):
    """Not to be tried with real memory."""


def _for_real(what: str, build: Build, classes: int, size: int) -> None:
    try:
        _try(what, build, classes, size, torch.device("cpu"))
    except SpecError:
        raise
    except Exception as problem:
        raise SpecError(
            f"{what} does not take images of {size} x {size} pixels and {classes} classes "
            f"({one_line(problem)}). Give another --size, or another network."
        ) from problem


def _try(what: str, build: Build, classes: int, size: int, device: torch.device) -> None:
    with device:
        network = build()
        _not_too_large(what, network)
        network.requires_grad_(False)  # no_grad would make FlopCounterMode fail on some networks
        images = torch.zeros(2, 3, size, size)
        for training in (False, True):
            network.train(training)
            with FlopCounterMode(display=False) as counter:
                logits = network(images)
            if logits.shape != (len(images), classes):
                raise SpecError(
                    f"{what} gives {tuple(logits.shape)} for two images, expected "
                    f"{(len(images), classes)}: one logit for each of {classes} classes."
                )
            if (work := counter.get_total_flops() / len(images)) > MOST_WORK:
                raise _TooLarge(
                    f"{what} needs {work:.1e} operations for an image of {size} x {size} pixels; "
                    f"{MOST_WORK:.0e} at most. Give a smaller --size."
                )


def _not_too_large(what: str, network: nn.Module) -> None:
    if (weights := sum(p.numel() for p in network.parameters())) > MOST_WEIGHTS:
        raise _TooLarge(
            f"{what} has {weights / 1e6:,.0f} million weights; {MOST_WEIGHTS / 1e6:,.0f} "
            "million at most."
        )


def one_line(problem: BaseException) -> str:
    """What went wrong, cut to a line's length."""
    text = " ".join(str(problem).split())[:200]
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__


def _normalized(network: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (network.get_submodule(_NORMALIZE)(args[0]), *args[1:])


def _logits_alone(network: nn.Module, args: tuple[Any, ...], out: Any) -> Tensor:
    """The logits of whatever a network returns: named so, or else the first of several."""
    if isinstance(out, Tensor):
        return out
    found = out.get("logits") if isinstance(out, Mapping) else getattr(out, "logits", None)
    if found is None and isinstance(out, tuple | list) and out:
        found = out[0]
    if not isinstance(found, Tensor):
        raise TypeError(f"it returns a {type(out).__name__} without logits")
    return found


def _nothing(*_: object) -> None:
    return None
