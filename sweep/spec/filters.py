"""The [[filters]] tables of a sweep: which data filters, with which settings, and how much each
removes.
"""

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from sweep.spec.searches import check_once, check_search, check_words
from sweep.spec.validation import listed, number, one_of, typed
from trials import catalog
from trials.spec import OWN, REJECTIONS, SELF_POISONED, MethodConfig, SpecError

if TYPE_CHECKING:
    from sweep.spec.sweep_file import Sweep

GAME, TARGETED = "filtering", "targeted"
OWN_POISON = {GAME: "self_poison_data", TARGETED: "self_brew"}  # what [self_poisoning] sets
_LATER = ("beta", "quota", "cap", "recipes", "strategy", "trials", "sampler")
STRATEGIES = ["grid", "search"]
REJECT = 0.4  # share of the rows, as BaDLoss was published
PROFILES = ["cifar10", "imagenet", "small"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One data filter, the settings it is run with, and how much it removes."""

    name: str
    profile: str = "cifar10"
    strategy: str = "grid"
    limit: int = 1  # grid: points of it, the paper's first
    trials: int = 20  # search: configurations asked for, each of which filters every victim's set
    sampler: str = "tpe"
    # settings held at a value, over the space's
    fixed: Mapping[str, Any] = field(default_factory=dict)
    # each a share of the untrusted rows, "own" for the filter's own rule, "mixture" for a fit of
    # two normal distributions; or, by poison of the defender's own, "recall" or "budget"
    reject: tuple[float | str, ...] = (REJECT,)
    # settings of the game `filtering`
    beta: tuple[float, ...] = (0.1,)
    quota: tuple[str, ...] = ("global",)
    cap: float = 0.5
    # the victims whose training sets are filtered, by their recipes; none named: all
    recipes: tuple[str, ...] = ()

    def asked(self) -> dict[str, Any]:
        """What the table says, as plain values; of what came later that which is no default."""
        later = {f.name: f.default for f in fields(self) if f.name in _LATER}
        given = {k: v for k, v in asdict(self).items() if later.get(k, ()) != v}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}


def filter_of(data: Mapping[str, Any]) -> Filter:
    """A table of [[filters]]. Raises SpecError for what it may not hold."""
    given = dict(data)
    reject = listed("reject", given.pop("reject", REJECT))
    beta = listed("beta", given.pop("beta", 0.1))
    quota = listed("quota", given.pop("quota", "global"))
    found = typed(Filter, "filters", given)
    method = catalog.describe("filters", found.name)
    catalog.describe("filter_spaces", found.name)
    one_of("profile", found.profile, PROFILES)
    one_of("strategy", found.strategy, STRATEGIES)
    check_search("filter", found)
    check_words("filter", found, data)
    if found.limit < 1:
        raise SpecError(f"filter {found.name}: limit must be at least 1, got {found.limit}.")
    catalog.resolve("filters", MethodConfig(found.name, found.fixed))
    if OWN in reject and not method.rejects:
        raise SpecError(
            f'filter {found.name}: it has no rule of its own, so reject = "own" says nothing. '
            "Write a share of the rows, such as 0.4."
        )
    if "cap" in data and set(quota) == {"global"}:
        raise SpecError(
            f'filter {found.name}: cap is of a class\'s rows, and quota = "global" ranks all rows '
            'together: write quota = "capped" or "within", or leave cap out.'
        )
    for b, q in itertools.product(beta, quota):
        threshold = {"beta": b, "quota": q, "cap": found.cap}
        catalog.resolve("games", MethodConfig(GAME, threshold))
    return replace(
        found,
        reject=tuple(dict.fromkeys(_reject(found.name, value) for value in reject)),
        beta=tuple(dict.fromkeys(map(float, beta))),
        quota=tuple(dict.fromkeys(quota)),
    )


def _reject(name: str, value: Any) -> float | str:
    if value in REJECTIONS:
        return str(value)
    if isinstance(value, str):
        raise SpecError(
            f"filter {name}: reject must be a share of the rows or one of "
            f"{', '.join(REJECTIONS)}, got {value!r}."
        )
    share = number(f"filter {name}: reject", value)
    if not 0 < share < 1:
        hint = f" It is a fraction: write {share / 100:g} for {share:g} %." if share > 1 else ""
        raise SpecError(f"filter {name}: reject must lie in (0, 1), got {share:g}.{hint}")
    return share


def check_filters(sweep: "Sweep") -> None:
    """Filters go with two games, and one of them needs some. Raises SpecError."""
    if sweep.game == TARGETED:
        _check_brews(sweep)
        _check_repairs(sweep)
    _check_named(sweep)
    if not sweep.filters and sweep.game != GAME:
        return
    if sweep.game not in (GAME, TARGETED):
        raise SpecError(
            f'filters work on a training set, and game = "{sweep.game}" runs none: write game '
            f'= "{GAME}", or "{TARGETED}" for attacks without a trigger.'
        )
    if not sweep.filters:
        names = ", ".join(catalog.names("filters"))
        raise SpecError(f"there is no [[filters]] table. Known filters: {names}.")
    _check_repairs(sweep)
    _check_searches(sweep)
    if any(victim.training.name == "given" for victim in sweep.victims):
        raise SpecError(
            "a filtered training set is trained on, and the recipe 'given' trains nothing: choose "
            "another recipe."
        )
    if sweep.game == GAME:
        _check_own(sweep)


def _check_named(sweep: "Sweep") -> None:
    """Recipes that filters name train victims. Raises SpecError."""
    trained = list(dict.fromkeys(victim.training.name for victim in sweep.victims))
    for given in sweep.filters:
        if unknown := [name for name in given.recipes if name not in trained]:
            known = f"filter {given.name}: {catalog.unknown('recipe', unknown[0], trained)}"
            raise SpecError(f"{known[:-1]}, which train victims here.")


def _check_searches(sweep: "Sweep") -> None:
    """A filter is searched once, where something is misled or not. Raises SpecError."""
    searched = [given.name for given in sweep.filters if given.strategy == "search"]
    if searched and sweep.game != TARGETED:
        raise SpecError(
            f'filter {searched[0]}: strategy = "search" is for game = "{TARGETED}" alone: write '
            'strategy = "grid", with a limit on its points.'
        )
    check_once("filter", searched)


def _check_repairs(sweep: "Sweep") -> None:
    """Defenses may repair what filters left, if they need no one to choose. Raises SpecError."""
    if sweep.game == TARGETED and sweep.defenses:
        raise SpecError(
            f'game = "{TARGETED}" trains on what filters keep and runs no defense: leave '
            "[[defenses]] out."
        )
    if sweep.defenses and not any(v.attacks for v in sweep.victims):
        raise SpecError(
            "no victim is attacked, so there is no backdoor to repair: leave [[defenses]] out."
        )
    for defense in sweep.defenses:
        if defense.strategy == "search":
            raise SpecError(
                f'defense {defense.name}: strategy = "search" would follow the attacks\' own '
                f'triggers in game = "{GAME}", which no defender has: write grid or one_at_a_time.'
            )


def _check_brews(sweep: "Sweep") -> None:
    """What is brewed against oneself can be, and sets no threshold. Raises SpecError."""
    for own in sweep.self_poisoning:
        catalog.resolve("games", MethodConfig(OWN_POISON[TARGETED], own))
    rejects = set(itertools.chain.from_iterable(given.reject for given in sweep.filters))
    if asked := sorted(rejects & set(SELF_POISONED)):
        raise SpecError(
            f'reject = "{asked[0]}" is set by poison with triggers, which game = "{TARGETED}" has '
            "none of: write a share of the rows, own or mixture."
        )
    if any(sweep.self_poisoning) and not all(
        v.reserve or "trusted" in v.dataset.params for v in sweep.victims
    ):
        raise SpecError(
            "self_poisoning needs trusted images that no training sees: set reserve in [victim], "
            "to trusted (r) or more."
        )


def _check_own(sweep: "Sweep") -> None:
    """What is set by poison of the defender's own has some. Raises SpecError."""
    for own in sweep.self_poisoning:
        catalog.resolve("games", MethodConfig(OWN_POISON[GAME], own))
    for given in sweep.filters:
        asked = sorted(set(SELF_POISONED) & set(given.reject))
        if asked and not all(sweep.self_poisoning):
            raise SpecError(
                f'filter {given.name}: reject = "{asked[0]}" is set by poison of the defender\'s '
                "own: add a table [self_poisoning], say with attacks = 4."
            )
