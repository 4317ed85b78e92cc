"""Success of attacks without a trigger along what a sweep varies: how much is changed, how it is
crafted, which architecture it meets, and how much noise the training adds.

Source: Geiping et al. 2021, arXiv:2009.02276, its tables and figures: budgets and epsilon, restarts
and ensembles, augmentation, other architectures, noise as a defense.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import NamedTuple

from results.comparison.targeted_success import TargetedSuccess
from results.selection.grouping import KEY
from results.selection.labels import short, value
from trials import catalog
from trials.architecture import surrogate_said
from trials.spec import MethodConfig, Scalar, Victim, canonical


class Axis(NamedTuple):
    """What success is compared along.

    Attributes:
        name: what it is called in tables.
        keys: settings that change along it, as ``settings_of`` names them.
        unsaid: settings that may change with them.
    """

    name: str
    keys: tuple[str, ...]
    unsaid: tuple[str, ...] = ()


BUDGET = Axis("ε and budget", ("epsilon", "budget"))
NOISE = Axis(
    "noise in the training",
    ("training", "clip", "noise", "privacy ε"),
    ("delta", "accountant", "batch", "precision"),
)
AXES = (
    BUDGET,
    Axis("restarts and ensemble", ("restarts", "ensemble")),
    Axis("augmentation", ("augment", "shift", "training's augment")),
    Axis("architecture", ("model", "surrogate")),
    NOISE,
)
_NOISED = ("gradient_shaping", "dp_sgd")  # recipes along the axis of noise, beside the plain one
_PLAIN = "fast"
# the attack's, along the axes, whatever a recipe calls its own
_ATTACKS = ("epsilon", "budget", "restarts", "ensemble", "augment", "shift")


@dataclass(frozen=True, slots=True)
class Compared:
    """One attack and training on an axis.

    Attributes:
        found: its victims.
        at: the settings of the axis, those that it has.
        held: other settings, where they differ within the table.
        line: equal for those that differ along the axis alone.
    """

    found: TargetedSuccess
    at: Mapping[str, Scalar]
    held: str
    line: str


def along(found: Iterable[TargetedSuccess], axis: Axis) -> list[Compared]:
    """Attacks that the sweep varies along the axis, each line by its settings; empty where it
    varies none.
    """
    lines: dict[str, list[TargetedSuccess]] = defaultdict(list)
    for t in found:
        if t.records and (axis is not NOISE or t.victim.training.name in (*_NOISED, _PLAIN)):
            lines[canonical(_others(t, axis))].append(t)
    varied = {k: group for k, group in lines.items() if _varies(group, axis)}
    kept = [_others(group[0], axis) for group in varied.values()]
    differing = [k for k in _names(kept) if _several(_each(kept, k))]
    rows = []
    for line, group in sorted(varied.items(), key=lambda one: _along(one[1][0], differing)):
        others = _others(group[0], axis)
        held = ", ".join(f"{k} = {value(others[k])}" for k in differing if k in others)
        for t in sorted(group, key=lambda t: _along(t, axis.keys)):
            said = settings_of(t.victim)
            at = {k: said[k] for k in axis.keys if k in said}
            rows.append(Compared(t, at, held, line))
    return rows


def settings_of(victim: Victim) -> dict[str, Scalar]:
    """All that decides a victim but its key and seed, by short names; ``epsilon`` is the attack's,
    ``privacy ε`` that of ``dp_sgd``. A name means the same beside every training.
    """
    training, filtering = victim.training, victim.filter
    said: dict[str, Scalar] = {_of_training(k, training): v for k, v in _of(training).items()}
    said.setdefault("training's augment", True)  # where a recipe does not say, images are
    said |= {"training": training.name, "dataset": short("datasets", victim.dataset)}
    said |= {"model": short("models", victim.model), "reserve": victim.reserve}
    if filtering:
        said["filter"] = canonical({**filtering.identity(), "seed": 0})
    for attack in victim.attacks:
        own = {k: v for k, v in _of(attack).items() if k not in (*KEY, "arch")}
        said |= {**_apart(own, said), "attack": attack.name}
        said["surrogate"] = short("models", surrogate_said(victim, attack))
    return said


def _of(config: MethodConfig) -> dict[str, Scalar]:
    """A method's settings as its id has them, files by their digests."""
    said: Mapping[str, Scalar] = config.identity()["params"]
    return {**said, **config.files}


def _of_training(setting: str, training: MethodConfig) -> str:
    if setting == "epsilon" and training.name == "dp_sgd":
        return "privacy ε"
    return f"training's {setting}" if setting in _ATTACKS else setting


def _apart(own: Mapping[str, Scalar], taken: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The attack's settings, with its name before those that a training has, too."""
    shared = taken.keys() | _of_recipes().difference(_ATTACKS)
    return {f"attack's {k}" if k in shared else k: v for k, v in own.items()}


@cache
def _of_recipes() -> frozenset[str]:
    """The settings that any recipe has."""
    every = (catalog.describe("recipes", name).settings for name in catalog.names("recipes"))
    return frozenset(chain.from_iterable(every))


def _others(t: TargetedSuccess, axis: Axis) -> dict[str, Scalar]:
    said = settings_of(t.victim)
    return {k: v for k, v in said.items() if k not in (*axis.keys, *axis.unsaid)}


def _varies(group: Sequence[TargetedSuccess], axis: Axis) -> bool:
    if axis is NOISE and not any(t.victim.training.name in _NOISED for t in group):
        return False
    seen = [settings_of(t.victim) for t in group]
    return _several(list(map(one.get, axis.keys)) for one in seen)


def _each(kept: Sequence[Mapping[str, Scalar]], key: str) -> list[Scalar | None]:
    return [one.get(key) for one in kept]


def _several(values: Iterable[object]) -> bool:
    return len(set(map(canonical, values))) > 1


def _names(kept: Iterable[Mapping[str, Scalar]]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable(kept)))


def _along(t: TargetedSuccess, keys: Sequence[str]) -> list[tuple[bool, float, str]]:
    """By these settings, the first one first."""
    said = settings_of(t.victim)
    return [_order(said.get(k)) for k in keys]


def _order(given: Scalar | None) -> tuple[bool, float, str]:
    """None first, then numbers by size, then words."""
    number = given if isinstance(given, int | float) else 0.0
    return given is not None, float(number), given if isinstance(given, str) else ""
