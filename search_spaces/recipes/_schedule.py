"""The schedule under which a recipe is tried: its own, or a short one for digits."""

from search_spaces._ask import of_profile
from trials.spec import Scalar

_SCHEDULES: dict[str, dict[str, Scalar]] = {
    "cifar10": {},
    "small": {"epochs": 12, "batch": 64, "peak": 0.2},
}


def schedule(profile: str) -> dict[str, Scalar]:
    """Settings of the training that all points share. Raises SpecError for another profile."""
    return of_profile(_SCHEDULES, profile)
