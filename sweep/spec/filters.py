"""The [[filters]] tables of a sweep: which data filters, with which settings, and how much each
removes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweep.spec.validation import listed, number, one_of, typed
from trials import catalog
from trials.spec import MethodConfig, SpecError, Victim

GAME, OWN = "filtering", "own"
REJECT = 0.4  # share of the rows, as BaDLoss was published
PROFILES = ["cifar10", "imagenet", "small"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One data filter, the settings it is run with, and how much it removes."""

    name: str
    profile: str = "cifar10"
    limit: int = 1  # points of the grid, the paper's first
    # settings held at a value, over the space's
    fixed: Mapping[str, Any] = field(default_factory=dict)
    # each a share of the untrusted rows, or "own" for the filter's own rule
    reject: tuple[float | str, ...] = (REJECT,)


def filter_of(data: Mapping[str, Any]) -> Filter:
    """A table of [[filters]]. Raises SpecError for what it may not hold."""
    given = dict(data)
    reject = listed("reject", given.pop("reject", REJECT))
    found = typed(Filter, "filters", given)
    method = catalog.describe("filters", found.name)
    catalog.describe("filter_spaces", found.name)
    one_of("profile", found.profile, PROFILES)
    if found.limit < 1:
        raise SpecError(f"filter {found.name}: limit must be at least 1, got {found.limit}.")
    catalog.resolve("filters", MethodConfig(found.name, found.fixed))
    if OWN in reject and not method.rejects:
        raise SpecError(
            f'filter {found.name}: it has no rule of its own, so reject = "own" says nothing. '
            "Write a share of the rows, such as 0.4."
        )
    return Filter(
        name=found.name,
        profile=found.profile,
        limit=found.limit,
        fixed=found.fixed,
        reject=tuple(dict.fromkeys(_reject(found.name, value) for value in reject)),
    )


def _reject(name: str, value: Any) -> float | str:
    if value == OWN:
        return OWN
    if isinstance(value, str):
        raise SpecError(
            f'filter {name}: reject must be a share of the rows or "own", got {value!r}.'
        )
    share = number(f"filter {name}: reject", value)
    if not 0 < share < 1:
        hint = f" It is a fraction: write {share / 100:g} for {share:g} %." if share > 1 else ""
        raise SpecError(f"filter {name}: reject must lie in (0, 1), got {share:g}.{hint}")
    return share


def check_filters(
    game: str, filters: Sequence[Filter], defends: bool, victims: Sequence[Victim]
) -> None:
    """Filters go with their game, and nothing else does. Raises SpecError."""
    if game != GAME:
        if filters:
            raise SpecError(
                f'filters work on a training set, and game = "{game}" runs none: write game = '
                f'"{GAME}".'
            )
        return
    if not filters:
        names = ", ".join(catalog.names("filters"))
        raise SpecError(f"there is no [[filters]] table. Known filters: {names}.")
    if defends:
        raise SpecError(
            f'game = "{GAME}" trains on what filters keep and runs no defense: leave [[defenses]] '
            "out."
        )
    if any(victim.training.name == "given" for victim in victims):
        raise SpecError(
            "a filtered training set is trained on, and the recipe 'given' trains nothing: choose "
            "another recipe."
        )
