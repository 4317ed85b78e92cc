"""To how many pixels trusted images are brought, where nobody says it."""

import importlib
from collections.abc import Mapping

from sweep.commands.given_model import Model
from trials import catalog
from trials.datasets import image_folder, image_table
from trials.datasets._survey import one_side
from trials.models._any_network import ImageSize
from trials.spec import MethodConfig, Scalar, SpecError

_SMALL = dict.fromkeys(("cifar_resnet", "preact_resnet18", "resnet18", "small_cnn"), 32)
USUAL = 224  # of networks for ImageNet
_ENCODED = {"image_folder": image_folder.encoded, "image_table": image_table.encoded}


def image_size(
    model: Model, dataset: Mapping[str, Scalar], whose: str = "the trusted images'"
) -> tuple[int, str]:
    """The side of the images in pixels, and a sentence that says why.

    It is what the model's configuration says; else the trusted images' own side, where they all
    have one that the network takes; else what is usual for the architecture.

    Args:
        model: its name and settings.
        dataset: name and settings of the images.
        whose: they are, as the sentence calls them.

    Raises:
        SpecError: an unknown architecture, or no such images.
    """
    name, settings = model
    params = catalog.resolve("models", MethodConfig(name, settings)).params
    build = catalog.find("models", name)
    says = getattr(importlib.import_module(build.__module__), "own_size", None)
    own: ImageSize | None = says(**params) if says else None
    if own and own.fixed:
        return own.side, _said(own.side, "as the model's configuration says")
    usual = own.side if own else _SMALL.get(name, USUAL)
    given = {k: v for k, v in dataset.items() if k != "name"}
    images = catalog.resolve("datasets", MethodConfig(str(dataset["name"]), given))
    side = one_side(_ENCODED[images.name](images.params))
    if side and side <= max(usual, USUAL) and _takes(name, params, side):
        return side, _said(side, f"{whose} own size")
    why = "differ in size" if side is None else f"have {side}, which the network does not take"
    of = whose.removesuffix("'")
    return usual, _said(usual, f"usual for {name}, as {of} {why}; --size changes it")


def _takes(name: str, params: Mapping[str, Scalar], side: int) -> bool:
    try:
        catalog.find("models", name)(2, side, **params)
    except SpecError:
        return False
    return True


def _said(side: int, why: str) -> str:
    return f"The model gets images of {side} x {side} pixels, {why}."
