"""Data filters beside repairs: what is left after a filter, after a repair, and after a repair of
the model that was trained on what a filter kept.

Source: the reviews of BaDLoss (Alex et al. 2024, arXiv:2408.13221) ask for ASR against clean
accuracy and rows removed. A repair is stopped as in the game ``robustness``, where a defender would
stop it.
Deviation: the three are minimised together, the largest ASR of any attack, the CDA that is lost to
the training on all rows, and the share of rows removed; the hypervolume is of the front of these.

Victims that differ in seed and target only are one attack met repeatedly, and are averaged; so are
the seeds of a filter or repair on one victim.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import fmean
from typing import Literal, NamedTuple

from results.comparison.filtered_sets import DELTA, FilteredSet, filtered_sets
from results.selection.configurations import of_game
from results.selection.grouping import AttackConfig, attack_config_of
from results.selection.rules import kinds_of, pick
from results.stats import pareto
from results.stats.intervals import mean_sd
from trials.spec import Filtering, MethodConfig, Point, Record, Victim, content_id

Kind = Literal["nothing", "filter", "repair", "pair"]
STOP = "last_before_delta"  # the rule by which a repair is stopped: it needs no trigger
WORST = (1.0, 0.1, 1.0)  # ASR, CDA lost, rows removed: from where on a point counts for nothing


class Question(NamedTuple):
    """Which attacks, on which data set and model, with how many trusted images."""

    attack_config: AttackConfig
    trusted: float  # r


class Outcome(NamedTuple):
    """What one victim's model does after a treatment: fractions, means over seeds."""

    asrs: Sequence[float]  # of each attack
    cda: float
    loss: float  # CDA lost to the training on all rows
    removed: float  # share of the rows that are not trusted
    seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """A filter, a repair, both or nothing, each with its settings; numbers are means over victims.

    Attributes:
        filtering: the filter, one of its seeds; None for the training on all rows.
        defense: the repair; None for the model as it was trained.
        outcomes: by victim's id.
        victims: how many victims there are.
        failed: trials that failed or were pruned.
    """

    filtering: Filtering | None
    defense: MethodConfig | None
    outcomes: Mapping[str, Outcome]
    victims: int
    failed: int

    @property
    def kind(self) -> Kind:
        if self.filtering and self.defense:
            return "pair"
        return "filter" if self.filtering else "repair" if self.defense else "nothing"

    @property
    def filter_name(self) -> str | None:
        return self.filtering.method.name if self.filtering else None

    @property
    def whole(self) -> bool:
        """It was measured on every victim, so that it can be compared."""
        return len(self.outcomes) == self.victims

    @property
    def asr(self) -> float:
        """The largest ASR of any attack."""
        return fmean(max(o.asrs) for o in self.outcomes.values())

    @property
    def asr_sd(self) -> float | None:
        """Sample standard deviation of the same over victims; None for one victim."""
        return mean_sd([max(o.asrs) for o in self.outcomes.values()])[1]

    @property
    def mean_asr(self) -> float:
        """The mean ASR over attacks."""
        return fmean(fmean(o.asrs) for o in self.outcomes.values())

    @property
    def cda(self) -> float:
        return fmean(o.cda for o in self.outcomes.values())

    @property
    def loss(self) -> float:
        """CDA lost to the training on all rows."""
        return fmean(o.loss for o in self.outcomes.values())

    @property
    def removed(self) -> float:
        """Share of the rows that are not trusted."""
        return fmean(o.removed for o in self.outcomes.values())

    @property
    def seeds(self) -> int:
        """The fewest seeds on any victim."""
        return min(o.seeds for o in self.outcomes.values())

    @property
    def within_delta(self) -> bool:
        """At most 2 points of CDA are lost."""
        return self.loss <= DELTA + 1e-9

    @property
    def rank(self) -> tuple[bool, bool, float, float, bool]:
        """Lower is better: measured on all victims, within 2 points, the largest ASR, CDA, and of
        equals the one that does less.
        """
        costly, asr = not self.within_delta, round(self.asr, 12)
        return not self.whole, costly, asr, -round(self.cda, 12), self.kind == "pair"

    @property
    def objectives(self) -> tuple[float, float, float]:
        """What is minimised, in the order of ``WORST``."""
        return self.asr, self.loss, self.removed


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatments:
    """All treatments of one question, the one that leaves least first."""

    victim: Victim  # one of them, as it was trained on all rows
    trusted: float  # r
    found: tuple[Treatment, ...]

    @property
    def victims(self) -> int:
        return self.found[0].victims

    def of(self, *kinds: Kind) -> tuple[Treatment, ...]:
        """Those of these kinds that were measured on every victim."""
        return tuple(t for t in self.found if t.kind in kinds and t.whole)

    def best(self, kind: Kind) -> Treatment | None:
        """The one of a kind that leaves least, those within 2 points of CDA first."""
        return next(iter(self.of(kind)), None)

    @property
    def front(self) -> tuple[Treatment, ...]:
        """Those that no other beats in ASR, CDA and rows removed at once."""
        every = [t for t in self.found if t.whole]
        kept = pareto.minimal([t.objectives for t in every])
        return tuple(t for t, stays in zip(every, kept, strict=True) if stays)


