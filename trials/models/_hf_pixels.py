"""What preprocessor_config.json says of the images: side, mean and standard deviation."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trials.models._hf_config import read_json
from trials.normalisation import CONSTANTS, Constants
from trials.spec import SpecError

PREPROCESSOR = "preprocessor_config.json"
_BYTE = 1 / 255
_LARGEST = 4096  # pixels a side


@dataclass(frozen=True, slots=True)
class Pixels:
    """What a file says.

    Attributes:
        size: side of the square that the model gets, in pixels; None where it says none.
        constants: mean and standard deviation of pixels in [0, 1]; None where it says none.
    """

    size: int | None
    constants: Constants | None


def pixels_of(file: Path) -> Pixels:
    """What a preprocessor_config.json says.

    Raises:
        SpecError: it cannot be read, or asks for images that are not square or not RGB.
    """
    found = read_json(file)
    if found.get("do_flip_channel_order"):
        raise SpecError(
            f"{str(file)!r} asks for BGR images (do_flip_channel_order), and images are RGB here. "
            "Turn the input channels of the first layer's weights round (w[:, [2, 1, 0]]), and "
            "write false."
        )
    try:
        return Pixels(_side(found), _constants(found))
    except (ValueError, TypeError, LookupError, ArithmeticError) as problem:
        reason = " ".join(str(problem).split())[:200]
        raise SpecError(
            f"{str(file)!r} does not say how images are prepared: {reason}. Mend it, or remove it "
            "and give --size, --mean and --std."
        ) from problem


def side_in(size: Any) -> int | None:
    """The side that a size of Hugging Face's kinds stands for: a number, a pair or names.

    Raises ValueError for what is no square.
    """
    if isinstance(size, Mapping):
        keys = ("height", "width", "shortest_edge", "longest_edge")
        size = [size[key] for key in keys if size.get(key) is not None]
        size = size[:1] if len(size) != 2 else size
    sides = size if isinstance(size, list | tuple) else [size]
    if not sides or sides[0] is None:
        return None
    whole = all(type(s) is int and 0 < s <= _LARGEST for s in sides)
    if not whole or len(set(sides)) > 1:
        raise ValueError(f"the size {str(sides)[:60]}, needed is a square")
    return int(sides[0])


def _side(found: Mapping[str, Any]) -> int | None:
    cropped = found.get("do_center_crop") and found.get("crop_size") is not None
    return side_in(found["crop_size"] if cropped else found.get("size"))


def _constants(found: Mapping[str, Any]) -> Constants | None:
    """Scaling, offset and normalisation in one: ``(x - mean) / std`` of pixels in [0, 1]."""
    factor = float(found.get("rescale_factor", _BYTE)) if found.get("do_rescale", True) else 1.0
    scale, offset = 255 * factor, 1.0 if found.get("rescale_offset") else 0.0
    plain = abs(scale - 1) < 1e-6 and not offset
    mean, std = found.get("image_mean"), found.get("image_std")
    if found.get("do_normalize", True) is False:
        mean, std = CONSTANTS["none"]
    if mean is None or std is None:
        if plain:
            return None
        mean, std = CONSTANTS["none"]
    mean, std = _channels(mean), _channels(std)
    if found.get("do_normalize", True) and found.get("include_top"):
        std = [s * s for s in std]  # EfficientNet's classifiers divide by it twice
    if not (scale > 0 and min(std) > 0):
        raise ValueError(f"image_std is {str(std)[:60]} and the scale {scale:g}")
    if plain:
        return _three(mean), _three(std)
    return _three([(m + offset) / scale for m in mean]), _three([s / scale for s in std])


def _channels(value: Any) -> list[float]:
    found = [float(v) for v in (value if isinstance(value, list | tuple) else [value] * 3)]
    if len(found) != 3 or not all(abs(v) < 1e6 for v in found):
        raise ValueError(f"mean or std is {str(value)[:60]}, needed are three numbers")
    return found


def _three(values: list[float]) -> tuple[float, float, float]:
    return values[0], values[1], values[2]
