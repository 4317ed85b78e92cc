"""Records of one defense's settings over several seeds, as one configuration with one mean curve.

Only like is put with like: same victim, same share of trusted images, same game settings and
self-poisoning.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from results.selection.mean_curves import mean_curve
from results.selection.reconstructed import RECONSTRUCTED, counts, left_of
from results.selection.remembered import once
from results.selection.rules import (
    DEFAULT_RULE,
    OWN_RULES,
    curve_of,
    delta_of,
    find_rule,
    in_order,
    kinds_of,
    seen_by,
)
from results.stats.intervals import mean_sd
from trials.curve import Curve
from trials.spec import MethodConfig, Point, Record, Trial, Victim, content_id


class SelectionTask(NamedTuple):
    """One question that a sweep answers: which defense for this victim, with this much trusted
    data?
    """

    victim: str  # Victim.id
    trusted: float  # r, a fraction
    game: str  # id of the game, its settings and the self-poisoning


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One defense with one set of settings; ``curve`` is None where no seed finished."""

    task: SelectionTask
    victim: Victim
    method: MethodConfig
    records: tuple[Record, ...]  # finished ones, one a seed
    # mean over seeds, at the steps that all of them recorded; () if none finished
    curve: Sequence[Point]
    point: Point | None  # what the rule takes from the curve
    delta: float
    rule: str
    failed: int
    pruned: int

    @property
    def kinds(self) -> dict[str, float]:
        """Of copies that carry several kinds of trigger, the ASR that is left of each."""
        return kinds_of(self.point) if self.point and self.game == "tuning" else {}

    @property
    def kinds0(self) -> dict[str, float]:
        """The same before the defense."""
        return kinds_of(self.curve[0]) if self.curve and self.game == "tuning" else {}

    def reconstructed(self, point: Point) -> float | None:
        """ASR of the trigger that was reconstructed from the given model; None where it was not, or
        does not count.
        """
        return point.extra.get(RECONSTRUCTED) if counts(self.records) else None

    @property
    def counted(self) -> str:
        """The metric that has the number of images behind the point's ASR."""
        own = self.rule in OWN_RULES and self.game == "tuning" and counts(self.records)
        most = own and self.point and left_of(self.point, 0.0) >= self.point.asr
        return "n_reconstructed" if most else "n_triggered"

    @property
    def game(self) -> str:
        return self.records[0].trial.game.name if self.records else ""

    @property
    def cda0(self) -> float:
        """CDA before the defense."""
        curve = self.curve
        return curve.cdas[0] if isinstance(curve, Curve) else curve[0].cda

    @property
    def within_delta(self) -> bool:
        """The point costs no more CDA than Δ, on the images that the curve was measured on."""
        return self.point is not None and self.point.cda >= self.cda0 - self.delta - 1e-9

    @property
    def too_costly(self) -> bool:
        """It was not run on the copies, as it cost the given model more than Δ at every step."""
        seen = [r.metrics.get("cda_given") for r in self.records]
        return bool(seen) and None not in seen and all(len(r.curve) == 1 for r in self.records)

    @property
    def rank(self) -> tuple[bool, tuple[float, float, float], float, int]:
        """Lower is better: within Δ first, then ASR, then CDA, then steps."""
        p = self.point
        assert p is not None
        left = in_order(self.rule, p.asr, self.reconstructed(p), self.method.name)
        return not self.within_delta, left, -round(p.cda, 12), p.step


def task_of(trial: Trial) -> SelectionTask:
    """The trial's task; ``stop_at`` says where a run ends, not what it is, so it is left out."""
    game = {k: v for k, v in trial.game.identity()["params"].items() if k != "stop_at"}
    self_poisoning = trial.self_poisoning.identity() if trial.self_poisoning else None
    return SelectionTask(
        trial.victim.id, trial.trusted, content_id([trial.game.name, game, self_poisoning])
    )


