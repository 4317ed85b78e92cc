"""What data filters leave as a set holds more attacks, more poison, or fewer images of a class.

Source: the questions of BaDLoss's reviewers: how a filter does with one attack to all of them at
once, at other poisoning ratios, and with minority classes.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import NamedTuple

from results.comparison.filtered_sets import FilteredSet
from results.selection.grouping import attack_config_of, benchmark_of, families, family_of
from results.selection.labels import rejection, short
from trials.later import LATER
from trials.spec import Victim, content_id

IMBALANCE = "imbalance"


class Axis(NamedTuple):
    """What filters are compared along.

    Attributes:
        name: what it is called in tables.
        said: on a chart's axis, on which values are times ``scale``.
        at: the value of a set; None where it has none.
        line: equal for victims that differ along the axis, in seed or in target alone.
    """

    name: str
    said: str
    scale: int
    at: Callable[[FilteredSet], float | None]
    line: Callable[[Victim], str]


def _share(s: FilteredSet) -> float | None:
    """Poisoned rows of those that the filter looked at."""
    rows, each = s.score("rows"), [s.score(f"m/{name}") for name in s.attacks]
    return sum(m or 0.0 for m in each) / rows if rows else None


def _imbalance(s: FilteredSet) -> float | None:
    dataset = s.victim.dataset
    found = {**LATER.get(dataset.name, {}), **dataset.params}.get(IMBALANCE)
    return None if found is None else float(found)


def _balanced(victim: Victim) -> str:
    """The attacks on the data set, however many images there are of it and of each class."""
    params = {k: v for k, v in victim.dataset.params.items() if k not in (IMBALANCE, "subset")}
    return str(attack_config_of(replace(victim, dataset=replace(victim.dataset, params=params))))


AT_ONCE = Axis(
    "attacks at once", "attacks at once", 1, lambda s: len(s.victim.attacks), benchmark_of
)
AXES = (
    AT_ONCE,
    Axis("poisoned share", "poisoned rows (% of all)", 100, _share, lambda v: str(family_of(v))),
    Axis(
        IMBALANCE,
        "images of the last class (% of those of the first)",
        100,
        _imbalance,
        _balanced,
    ),
)


@dataclass(frozen=True, slots=True)
class Along:
    """A filter with one setting and rejection at one place of an axis.

    Attributes:
        axis: what is compared along.
        line: equal for what differs along the axis alone.
        attacks: what the sets carry, as their families are called; empty where that varies.
        at: where on the axis.
        sets: filtered sets of victims that are alike but for seed, target and, along attacks at
            once, which attacks they carry.
    """

    axis: Axis
    line: str
    attacks: str
    at: float
    sets: tuple[FilteredSet, ...]

    @property
    def called(self) -> str:
        """'badloss:metric=log_loss (15 %)'."""
        filtering = self.sets[0].filtering
        return f"{short('filters', filtering.method)} ({rejection(filtering)})"

    def mean(self, value: Callable[[FilteredSet], float | None]) -> float | None:
        """Over the sets; None where one has none."""
        found = [value(s) for s in self.sets]
        known = [v for v in found if v is not None]
        return fmean(known) if known and len(known) == len(found) else None

    @property
    def before(self) -> float | None:
        """Mean ASR of the attacks before anything is removed, mean over the sets."""
        return self.mean(lambda s: s.mean_before)

    @property
    def left(self) -> float | None:
        """Mean ASR of the attacks after the training on what is kept, mean over the sets."""
        return self.mean(lambda s: fmean(s.asrs) if s.asrs else None)

    @property
    def largest(self) -> float | None:
        """The same of each set's largest."""
        return self.mean(lambda s: max(s.asrs, default=None))


def along(sets: Iterable[FilteredSet], axis: Axis) -> list[Along]:
    """Each filter at each place of the axis that a sweep has; none where it has one place."""
    sets = list(sets)
    groups: dict[tuple[str, str], dict[float, list[FilteredSet]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for s in sets:
        at = axis.at(s) if s.victim.attacks and s.trained and s.scored else None
        if at is not None:
            filtering = content_id(replace(s.filtering, seed=0).identity())
            line = content_id([axis.line(s.victim), s.filtering.trusted])
            groups[line, filtering][float(f"{at:.4g}")].append(s)
    varied = {key: places for key, places in groups.items() if len(places) > 1}
    named, found = families(s.victim for s in sets), list[Along]()
    for (line, _), places in varied.items():
        first = next(iter(places.values()))[0].victim
        attacks = "" if axis is AT_ONCE else named[family_of(first)]
        found += [Along(axis, line, attacks, at, tuple(some)) for at, some in places.items()]
    return sorted(found, key=lambda one: (one.line, one.called, one.at))


def lines(found: Sequence[Along]) -> dict[str, list[Along]]:
    """By what the rows of one chart have in common."""
    groups: dict[str, list[Along]] = defaultdict(list)
    for one in found:
        groups[one.line].append(one)
    return dict(groups)
