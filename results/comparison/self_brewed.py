"""How a defender trains who brews poison against their own model, and what an attacker's does to
that.

A defender is a victim's training set and trusted images, and what they aim at is drawn by the seeds
alone: the same images against every key of an attacker. A setting is a recipe, with or without a
filter. Each defender takes the setting that is misled least by their own poison, of those whose
accuracy on images held back is within ``DELTA`` of the best; the attacker's poison judges it.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from results.comparison.filtered_sets import DELTA
from results.selection.configurations import of_game
from results.selection.grouping import attack_of
from results.stats.pareto import nondominated
from trials.spec import MethodConfig, Record, Victim, content_id

_NONE = MethodConfig("")


@dataclass(frozen=True, slots=True)
class Option:
    """A setting as one defender sees it, and as the judge does."""

    own: Record
    judged: Record

    @property
    def victim(self) -> Victim:
        return self.own.trial.victim

    @property
    def setting(self) -> str:
        """The same for every defender."""
        filtering = self.victim.filter
        said = replace(filtering, seed=0).identity() if filtering else {}
        return content_id([self.victim.training.identity(), said])

    @property
    def rank(self) -> tuple[float, float, float, str]:
        """Lower is better, as the defender sees it: their success, the probability of what they
        wanted, then the accuracy.
        """
        own = self.own.metrics
        return own["success"], own["wanted"], -own["cda_control"], self.setting


@dataclass(frozen=True, slots=True)
class Group:
    """Options that are averaged: one setting's of all defenders, or what each defender took."""

    options: tuple[Option, ...]

    def own(self, metric: str) -> float:
        """Mean of what the defenders see."""
        return fmean(o.own.metrics[metric] for o in self.options)

    def judged(self, metric: str) -> float:
        """Mean of what the attacker's poison does."""
        return fmean(o.judged.metrics[metric] for o in self.options)

    @property
    def draws(self) -> int:
        """How many of the defenders differ in their trusted images or in the pairs they aim at."""
        return len({(o.victim.seed, o.own.trial.seed) for o in self.options})

    @property
    def victim(self) -> Victim:
        return self.options[0].victim


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfBrewed:
    """The defenders of one attack on one dataset and model.

    Attributes:
        settings: each with its option for every defender, the one that defenders take most first.
        taken: what each defender takes.
    """

    settings: tuple[Group, ...]
    taken: Group

    @property
    def hindsight(self) -> Group:
        """The setting that the attacker's poison misleads least, of those within ``DELTA`` of the
        best accuracy on the test set; no defender knows it.
        """
        most = max(s.judged("cda") for s in self.settings)
        near = [s for s in self.settings if s.judged("cda") >= most - DELTA - 1e-9]
        return min(near, key=lambda s: (s.judged("success"), -s.judged("cda")))

    @property
    def own_front(self) -> list[Group]:
        """The settings that no other one beats as the defenders see it: with as little success of
        their own poison and as much accuracy on images held back.
        """
        seen = [(s.own("success"), s.own("cda_control")) for s in self.settings]
        return [s for s, best in zip(self.settings, nondominated(seen), strict=True) if best]

    def times(self, setting: Group) -> int:
        """How many defenders take it."""
        mine = setting.options[0].setting
        return sum(o.setting == mine for o in self.taken.options)


def self_brewed(records: Iterable[Record]) -> list[SelfBrewed]:
    """Every attack whose defenders brewed against themselves; settings that are not finished for
    every defender are left out.
    """
    records = list(records)
    judged = {r.trial.victim.id: r for r in of_game(records, "targeted") if r.status == "done"}
    options: dict[str, dict[str, list[Option]]] = defaultdict(lambda: defaultdict(list))
    for r in of_game(records, "self_brew"):
        if r.status == "done" and (its := judged.get(r.trial.victim.id)):
            options[_attack(r)][_defender(r)].append(Option(r, its))
    found = (_of(list(of_defenders.values())) for of_defenders in options.values())
    return [one for one in found if one]


def _of(defenders: Sequence[Sequence[Option]]) -> SelfBrewed | None:
    known = [set(map(_setting, options)) for options in defenders]
    shared = set.intersection(*known)
    if not shared:
        return None
    taken = list[Option]()
    by_setting: dict[str, list[Option]] = defaultdict(list)
    for options in defenders:
        mine = [o for o in options if o.setting in shared]
        taken.append(choose(mine))
        for option in mine:
            by_setting[option.setting].append(option)
    settings = tuple(Group(tuple(o)) for o in by_setting.values())
    found = SelfBrewed(settings=settings, taken=Group(tuple(taken)))
    order = sorted(found.settings, key=lambda s: (-found.times(s), s.own("success")))
    return replace(found, settings=tuple(order))


def _setting(option: Option) -> str:
    return option.setting


def choose(options: Sequence[Option]) -> Option:
    """What a defender takes, who sees no poison but their own."""
    most = max(o.own.metrics["cda_control"] for o in options)
    near = [o for o in options if o.own.metrics["cda_control"] >= most - DELTA - 1e-9]
    return min(near, key=lambda o: o.rank)


def _attack(record: Record) -> str:
    """Equal for the defenders that are averaged."""
    victim = record.trial.victim
    plain = replace(victim, attacks=(), filter=None, training=_NONE, seed=0)
    return f"{plain.id} {attack_of(victim)} {record.trial.trusted} {record.trial.game}"


def _defender(record: Record) -> str:
    """Equal for trials of one training set and one draw of trusted images."""
    plain = replace(record.trial.victim, filter=None, training=_NONE)
    return f"{plain.id} {record.trial.seed}"
