"""ResNet-18 for large images: torchvision's own, with normalisation as its first layer.

Source: He et al. 2016, arXiv:1512.03385; torchvision, weights IMAGENET1K_V1.
Deviation: the last layer is drawn anew where the number of classes differs from that of the
weights.
"""

from typing import Literal

import torch
import torchvision
from torch import Tensor, nn

from trials.models._normalize import Normalize
from trials.normalisation import Constants, asked_for
from trials.spec import Location, SpecError
from trials.weights.files import fill, load_weights

_HEAD = ("fc.weight", "fc.bias")


def build(
    classes: int,
    size: int,
    /,
    *,
    weights: Location = "",
    pretrained: bool = False,
    norm: Literal["cifar10", "imagenet", "half", "none"] = "imagenet",
    mean: str = "",
    std: str = "",
) -> nn.Module:
    """A model with the given weights, else with weights drawn from torch's global generator.

    Args:
        classes: number of classes.
        size: side of the images in pixels, at least 32.
        weights: a file to start from (safetensors, or a state dict saved by torch).
        pretrained: start from torchvision's ImageNet weights, downloaded once.
        norm: constants of the normalisation layer; half maps [0, 1] to [-1, 1], none leaves it.
        mean: in place of norm, with std: three numbers, or one for all channels, as
            0.485 0.456 0.406.
        std: in place of norm, with mean.

    Raises:
        SpecError: both ``weights`` and ``pretrained``, weights that do not fit, no download, or too
            small images.
    """
    if weights and pretrained:
        raise SpecError(
            "torchvision_resnet18: weights and pretrained are both set. Keep one of them."
        )
    if size < 32:
        raise SpecError(
            f"torchvision_resnet18: images of {size} pixels are too small, 32 or more are needed."
        )
    model = _Normalized(classes, asked_for(norm, mean, std))
    if weights:
        load_weights(model, weights, may_differ=_HEAD)
    elif pretrained:
        fill(model, _downloaded(), "torchvision's ImageNet weights", may_differ=_HEAD)
    return model


class _Normalized(torchvision.models.ResNet):  # type: ignore[misc, unused-ignore]
    def __init__(self, classes: int, norm: str | Constants) -> None:
        super().__init__(torchvision.models.resnet.BasicBlock, [2, 2, 2, 2], num_classes=classes)
        self.normalize = Normalize(norm)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = super().forward(self.normalize(x))
        return logits


def _downloaded() -> dict[str, Tensor]:
    url = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url
    try:
        state: dict[str, Tensor] = torch.hub.load_state_dict_from_url(
            url, map_location="cpu", check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as problem:
        raise SpecError(
            f"torchvision_resnet18: cannot download {url}: {problem}. Fetch it elsewhere and set "
            "weights = that file."
        ) from problem
    return state
