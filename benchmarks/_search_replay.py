"""Searches that are played on a grid whose curves are all known: the engine's own strategy asks,
and nothing is trained.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from statistics import fmean
from types import SimpleNamespace
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial, TrialState

from results.selection.winners import pick
from results.stats.intervals import wilson
from search_spaces._strategies import thin
from sweep.execution.ray_tune.schedulers import Asha, first_rung, group_of, standing
from sweep.planning import expansion
from sweep.planning.optuna_search import SearchStrategy
from sweep.planning.search_feed import FeedReader
from sweep.spec.sweep_file import Defense, Sweep
from trials.games._payment import SLACK
from trials.spec import MethodConfig, Record, Scalar, Trial

PATIENCE = 3  # of the tuning game, unless a sweep says otherwise


class Played(NamedTuple):
    """What the tuning game gives of a configuration, and its training steps."""

    record: Record
    given: int  # steps of the given model
    copies: int
    points: int  # of the run to its end, that before the defense too

    @property
    def steps(self) -> int:
        """Of the given model and of all copies."""
        return self.given + self.copies * self.record.curve[-1].step


class Tried(NamedTuple):
    """A configuration was tried: what had been spent by then, and the lowest ASR so far."""

    share: float  # of the grid's training steps
    eta: float


def as_played(whole: Record, trial: Trial) -> Played:
    """What ``trial``, which has ``cost = "given"``, would give, from the record of a run to the end
    on the given model and the copies: copies stop at the last step that the given model can pay.

    Args:
        whole: with ``cost = "both"`` and no end of patience.
        trial: the same with ``cost = "given"``.
    """
    settings = trial.game.params
    floor = whole.curve[0].cda - float(settings["delta"]) - SLACK
    beyond = given = last = 0
    for point in whole.curve[1:]:
        given = point.step
        last = given if point.cda >= floor else last
        beyond = 0 if point.cda >= floor else beyond + 1
        if beyond > int(settings["patience"]):
            break
    kept = tuple(p for p in whole.curve if p.step <= last)
    best = max((p.cda for p in whole.curve[1:] if p.step <= given), default=whole.curve[0].cda)
    metrics = {**whole.metrics, "cda_given": best}
    record = replace(whole, trial=trial, curve=kept, metrics=metrics)
    copies = int(settings["copies"])
    return Played(record, given, copies, len(whole.curve))


class Nearest:
    """Answers a space with the values of its grid that are nearest to what a sampler drew."""

    def __init__(self, drawn: FrozenTrial) -> None:
        self._drawn = drawn

    def choose(self, name: str, choices: Sequence[Scalar], /) -> Scalar:
        value = self._drawn.params[name]
        if isinstance(value, str):
            return value
        scale = math.log if getattr(self._drawn.distributions[name], "log", False) else float
        return min(choices, key=lambda x: abs(scale(float(x)) - scale(float(value))))


class Grid:
    """A defense's grid on one victim.

    Args:
        sweep: whose grid it is, run with ``cost = "both"``.
        defense: one of its defenses.
        task: one of its tasks.
        records: of the sweep; those of other defenses and tasks are passed over.
    """

    def __init__(
        self, sweep: Sweep, defense: Defense, task: expansion.TuningTask, records: Iterable[Record]
    ) -> None:
        tuning = {**sweep.tuning, "cost": "given", "patience": PATIENCE}
        self.sweep, self.defense, self.task = replace(sweep, tuning=tuning), defense, task
        known = {r.trial.id: r for r in records if r.status == "done"}
        self.configs, self._played = list[MethodConfig](), dict[str, Played]()
        for config in expansion.configurations(sweep, defense):
            (whole,) = expansion.trials_of(sweep, task, config)
            (trial,) = expansion.trials_of(self.sweep, task, config)
            if whole.id in known:
                self.configs.append(config)
                self._played[expansion.key_of(config)] = as_played(known[whole.id], trial)
        if not self.configs:
            raise ValueError(f"no record of {defense.name} on {task.victim.id}")
        first = self.at(self.configs[0])
        self.steps = sum(played.steps for played in self._played.values())
        self.etas = sorted(eta_of(p.record, sweep.rule) for p in self._played.values())
        low, high = wilson(self.etas[0], first.record.metrics["n_triggered"])
        self.slack = (high - low) / 2  # half the interval of the grid's own η

    @property
    def near(self) -> int:
        """Points of the grid that are as good as its best."""
        return sum(eta <= self.etas[0] + self.slack for eta in self.etas)

    def at(self, config: MethodConfig) -> Played:
        return self._played[expansion.key_of(config)]

    def nearest(self, drawn: FrozenTrial) -> Played:
        space, defense = expansion.space_of(self.defense), self.defense
        return self.at(expansion.settled(defense, space(Nearest(drawn), defense.profile)))


def eta_of(record: Record, rule: str) -> float:
    """The ASR that the rule takes of a curve, stopped or not."""
    chosen = pick(replace(record, status="done"), rule)
    assert chosen is not None
    return chosen.point.asr


class Told(SearchStrategy):
    """Tells more than the engine does: of a trial that ASHA stopped what it had reached by then,
    and of a configuration that was too costly for the copies what it cost.
    """

    def _outcome(self, records: Sequence[Record]) -> tuple[TrialState, list[float], float]:
        state, values, loss = super()._outcome([replace(r, status="done") for r in records])
        if all(len(r.curve) == 1 for r in records):
            loss = fmean(r.curve[0].cda - r.metrics["cda_given"] for r in records)
        return state, values, loss


def searched(
    grid: Grid,
    sampler: str,
    seed: int,
    most: float,
    asha: bool = False,
    kind: type[SearchStrategy] = SearchStrategy,
) -> list[Tried]:
    """A search by the engine's strategy, one worker, that ends when it has spent ``most`` of the
    grid's training steps.

    Args:
        grid: whose nearest point answers each configuration that is asked for.
        sampler: a name in ``samplers.KINDS``.
        seed: of the search.
        most: share of the grid's steps.
        asha: with ``scheduler = "asha"``.
        kind: what a sampler is told.
    """
    asking = _strategy(grid, sampler, seed, kind)
    stopping = _Stopping(grid.sweep.rule) if asha else None
    found, spent, eta = list[Tried](), 0, 1.0
    while (trial := asking.ask()) is not None:
        played = grid.nearest(asking.study.get_trials(deepcopy=False)[-1])
        record = replace(played.record, trial=trial)
        if stopping:
            record = stopping.run(record)
        spent += played._replace(record=record).steps
        if spent > most * grid.steps:
            break
        eta = min(eta, eta_of(record, grid.sweep.rule))
        found.append(Tried(spent / grid.steps, eta))
        asking.tell(record)
    return found


def _strategy(grid: Grid, sampler: str, seed: int, kind: type[SearchStrategy]) -> SearchStrategy:
    trials = len(grid.configs)
    defense = replace(grid.defense, strategy="search", sampler=sampler, trials=trials)
    space = expansion.space_of(defense)
    return kind(
        defense.name,
        defense,
        lambda ask: expansion.settled(defense, space(ask, defense.profile)),
        lambda config: expansion.trials_of(grid.sweep, grid.task, config),
        grid.sweep.rule,
        grid.sweep.delta,
        FeedReader(),
        seed,
    )


class _Stopping:
    """ASHA as the engine has it on Ray, one trial after the other."""

    def __init__(self, rule: str) -> None:
        self._rule, self._asha, self._number = rule, Asha({}), 0

    def run(self, record: Record) -> Record:
        """The record, or what is left of it where its trial is stopped."""
        self._number += 1
        group = {"group": group_of(record.trial), "first_rung": first_rung(record.trial)}
        own: Any = SimpleNamespace(trial_id=str(self._number), config=group)
        self._asha.on_trial_add(None, own)
        for end in range(2, len(record.curve)):
            seen = record.curve[:end]
            result = standing(record.trial, seen, self._rule)
            if self._asha.on_trial_result(None, own, result) == "STOP":
                return replace(record, status="pruned", curve=seen)
        return record


def thinned(grid: Grid, seed: int, most: float) -> list[Tried]:
    """The grid's points as ``limit`` spreads them, one after the other."""
    found, spent, eta = list[Tried](), 0, 1.0
    for played in map(grid.at, thin(grid.configs, len(grid.configs), seed)):
        spent += played.steps
        if spent > most * grid.steps:
            break
        eta = min(eta, eta_of(played.record, grid.sweep.rule))
        found.append(Tried(spent / grid.steps, eta))
    return found


