"""Networks of torchvision: any classifier of torchvision, by its name there.

Source: torchvision.models.get_model (https://docs.pytorch.org/vision/stable/models.html).
Deviation: normalisation is a hook before the network. Inception's and GoogLeNet's auxiliary heads
are in the state dict and not run. A ViT or MaxViT is built for the images' size.
"""

from typing import Any, Literal

import torchvision
from torch import nn

from trials.models._any_network import constants_of, of_library, unknown
from trials.normalisation import Constants
from trials.spec import SpecError


def build(
    classes: int,
    size: int,
    /,
    *,
    arch: str = "",
    norm: Literal["own", "cifar10", "imagenet", "half", "none"] = "own",
) -> nn.Module:
    """A network with weights drawn from torch's global generator.

    Args:
        classes: number of classes.
        size: side of the images in pixels.
        arch: the network's name in torchvision.models, such as mobilenet_v3_small.
        norm: constants of the normalisation; own is those of torchvision's pretrained weights, half
            maps [0, 1] to [-1, 1], none leaves it.

    Raises:
        SpecError: no such network, or it does not take images of that size.
    """
    known = _names()
    if arch not in known:
        where = "python -c 'import torchvision; print(torchvision.models.list_models())'"
        raise SpecError(unknown("architecture of torchvision", arch, known, where))
    own = _own(arch) if norm == "own" else norm
    return of_library("torchvision", _network, arch, classes, size, own)


def _names() -> list[str]:
    """Its classifiers; list_models alone names detectors and networks for video too."""
    return list(torchvision.models.list_models(module=torchvision.models))


def _network(arch: str, classes: int, size: int) -> nn.Module:
    own: dict[str, Any] = {}
    if arch.startswith("vit_"):
        own = {"image_size": size}
    elif arch.startswith("maxvit"):
        own = {"input_size": (size, size)}
    elif arch in ("inception_v3", "googlenet"):
        own = {"init_weights": False}  # else seconds of drawing, and a warning
    network: nn.Module = torchvision.models.get_model(
        arch, weights=None, num_classes=classes, **own
    )
    return network


def _own(arch: str) -> Constants:
    weights = next(iter(torchvision.models.get_model_weights(arch)), None)
    return constants_of(weights.transforms() if weights else None)
