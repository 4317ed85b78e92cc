"""Mean and standard deviation of each colour channel, by the name that models and attacks give
them, or in numbers.
"""

import math
import re

from trials.spec import SpecError

Constants = tuple[tuple[float, float, float], tuple[float, float, float]]
CONSTANTS: dict[str, Constants] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
_LARGEST = 1e6


def asked_for(norm: str, mean: str, std: str) -> str | Constants:
    """What a model's settings ask for: mean and std where they are given, else norm.

    Raises:
        SpecError: one of the two without the other, or not one number or three.
    """
    if not mean and not std:
        return norm
    if not mean or not std:
        raise SpecError(
            f"{'std' if mean else 'mean'} is missing: mean and std are given together, each three "
            "numbers, or one for all channels."
        )
    return numbers("mean", mean), numbers("std", std)


def numbers(name: str, text: str) -> tuple[float, float, float]:
    """Three numbers, or one that stands for all channels, with spaces or commas between.

    Raises SpecError for anything else.
    """
    parts = [part for part in re.split(r"[\s,;]+", text.strip("[]() \t")) if part]
    try:
        found = [float(part) for part in parts]
    except ValueError:
        found = []
    finite = all(math.isfinite(v) and abs(v) <= _LARGEST for v in found)
    if len(found) not in (1, 3) or not finite or (name == "std" and min(found) <= 0):
        positive = " above 0" if name == "std" else ""
        raise SpecError(
            f"{name} must be three numbers{positive}, or one for all channels, of pixels in "
            f'[0, 1], as in "0.485 0.456 0.406"; got {text[:60]!r}.'
        )
    red, green, blue = found * 3 if len(found) == 1 else found
    return red, green, blue


def in_words(constants: str | Constants) -> str:
    """Constants as a person writes them: a preset's name, or mean and std."""
    known = {c: name for name, c in CONSTANTS.items()}
    if isinstance(constants, str) or constants in known:
        return constants if isinstance(constants, str) else known[constants]
    mean, std = constants
    return f"mean {_short(mean)}, std {_short(std)}"


def _short(values: tuple[float, float, float]) -> str:
    return " ".join(f"{v:.4g}" for v in values)