def halved(grid: Grid, seed: int, most: float) -> list[Tried]:
    """As many of these points as can be paid: each for half of its steps, the best quarter to the
    end. A curve that is judged at its end alone is run to its end.
    """
    points = [grid.at(config) for config in thin(grid.configs, len(grid.configs), seed)]
    found: list[Tried] = []
    for number in range(1, len(points) + 1):
        tried = _halves(points[:number], grid)
        if tried.share > most:
            break
        found.append(tried)
    return found


def _halves(points: Sequence[Played], grid: Grid) -> Tried:
    rule = grid.sweep.rule
    first = list(map(_half, points))
    ranked = sorted(zip(first, points, strict=True), key=lambda pair: eta_of(pair[0].record, rule))
    kept = ranked[: max(1, len(ranked) // 4)]
    spent = sum(p.steps for p in first) + sum(whole.steps - half.steps for half, whole in kept)
    seen = chain(first, (whole for _, whole in kept))
    return Tried(spent / grid.steps, min(eta_of(p.record, rule) for p in seen))


def _half(played: Played) -> Played:
    if played.points <= 2:  # it is judged at its end alone
        return played
    method = played.record.trial.method
    assert method is not None
    half = int(method.params["steps"]) // 2
    curve = tuple(p for p in played.record.curve if p.step <= half)
    return played._replace(
        record=replace(played.record, curve=curve), given=min(played.given, half)
    )


@dataclass(frozen=True, slots=True)
class Result:
    """What one way of searching gave on one grid, of so many seeds."""

    runs: list[list[Tried]]
    grid: Grid

    def regrets(self, share: float) -> list[float]:
        """η above the grid's, after this share of its steps."""
        return [_lowest(run, share) - self.grid.etas[0] for run in self.runs]

    def within(self, share: float) -> float:
        """Share of the searches that are within half the interval by then."""
        return fmean(regret <= self.grid.slack for regret in self.regrets(share))

    def reached(self) -> Iterator[float]:
        """The share of the steps after which each came within half the interval; infinity for
        never.
        """
        for run in self.runs:
            goal = self.grid.etas[0] + self.grid.slack
            yield next((t.share for t in run if t.eta <= goal), math.inf)


def _lowest(run: Sequence[Tried], share: float) -> float:
    return min([t.eta for t in run if t.share <= share], default=1.0)


Search = Callable[[Grid, int, float], list[Tried]]