class Tasks:
    """``task_of``, worked out once for all trials that share victim, game and self-poisoning."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], tuple[SelectionTask, Trial]] = {}

    def __call__(self, trial: Trial) -> SelectionTask:
        key = (id(trial.victim), trial.trusted, id(trial.game), id(trial.self_poisoning))
        if key not in self._known:
            self._known[key] = task_of(trial), trial  # the trial keeps its parts, so their ids
        return self._known[key][0]


class Distinct(list[Record]):
    """Records of which no two are of one trial, so that those of a game are found at once."""

    def __init__(self, records: Iterable[Record]) -> None:
        super().__init__(records)
        self.by_game: dict[str, list[Record]] = defaultdict(list)
        for record in self:
            self.by_game[record.trial.game.name].append(record)


def of_game(records: Iterable[Record], *games: str) -> list[Record]:
    """Records of these games, each trial once: of a repeated trial the last record counts."""
    if isinstance(records, Distinct) and len(games) == 1:
        return list(records.by_game.get(games[0], ()))
    if isinstance(records, Distinct):
        return [r for r in records if r.trial.game.name in games]
    return list({r.trial.id: r for r in records if r.trial.game.name in games}.values())


def on_all_rows(records: Iterable[Record]) -> list[Record]:
    """Those whose victim was trained on all rows, of which no filter removed any."""
    return [r for r in records if r.trial.victim.filter is None]


def tasks(records: Iterable[Record], game: str = "tuning") -> dict[SelectionTask, list[Record]]:
    """The game's records by task, in order of victim, trusted share and game."""
    groups: dict[SelectionTask, list[Record]] = defaultdict(list)
    task_in = Tasks()
    for record in of_game(records, game):
        groups[task_in(record.trial)].append(record)
    return {task: Distinct(group) for task, group in sorted(groups.items())}


def configurations(
    records: Iterable[Record],
    rule: str = DEFAULT_RULE,
    delta: float | None = None,
    game: str = "tuning",
) -> list[Configuration]:
    """Every configuration tried in a game, also those of which nothing finished, in a fixed order.

    Repairs of what a data filter left are no task by themselves:
    ``results.comparison.filters_and_repairs``.

    Raises:
        SpecError: unknown rule.
        ValueError: a measurement is not finite.
    """
    find_rule(rule)
    return list(once(_configurations, on_all_rows(of_game(records, game)), rule, delta, game))


def _configurations(
    records: Sequence[Record], rule: str, delta: float | None, game: str
) -> list[Configuration]:
    groups: dict[SelectionTask, list[Record]] = defaultdict(list)
    task_in = Tasks()
    for record in records:
        if record.trial.method is not None:
            groups[task_in(record.trial)].append(record)
    # a page asks for all tasks and for each by itself
    found = (once(_of_task, own, task, rule, delta, game) for task, own in sorted(groups.items()))
    return list(chain.from_iterable(found))


def _of_task(
    records: Sequence[Record], task: SelectionTask, rule: str, delta: float | None, game: str
) -> list[Configuration]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        assert record.trial.method is not None
        groups[record.trial.method.id].append(record)
    return [_configuration(group, task, rule, delta, game) for _, group in sorted(groups.items())]


def _configuration(
    group: Sequence[Record], task: SelectionTask, rule: str, delta: float | None, game: str
) -> Configuration:
    trial = group[0].trial
    allowed = delta_of(group[0]) if delta is None else delta
    done = sorted(
        (r for r in group if r.status == "done" and r.curve),
        key=lambda r: (r.trial.seed, r.trial.id),
    )
    mean = mean_curve([curve_of(r) for r in done]) if done else ()
    curve = seen_by(rule, mean, game, done)
    assert trial.method is not None
    return Configuration(
        task=task,
        victim=trial.victim,
        method=trial.method,
        records=tuple(done),
        curve=curve,
        point=find_rule(rule)(curve, allowed) if curve else None,
        delta=allowed,
        rule=rule,
        failed=sum(r.status == "failed" for r in group),
        pruned=sum(r.status == "pruned" for r in group),
    )


def least(records: Sequence[Record], metric: str) -> int | None:
    """The smallest count among the records that have it, rounded down, so that an interval is too
    wide rather than too narrow.
    """
    return min((int(r.metrics[metric]) for r in records if metric in r.metrics), default=None)


def spread(records: Sequence[Record], step: int) -> float | None:
    """Sample standard deviation of the ASR at a step, over all copies of all records; None for a
    single value.
    """
    values: list[float] = []
    for record in records:
        for p in (p for p in record.curve if p.step == step):
            copies = [v for k, v in p.extra.items() if k.startswith("asr_") and k[4:].isdigit()]
            values += copies or [p.asr]
    return mean_sd(values)[1] if values else None
