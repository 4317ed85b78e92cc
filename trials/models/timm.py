"""Networks of timm: any classifier of timm, by its name there.

Source: timm.create_model (https://huggingface.co/docs/timm), the extra "timm".
Deviation: normalisation is a hook before the network. A network that is made for one size of images
(fixed_input_size, as a ViT) is built for theirs. Names that timm would look up on the Hugging Face
Hub or in a folder are refused; nothing is downloaded.
"""

import functools
from types import ModuleType
from typing import Any, Literal

from torch import nn

from trials import catalog
from trials.models._any_network import ImageSize, constants_of, of_library, unknown
from trials.normalisation import asked_for
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
        arch: the network's name in timm, such as tf_efficientnet_lite0; a tag of pretrained weights
            may follow, as in resnet18.a1_in1k, and then says what own normalisation is.
        norm: constants of the normalisation; own is those of timm's pretrained_cfg, half maps
            [0, 1] to [-1, 1], none leaves it.
        mean: in place of norm, with std: three numbers, or one for all channels, as
            0.485 0.456 0.406.
        std: in place of norm, with mean.

    Raises:
        SpecError: timm is not installed, it has no such network, or the network does not take
            images of that size.
    """
    library = _library()
    known, (name, _, tag) = _names(), arch.partition(".")
    if name not in known:
        where = "python -c 'import timm; print(timm.list_models())'"
        raise SpecError(unknown("architecture of timm", arch, known, where))
    tags = [n.partition(".")[2] for n in library.list_pretrained(f"{name}.*")] if tag else [""]
    if tag not in tags:
        raise SpecError(catalog.unknown(f"weights of timm's {name}", tag[:80], tags))
    constants = asked_for(norm, mean, std)
    if constants == "own":
        constants = constants_of(library.get_pretrained_cfg(arch))
    return of_library("timm", _network, arch, classes, size, constants)


def own_size(*, arch: str, **_: object) -> ImageSize | None:
    """The side that timm's pretrained_cfg says; a tag says that the weights are of that config, and
    some networks are made for one side.
    """
    name, _dot, tag = arch.partition(".")
    config = _library().get_pretrained_cfg(arch) if name in _names() else None
    if not config:
        return None
    return ImageSize(int(config.input_size[-1]), fixed=bool(tag or config.fixed_input_size))


def _library() -> ModuleType:
    try:
        import timm  # noqa: PLC0415 - an extra, and seconds to import
    except ImportError as problem:
        raise SpecError(
            f"timm cannot be imported ({problem}). Install it: pip install 'poisonsweep[timm]'."
        ) from problem
    return timm  # type: ignore[no-any-return, unused-ignore]


@functools.lru_cache
def _names() -> list[str]:
    return list(_library().list_models())


def _network(arch: str, classes: int, size: int) -> nn.Module:
    library = _library()
    config = library.get_pretrained_cfg(arch)
    own: dict[str, Any] = {"img_size": size} if config and config.fixed_input_size else {}
    network: nn.Module = library.create_model(arch, pretrained=False, num_classes=classes, **own)
    return network
