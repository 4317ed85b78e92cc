"""How often attacks without a trigger mislead newly trained victims, beside models that were never
attacked.

A key is what is attacked: a true class, a class wanted and an image. Victims of one key share its
poison, so keys, not victims, are drawn independently; intervals are made by resampling keys. All
keys share the controls of their seeds, so what these have in common widens the intervals.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from results.selection.configurations import of_game
from results.selection.grouping import KEY, attack_of, benchmark_of
from results.stats.intervals import Interval, clustered
from results.stats.pareto import nondominated
from trials.spec import Filtering, MethodConfig, Record, Victim, content_id


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetedSuccess:
    """One attack with its settings, on one benchmark, over its keys and victims: trained by one
    recipe, on all rows or on what one filter keeps.

    Attributes:
        victim: one of them.
        records: finished trials.
        filtered: finished trials that scored their training sets; none where all rows were kept.
        failed: trials that failed or were pruned.
    """

    victim: Victim
    records: tuple[Record, ...]
    filtered: tuple[Record, ...] = ()
    failed: int

    @property
    def filtering(self) -> Filtering | None:
        """The filter, one of its seeds."""
        return self.victim.filter

    @property
    def keys(self) -> int:
        return len(self._by_key("success"))

    def rate(self, metric: str) -> float:
        """The mean of a metric over keys and victims."""
        return fmean(r.metrics[metric] for r in self.records)

    def removed(self, which: str) -> float | None:
        """Share of the rows that are ``poisoned`` or ``clean`` which the filter removed; None
        without a filter.
        """
        found = [r.metrics.get(f"removed_{which}") for r in self.filtered]
        known = [share for share in found if share is not None]
        return fmean(known) if known else None

    def interval(self, metric: str) -> Interval:
        """At 95 %, of a share such as ``success``, by resampling keys; victims of one seed share
        the first weights, and their control is one model for all keys.
        """
        seeds: dict[str, list[int]] = defaultdict(list)
        for r in self.records:
            seeds[_key(r.trial.victim)].append(r.trial.victim.seed)
        return clustered(self._by_key(metric), list(seeds.values()))

    @property
    def cda_loss(self) -> float:
        """CDA lost, a fraction, to the controls of the same seeds."""
        return self.rate("cda_control") - self.rate("cda")

    @property
    def apart(self) -> bool:
        """Success is above the control, their intervals apart."""
        return self.interval("success").low > self.interval("success_control").high

    def _by_key(self, metric: str) -> list[list[float]]:
        found: dict[str, list[float]] = defaultdict(list)
        for r in self.records:
            found[_key(r.trial.victim)].append(r.metrics[metric])
        return list(found.values())


def targeted_success(records: Iterable[Record]) -> list[TargetedSuccess]:
    """Every attack and benchmark of the game ``targeted``, the one that misleads most first."""
    records = list(records)
    scored = {r.trial.victim.id: r for r in of_game(records, "filtering") if r.status == "done"}
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for r in of_game(records, "targeted"):
        groups[_benchmark(r.trial.victim), attack_of(r.trial.victim)].append(r)
    found = [_of(group, scored) for group in groups.values()]
    return sorted(found, key=lambda t: -t.rate("success") if t.records else 1)


def alike(found: Iterable[TargetedSuccess]) -> list[list[TargetedSuccess]]:
    """By attack with its settings, data set and model: what recipes and filters make of it."""
    groups: dict[str, list[TargetedSuccess]] = defaultdict(list)
    for t in found:
        if t.records:
            plain = replace(t.victim, attacks=(), filter=None, training=MethodConfig(""), seed=0)
            groups[f"{plain.id} {attack_of(t.victim)}"].append(t)
    return list(groups.values())


def on_front(group: Sequence[TargetedSuccess]) -> list[TargetedSuccess]:
    """Those that no other one beats: with as little success and as much CDA."""
    kept = nondominated([(t.rate("success"), t.rate("cda")) for t in group])
    return [t for t, best in zip(group, kept, strict=True) if best]


def _of(group: Sequence[Record], scored: dict[str, Record]) -> TargetedSuccess:
    done = tuple(r for r in group if r.status == "done")
    found = (scored.get(r.trial.victim.id) for r in done)
    return TargetedSuccess(
        victim=group[0].trial.victim,
        records=done,
        filtered=tuple(r for r in found if r),
        failed=len(group) - len(done),
    )


def _benchmark(victim: Victim) -> str:
    """Everything but the attacks and the seeds."""
    filtering = victim.filter
    return benchmark_of(replace(victim, filter=replace(filtering, seed=0)) if filtering else victim)


def _key(victim: Victim) -> str:
    """Equal for victims of one targeted image: an image that is named is that one whatever the
    number that draws its poison.
    """
    named = []
    for attack in victim.attacks:
        given = {k: v for k, v in attack.params.items() if k in KEY}
        named.append(given.get("instance") or given)
    return content_id(named)
