"""How often attacks without a trigger mislead newly trained victims, beside models that were never
attacked.

A key is what is attacked: a true class, a class wanted and an image. Victims of one key share its
poison, so keys, not victims, are drawn independently; intervals are made by resampling keys.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from results.selection.configurations import of_game
from results.selection.grouping import benchmark_of
from results.stats.intervals import Interval, clustered
from trials.spec import Record, Victim, content_id

KEY = ("key", "instance")  # settings of an attack that say what is attacked


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetedSuccess:
    """One attack with its settings, on one benchmark, over its keys and victims.

    Attributes:
        victim: one of them.
        records: finished trials.
        failed: trials that failed or were pruned.
    """

    victim: Victim
    records: tuple[Record, ...]
    failed: int

    @property
    def keys(self) -> int:
        return len(self._by_key("success"))

    def rate(self, metric: str) -> float:
        """The mean of a metric over keys and victims."""
        return fmean(r.metrics[metric] for r in self.records)

    def interval(self, metric: str) -> Interval:
        """At 95 %, of a share such as ``success``, by resampling keys."""
        return clustered(self._by_key(metric))

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
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for r in of_game(records, "targeted"):
        groups[benchmark_of(r.trial.victim), _attack(r.trial.victim)].append(r)
    found = [_of(group) for group in groups.values()]
    return sorted(found, key=lambda t: -t.rate("success") if t.records else 1)


def _of(group: Sequence[Record]) -> TargetedSuccess:
    done = tuple(r for r in group if r.status == "done")
    return TargetedSuccess(
        victim=group[0].trial.victim, records=done, failed=len(group) - len(done)
    )


def _attack(victim: Victim) -> str:
    """The attacks' settings but for what is attacked."""
    shared = []
    for attack in victim.attacks:
        said = attack.identity()
        said["params"] = {k: v for k, v in said["params"].items() if k not in KEY}
        shared.append(said)
    return content_id(shared)


def _key(victim: Victim) -> str:
    named = []
    for attack in victim.attacks:
        named.append({k: v for k, v in attack.params.items() if k in KEY})
    return content_id(named)
