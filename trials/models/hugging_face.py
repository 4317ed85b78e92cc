"""Image classifiers of transformers: the one that a folder's config.json describes.

Source: AutoModelForImageClassification.from_config (https://huggingface.co/docs/transformers).
Deviation: normalisation is a hook before the network. Of config.json only settings are taken that
the network's own class knows; code of a folder's own (auto_map) is refused, and nothing is
downloaded. Attention is transformers' default. Images are brought to the network's size here, and
not in the steps of its image processor.
"""

import functools
import os
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from trials.models._any_network import ImageSize, adapted, check, check_weights
from trials.models._hf_config import config_of, read_json
from trials.models._hf_names import saved_names
from trials.models._hf_pixels import pixels_of, side_in
from trials.normalisation import CONSTANTS, Constants, asked_for
from trials.spec import Location, SpecError


def build(
    classes: int,
    size: int,
    /,
    *,
    config: Location = "",
    preprocessor: Location = "",
    norm: Literal["own", "cifar10", "imagenet", "half", "none"] = "own",
    mean: str = "",
    std: str = "",
) -> nn.Module:
    """A network with weights drawn from torch's global generator.

    Args:
        classes: number of classes.
        size: side of the images in pixels.
        config: a config.json that describes an image classifier of transformers.
        preprocessor: the preprocessor_config.json that says mean and standard deviation.
        norm: constants of the normalisation; own is those of preprocessor where it says some, else
            ImageNet's; half maps [0, 1] to [-1, 1], none leaves it.
        mean: in place of norm, with std: three numbers, or one for all channels, as
            0.485 0.456 0.406.
        std: in place of norm, with mean.

    Raises:
        SpecError: config.json describes no image classifier, asks for code, or does not take images
            of that size.
    """
    file = str(_file(config))
    constants = asked_for(norm, mean, std)
    if constants == "own":
        constants = said_of_pixels(preprocessor) or CONSTANTS["imagenet"]
    _checked(file, Path(file).stat().st_mtime_ns, classes, size)
    return adapted(_network(file, classes), constants)


def said_of_pixels(preprocessor: str) -> Constants | None:
    """Mean and standard deviation that a preprocessor_config.json says; None where it does not, or
    there is none.
    """
    return pixels_of(_file(preprocessor)).constants if preprocessor else None


def own_size(*, config: str = "", preprocessor: str = "", **_: object) -> ImageSize | None:
    """The side that preprocessor_config.json, else config.json, says."""
    said = pixels_of(_file(preprocessor)).size if preprocessor else None
    try:
        side = said or side_in(read_json(_file(config)).get("image_size"))
    except ValueError as problem:
        raise SpecError(f"{config!r} has {problem}. Give --size.") from problem
    return ImageSize(side, fixed=True) if side else None


def _file(place: str) -> Path:
    if not place:
        raise SpecError("hugging_face: config is empty. Set config = the folder's config.json.")
    return Path(os.path.expandvars(place)).expanduser()


def _network(file: str, classes: int) -> nn.Module:
    from transformers.models.auto.modeling_auto import AutoModelForImageClassification  # noqa: PLC0415 - seconds to import

    config = config_of(Path(file), classes)
    network: nn.Module = AutoModelForImageClassification.from_config(
        config, trust_remote_code=False, dtype=torch.float32
    )
    network.saved_names = saved_names(network)  # type: ignore[assignment]
    return network


@functools.lru_cache
def _checked(file: str, changed: int, classes: int, size: int) -> None:
    """``check``, once a process for a file that stays as it is."""
    what = f"hugging_face: the network of {file!r}"

    def network(*_: object) -> nn.Module:
        return _network(file, classes)

    check_weights(what, network)
    check(what, network, (file, changed), classes, size)
