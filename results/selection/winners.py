"""The winner: of every defense its best configuration, and of all defenses the best one.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-C: the setting with the lowest η on
self-poisoned copies. Deviation: ties go to the higher CDA, then to fewer steps; η is a mean over
seeds with its interval, and the step is chosen once, on the mean curve, because the real model gets
one number of steps.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from results.selection.configurations import (
    Configuration,
    SelectionTask,
    configurations,
    least,
    of_game,
    on_all_rows,
    spread,
)
from results.selection.reconstructed import form
from results.selection.remembered import once
from results.selection.rules import DEFAULT_RULE, RULES, Pick, find_rule, in_order, pick
from results.stats.intervals import Interval, wilson
from trials.spec import MethodConfig, Record, Trial, Victim

__all__ = ["CONTROLS", "REPAIRED", "RULES", "Pick", "Winner", "best", "overall", "pick", "winners"]

REPAIRED = 0.05  # a model counts as repaired when at most this ASR is left (section V-B)
CONTROLS = ("none", "bn_refresh", "fine_tuning")  # what a defense has to beat


@dataclass(frozen=True, slots=True, kw_only=True)
class Winner:
    """A defense's best configuration in one task.

    ASR and CDA are means over seeds and copies, fractions.
    """

    task: SelectionTask
    trial: Trial  # one of its trials, to run the winner again from
    trusted: float  # r
    defense: str
    method: MethodConfig
    step: int  # stop here
    eta: float  # η: ASR left at the step
    cda: float
    cda0: float  # before the defense
    asr0: float
    interval: Interval | None  # of eta, 95 %, n = n_triggered; None where n is unknown
    cda_interval: Interval | None
    n_triggered: int | None  # images that eta was measured on
    n_planted: int | None  # and what is left of the planted triggers
    n_clean: int | None
    n_seeds: int
    copies: int | None
    sd: float | None  # of the ASR over copies and seeds; None for a single value
    rule: str
    delta: float
    within_delta: bool
    tried: int  # configurations of this defense, failed and pruned ones too
    failed: int  # records
    pruned: int  # records
    too_costly: int = 0  # configurations that were not run on the copies, for what they cost
    kinds: Mapping[str, float] = field(default_factory=dict)  # ASR left by kind of trigger
    kinds0: Mapping[str, float] = field(default_factory=dict)  # and before the defense
    # ASR of the trigger that was reconstructed from the given model, where that counts; and before
    reconstructed: float | None = None
    reconstructed0: float | None = None
    reconstructed_form: str = ""  # of that trigger, mask or smooth

    @property
    def victim(self) -> Victim:
        return self.trial.victim

    @property
    def cda_loss(self) -> float:
        """CDA lost, a fraction; negative where the defense gained."""
        return self.cda0 - self.cda

    @property
    def repaired(self) -> bool:
        """η is at most 5 % and the CDA stays within Δ."""
        return self.eta <= REPAIRED and self.within_delta


def winners(
    records: Iterable[Record], rule: str = DEFAULT_RULE, delta: float | None = None
) -> list[Winner]:
    """The best configuration of each defense in each task, best defense first.

    A configuration of which a seed failed or was pruned is passed over while the defense has
    another, so that no setting wins by its lucky seeds. The rule ``oracle`` reads the real attack's
    records, all others the tuning.

    Raises:
        SpecError: unknown rule.
        ValueError: a measurement is not finite.
    """
    find_rule(rule)
    if rule == "oracle":
        real = of_game(records, "robustness")
        whole = [r for r in real if not r.trial.game.params.get("stop_at")]
        records = whole or [r for r in real if r.trial.victim.attacks]
    game = "robustness" if rule == "oracle" else "tuning"
    return list(once(_winners, on_all_rows(of_game(records, game)), rule, delta, game))


def _winners(
    records: Sequence[Record], rule: str, delta: float | None, game: str
) -> Sequence[Winner]:
    groups: dict[tuple[SelectionTask, str], list[Configuration]] = defaultdict(list)
    for c in configurations(records, rule, delta, game):
        groups[c.task, c.method.name].append(c)
    found = [w for group in groups.values() if (w := _winner(group)) is not None]
    return sorted(found, key=lambda w: (w.task, _rank(w)))


def best(group: Sequence[Winner]) -> Winner | None:
    """The lowest η of one task's winners; ties: higher CDA, fewer steps.

    ``none`` wins only if nothing is better.
    """
    return min(group, key=_rank, default=None)


def overall(found: Iterable[Winner]) -> list[Winner]:
    """The best winner of each task, in the tasks' order."""
    return [min(group, key=_rank) for _, group in sorted(by_task(found).items())]


def by_task(found: Iterable[Winner]) -> dict[SelectionTask, list[Winner]]:
    """The winners of each task, in the order in which they come."""
    groups: dict[SelectionTask, list[Winner]] = defaultdict(list)
    for w in found:
        groups[w.task].append(w)
    return dict(groups)


def _rank(w: Winner) -> tuple[bool, tuple[float, float, float], float, int, bool, str]:
    return (
        not w.within_delta,
        in_order(w.rule, w.eta, w.reconstructed, w.defense),
        -round(w.cda, 12),
        w.step,
        w.defense != "none",
        w.defense,
    )


def _winner(group: list[Configuration]) -> Winner | None:
    finished = [c for c in group if c.point is not None]
    whole = [c for c in finished if not (c.failed or c.pruned)]
    if not finished:
        return None
    won = min(whole or finished, key=lambda c: c.rank)
    point = won.point
    assert point is not None
    n_triggered, n_clean = least(won.records, won.counted), least(won.records, "n_clean")
    return Winner(
        task=won.task,
        trial=won.records[0].trial,
        trusted=won.task.trusted,
        defense=won.method.name,
        method=won.method,
        step=point.step,
        eta=point.asr,
        cda=point.cda,
        cda0=won.cda0,
        asr0=won.curve[0].asr,
        interval=wilson(point.asr, n_triggered) if n_triggered else None,
        cda_interval=wilson(point.cda, n_clean) if n_clean else None,
        n_triggered=n_triggered,
        n_planted=least(won.records, "n_triggered"),
        n_clean=n_clean,
        n_seeds=len(won.records),
        copies=least(won.records, "copies"),
        sd=spread(won.records, point.step),
        rule=won.rule,
        delta=won.delta,
        within_delta=won.within_delta,
        tried=len(group),
        failed=sum(c.failed for c in group),
        pruned=sum(c.pruned for c in group),
        too_costly=sum(c.too_costly for c in group),
        kinds=won.kinds,
        kinds0=won.kinds0,
        reconstructed=won.reconstructed(point),
        reconstructed0=won.reconstructed(won.curve[0]),
        reconstructed_form=form(won.records),
    )
