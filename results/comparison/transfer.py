"""Does the order of settings on self-poisoned copies hold on the real attack?

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-C chooses settings on self-poisoned
models.
Deviation: the paper takes for granted that the order carries over; here it is measured, over all
settings tried.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

from results.selection.configurations import Configuration, configurations, of_game
from results.selection.grouping import benchmark_of
from results.selection.rules import DEFAULT_RULE
from results.stats.correlation import Correlation, correlations
from trials.spec import Record, Victim


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One defense's settings, ordered twice by η: on copies and on the real attack."""

    self_poisoning: str  # the attack with which the copies were poisoned
    victim: Victim  # the really attacked one
    trusted: float
    defense: str | None  # None for the settings of all defenses together
    planted: tuple[float, ...]  # η on copies, a setting each
    real: tuple[float, ...]  # η on the real attack, the same settings
    spearman: Correlation
    kendall: Correlation

    @property
    def cost(self) -> float:
        """η on the real attack of the setting that the copies choose, less the lowest that any
        setting reached.
        """
        return self.real[min(range(len(self.planted)), key=lambda i: (self.planted[i], i))] - min(
            self.real
        )


def transfers(
    records: Iterable[Record],
    rule: str = DEFAULT_RULE,
    real_rule: str = "last_before_delta",
    seed: int = 0,
) -> list[Transfer]:
    """For every planted attack, attacked victim and r, each defense apart and all together.

    Copies of the victim itself count where it was tuned, else those of victims of its dataset,
    model and training.

    Args:
        records: tuning, and whole runs of the robustness game (a frozen run is no order).
        rule: which point of the curve on copies counts.
        real_rule: which point of the real attack's curve counts.
        seed: of the resamples.

    Raises:
        SpecError: unknown rule.
        ValueError: a measurement is not finite.
    """
    records = records if isinstance(records, list) else list(records)  # with its index, if any
    whole = [r for r in of_game(records, "robustness") if not r.trial.game.params.get("stop_at")]
    planted: dict[tuple[str, float], list[Configuration]] = defaultdict(list)
    for c in configurations(records, rule):
        if c.point:
            planted[_poisoning(c), c.task.trusted].append(c)
    groups: dict[tuple[str, float], list[Configuration]] = defaultdict(list)
    for c in configurations(whole, real_rule, game="robustness"):
        if c.point:
            groups[c.victim.id, c.task.trusted].append(c)
    found = []
    poisonings = dict.fromkeys(poisoning for poisoning, _ in planted)
    for self_poisoning, ((_, trusted), real) in product(poisonings, sorted(groups.items())):
        on_copies = _planted(real[0], planted.get((self_poisoning, trusted), []))
        for defense in [*sorted({c.method.name for c in real}), None]:
            some = [c for c in real if defense in (None, c.method.name)]
            pairs = [(on_copies[k], _eta(c)) for c in some if (k := c.method.id) in on_copies]
            if len(pairs) > 2:
                found.append(_transfer(self_poisoning, real[0], defense, pairs, seed))
    return found


def _poisoning(c: Configuration) -> str:
    trial = c.records[0].trial
    return (
        str(trial.self_poisoning.params.get("attack", "badnets"))
        if trial.self_poisoning
        else "unknown"
    )


def _planted(real: Configuration, planted: list[Configuration]) -> dict[str, float]:
    own = [c for c in planted if c.victim.id == real.victim.id]
    alike = own or [c for c in planted if benchmark_of(c.victim) == benchmark_of(real.victim)]
    seen: dict[str, list[float]] = defaultdict(list)
    for c in alike:
        seen[c.method.id].append(_eta(c))
    return {k: sum(v) / len(v) for k, v in seen.items()}


def _eta(c: Configuration) -> float:
    assert c.point is not None
    return c.point.asr


def _transfer(
    self_poisoning: str,
    real: Configuration,
    defense: str | None,
    pairs: list[tuple[float, float]],
    seed: int,
) -> Transfer:
    planted, left = zip(*pairs, strict=True)
    spearman, kendall = correlations(planted, left, seed=seed)
    return Transfer(
        self_poisoning=self_poisoning,
        victim=real.victim,
        trusted=real.task.trusted,
        defense=defense,
        planted=planted,
        real=left,
        spearman=spearman,
        kendall=kendall,
    )
