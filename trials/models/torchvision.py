"""Networks of torchvision: any classifier of torchvision, by its name there.

Source: torchvision.models.get_model (https://docs.pytorch.org/vision/stable/models.html).
Deviation: normalisation is a hook before the network. Inception's and GoogLeNet's auxiliary heads
are in the state dict and not run. A ViT or MaxViT is built for the images' size.
"""

from typing import Any, Literal

import torchvision
from torch import nn

from trials.models._any_network import ImageSize, constants_of, of_library, unknown
from trials.normalisation import Constants, asked_for
from trials.spec import SpecError


def build(
    classes: int,
    size: int,
    /,
    *,
    arch: str = "",
    norm: Literal["own", "cifar10", "imagenet", "half", "none"] = "own",
    mean: str = "",
    std: str = "",
) -> nn.Module:
    """A network with weights drawn from torch's global generator.

    Args:
        classes: number of classes.
        size: side of the images in pixels.
        arch: the network's name in torchvision.models, such as mobilenet_v3_small.
        norm: constants of the normalisation; own is those of torchvision's pretrained weights, half
            maps [0, 1] to [-1, 1], none leaves it.
        mean: in place of norm, with std: three numbers, or one for all channels, as
            0.485 0.456 0.406.
        std: in place of norm, with mean.

    Raises:
        SpecError: no such network, or it does not take images of that size.
    """
    known = _names()
    if arch not in known:
        where = "python -c 'import torchvision; print(torchvision.models.list_models())'"
        raise SpecError(unknown("architecture of torchvision", arch, known, where))
    asked = asked_for(norm, mean, std)
    constants = _own(arch) if asked == "own" else asked
    return of_library("torchvision", _network, arch, classes, size, constants)


def own_size(*, arch: str, **_: object) -> ImageSize | None:
    """The side of the library's own weights; a ViT or MaxViT was made for it."""
    transforms = _transforms(arch) if arch in _names() else None
    side = getattr(transforms, "crop_size", None)
    return ImageSize(side[0], fixed=arch.startswith(("vit_", "maxvit"))) if side else None


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
    return constants_of(_transforms(arch))


def _transforms(arch: str) -> Any:
    """What the library does to images before its own weights; None where it has none."""
    weights = next(iter(torchvision.models.get_model_weights(arch)), None)
    return weights.transforms() if weights else None