def volume(some: Iterable[Treatment]) -> float:
    """Hypervolume in [0, 1] of treatments, from ``WORST`` on; more is better for the defender."""
    return pareto.dominated_share([t.objectives for t in some], WORST)


def treatments(records: Iterable[Record]) -> list[Treatments]:
    """Filters, repairs and pairs of both on each attack; none where no training set with an attack
    was filtered, or no model of all rows is there to compare with. What finished nowhere is left
    out, and so is the control ``none``, which treats nothing.

    Raises:
        ValueError: a measurement is not finite.
    """
    records = list(records)
    attacked = (s for s in filtered_sets(records) if s.victim.attacks)
    sets = [s for s in attacked if s.before and "asr" in s.before.metrics]
    groups: dict[tuple[Question, str], list[_Seen]] = defaultdict(list)
    for seen in chain(map(_untreated, sets), map(_filtered, sets), _repaired(records, sets)):
        groups[seen.question, seen.treatment].append(seen)
    found: dict[Question, list[Treatment]] = defaultdict(list)
    victims: dict[Question, dict[str, Victim]] = defaultdict(dict)
    for s in sets:
        victims[_question(s.victim, s.filtering.trusted)][s.victim.id] = s.victim
    for (question, _), group in groups.items():
        outcomes = {seen.victim: seen.outcome for seen in group if seen.outcome}
        if outcomes and question in victims:
            found[question].append(
                Treatment(
                    filtering=group[0].filtering,
                    defense=group[0].defense,
                    outcomes=outcomes,
                    victims=len(victims[question]),
                    failed=sum(seen.failed for seen in group),
                )
            )
    return [
        Treatments(
            victim=min(victims[question].values(), key=lambda v: (v.seed, v.id)),
            trusted=question.trusted,
            found=tuple(sorted(some, key=lambda t: t.rank)),
        )
        for question, some in sorted(found.items())
    ]


class _Seen(NamedTuple):
    """One treatment of one victim."""

    question: Question
    treatment: str
    filtering: Filtering | None
    defense: MethodConfig | None
    victim: str
    outcome: Outcome | None
    failed: int = 0


def _question(victim: Victim, trusted: float) -> Question:
    return Question(attack_config_of(victim), trusted)


def _key(filtering: Filtering | None) -> str:
    """Equal for seeds of a filter."""
    return content_id(replace(filtering, seed=0).identity()) if filtering else ""


def _untreated(s: FilteredSet) -> _Seen:
    assert s.before is not None
    metrics = s.before.metrics
    asrs = [v for k, v in metrics.items() if k.startswith("asr/")] or [metrics["asr"]]
    question = _question(s.victim, s.filtering.trusted)
    return _Seen(question, "", None, None, s.victim.id, Outcome(asrs, metrics["cda"], 0.0, 0.0, 1))


def _filtered(s: FilteredSet) -> _Seen:
    cda, loss, removed = s.after("cda"), s.cda_loss, s.score("removed")
    outcome = None
    if cda is not None and loss is not None and removed is not None and s.asrs:
        outcome = Outcome(s.asrs, cda, loss, removed, len(s.trained))
    question = _question(s.victim, s.filtering.trusted)
    return _Seen(question, _key(s.filtering), s.filtering, None, s.victim.id, outcome, s.failed)


def _repaired(records: Iterable[Record], sets: Sequence[FilteredSet]) -> Iterator[_Seen]:
    """Repairs of these sets, and of the same victims trained on all rows."""
    known = {(s.victim.id, _key(s.filtering)): s for s in sets}
    whole = {s.victim.id: s for s in sets}
    groups: dict[tuple[str, float, str, str], list[Record]] = defaultdict(list)
    for r in of_game(records, "robustness"):
        trial, filtering = r.trial, r.trial.victim.filter
        if trial.method is None or trial.method.name == "none":
            continue
        plain = replace(trial.victim, filter=None).id
        how = content_id([trial.method.identity(), trial.game.identity()])
        groups[plain, trial.trusted, _key(filtering), how].append(r)
    for (victim, trusted, filtered, how), group in groups.items():
        s = known.get((victim, filtered)) if filtered else whole.get(victim)
        if s is None or s.before is None:
            continue
        removed = s.score("removed") if filtered else 0.0
        done = [r for r in group if r.status == "done" and r.curve]
        yield _Seen(
            question=_question(s.victim, trusted),
            treatment=f"{filtered} {how}",
            filtering=s.filtering if filtered else None,
            defense=group[0].trial.method,
            victim=victim,
            outcome=_after(done, s.before, removed) if done and removed is not None else None,
            failed=len(group) - len(done),
        )


def _after(done: Sequence[Record], before: Record, removed: float) -> Outcome:
    ends = [picked.point for r in done if (picked := pick(r, STOP))]
    cda = fmean(p.cda for p in ends)
    return Outcome(_asrs(ends), cda, before.metrics["cda"] - cda, removed, len(ends))


def _asrs(ends: Sequence[Point]) -> list[float]:
    """Of each attack, the mean over seeds."""
    each = [list(kinds_of(p).values()) or [p.asr] for p in ends]
    return [fmean(of_one) for of_one in zip(*each, strict=True)]
