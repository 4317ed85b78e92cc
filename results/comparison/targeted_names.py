"""What victims of attacks without a trigger are called beside each other: attack, recipe and
filter, each with those of its settings in which others of its name differ.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from results.comparison.targeted_success import TargetedSuccess
from results.selection.grouping import KEY
from results.selection.labels import rejection, value
from trials.spec import Filtering, MethodConfig, Victim

_ALWAYS = ("m", "budget", "epsilon")  # said of every attack


class Names(NamedTuple):
    """'witches_brew (budget = 0.01, epsilon = 16)', 'epic (share = 0.2)', 'deep_knn (10 %)'."""

    attack: str
    training: str
    filter: str  # "" without one

    @property
    def trained(self) -> str:
        """By which recipe, and on what."""
        return f"{self.training} on what {self.filter} keeps" if self.filter else self.training


def names(found: Iterable[TargetedSuccess]) -> list[Names]:
    """A name for each, in their order."""
    return names_of([t.victim for t in found])


def names_of(victims: Sequence[Victim]) -> list[Names]:
    """As ``names``, for victims."""
    attacks = list(chain.from_iterable(v.attacks for v in victims))
    recipes = [v.training for v in victims]
    filterings = [v.filter for v in victims if v.filter]
    named = []
    for v in victims:
        attack = " + ".join(_told(a, attacks, _ALWAYS) for a in v.attacks)
        filtering = _filter(v.filter, filterings) if v.filter else ""
        named.append(Names(attack, _told(v.training, recipes), filtering))
    return named


def _told(one: MethodConfig, among: Sequence[MethodConfig], always: Sequence[str] = ()) -> str:
    said = _differing(one, among, always)
    return f"{one.name} ({', '.join(said)})" if said else one.name


def _differing(
    one: MethodConfig, among: Sequence[MethodConfig], always: Sequence[str] = ()
) -> list[str]:
    """'epsilon = 16': its settings that others of its name have otherwise, and some always."""
    rivals = [o.as_stored.params for o in among if o.name == one.name]
    said = []
    for k, v in one.as_stored.params.items():
        differs = any(other.get(k) != v for other in rivals)
        if k not in KEY and v != "" and (differs or k in always):
            said.append(f"{k} = {value(v)}")
    return said


def _filter(one: Filtering, among: Sequence[Filtering]) -> str:
    rivals = [f for f in among if f.method.name == one.method.name]
    said = _differing(one.method, [f.method for f in rivals])
    if any(f.trusted != one.trusted for f in rivals):
        said.append(f"r = {value(one.trusted)}")
    return f"{one.method.name} ({', '.join([*said, rejection(one)])})"
