"""Walks through a search space: a list of trials known beforehand, or a sampler that learns from what came back.

A walk hands out trials and is told their records. It knows neither the store nor the executor.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Protocol

import optuna
from optuna.trial import TrialState

from results.selection import pick
from sweep.config import Defense
from trials.spec import Choice, Record, Trial, derive

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


class Walk(Protocol):
    """What an executor's source draws from."""

    label: str
    size: int  # trials in all

    def ask(self) -> Trial | None:
        """The next trial, or None while there is none (wait for records, or done)."""

    def tell(self, record: Record) -> None:
        """What a trial of this walk gave."""

    @property
    def done(self) -> bool:
        """True when every trial has been asked for and told."""


class ListWalk:
    """Trials that are known beforehand: victims, copies, a grid, a star."""

    def __init__(self, label: str, trials: Sequence[Trial]) -> None:
        self.label, self.size = label, len(trials)
        self._next, self._open = list(reversed(trials)), len(trials)

    def ask(self) -> Trial | None:
        return self._next.pop() if self._next else None

    def tell(self, record: Record) -> None:
        self._open -= 1

    @property
    def done(self) -> bool:
        return self._open == 0


class SearchWalk:
    """An Optuna sampler asks; each configuration runs once for each base seed and is told as their mean.

    The paper's optimum is asked first. Failures are told as failures, pruned trials as pruned, and the loss of clean
    accuracy beyond delta as a constraint.

    Args:
        label: what is searched, for people.
        defense: the walk's settings.
        space: ``space(ask) -> Choice``.
        trials_of: the trials (one a base seed) of a configuration.
        rule: selection rule that turns a curve into (asr, cda).
        delta: largest loss of clean accuracy accepted.
        history: stored records of this walk, so that a resumed search goes on where it was.
        seed: the sampler's.
    """

    def __init__(
        self,
        label: str,
        defense: Defense,
        space: Callable[[optuna.Trial], Choice],
        trials_of: Callable[[Choice], list[Trial]],
        rule: str,
        delta: float,
        history: Sequence[Record],
        seed: int,
    ) -> None:
        self.label, self._defense, self._space, self._trials_of = label, defense, space, trials_of
        self._rule, self._delta = rule, delta
        self.study = optuna.create_study(
            directions=["minimize"] * len(defense.objectives), sampler=_sampler(defense.sampler, seed)
        )
        self._ready: list[Trial] = []
        self._waiting: dict[str, list[_Asked]] = {}
        self._open = 0
        known = {r.trial.id: r for r in history}
        self._asked = self._recall(known)
        first = trials_of(_default(space))
        self.size = defense.trials * len(first)
        if not self._asked:
            self.study.enqueue_trial(dict(_fixed(space, _default(space)).params))

    def ask(self) -> Trial | None:
        if not self._ready and self._asked < self._defense.trials:
            trial = self.study.ask()
            self._asked += 1
            self._open += 1
            members = self._trials_of(self._space(trial))
            asked = _Asked(trial, len(members))
            for member in members:
                self._waiting.setdefault(member.id, []).append(asked)
            self._ready = list(reversed(members))
        return self._ready.pop() if self._ready else None

    def tell(self, record: Record) -> None:
        asked = self._waiting[record.trial.id].pop()
        asked.records.append(record)
        if len(asked.records) < asked.members:
            return
        self._open -= 1
        state, values, loss = self._outcome(asked.records)
        if state is TrialState.COMPLETE:
            asked.trial.set_constraint("cda_loss", loss - self._delta)
            self.study.tell(asked.trial, values)
        else:
            self.study.tell(asked.trial, state=state)

    @property
    def done(self) -> bool:
        return self._asked >= self._defense.trials and not self._ready and self._open == 0

    def _outcome(self, records: Sequence[Record]) -> tuple[TrialState, list[float], float]:
        if any(r.status == "failed" for r in records):
            return TrialState.FAIL, [], math.nan
        picks = [pick(r, self._rule) for r in records]
        if any(r.status == "pruned" for r in records) or any(p is None for p in picks):
            return TrialState.PRUNED, [], math.nan
        asr = _mean([p.point.asr for p in picks if p])
        loss = _mean([r.curve[0].cda - p.point.cda for r, p in zip(records, picks, strict=True) if p])
        value = {"asr": asr, "cda_loss": loss, "seconds": _mean([r.seconds for r in records])}
        return TrialState.COMPLETE, [value[o] for o in self._defense.objectives], loss

    def _recall(self, known: dict[str, Record]) -> int:
        """Add the stored configurations to the study; a configuration counts when all of its seeds are stored."""
        recalled: set[str] = set()
        for record in known.values():
            assert record.trial.method is not None
            members = self._trials_of(record.trial.method)
            ids = [t.id for t in members]
            if ids[0] in recalled or any(i not in known for i in ids):
                continue
            recalled.add(ids[0])
            fixed = _fixed(self._space, record.trial.method)
            state, values, loss = self._outcome([known[i] for i in ids])
            complete = state is TrialState.COMPLETE
            self.study.add_trial(
                optuna.trial.create_trial(
                    state=state,
                    params=fixed.params,
                    distributions=fixed.distributions,
                    values=values if complete else None,
                    constraints={"cda_loss": loss - self._delta} if complete else None,
                )
            )
        return len(recalled)


class _Asked:
    def __init__(self, trial: optuna.Trial, members: int) -> None:
        self.trial, self.members, self.records = trial, members, list[Record]()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _sampler(name: str, seed: int) -> optuna.samplers.BaseSampler:
    seed = derive(seed, "sampler", name) % 2**32
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=seed)
    if name == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed)
    return optuna.samplers.GPSampler(seed=seed)


class _First:
    """An ``ask`` that takes the first choice of everything: the paper's optimum."""

    def choose(self, name: str, choices: Sequence[object]) -> object:
        return choices[0]


def _default(space: Callable[..., Choice]) -> Choice:
    return space(_First())


def _fixed(space: Callable[..., Choice], choice: Choice) -> optuna.trial.FixedTrial:
    """The parameters and distributions by which the space asks for this choice."""
    fixed = optuna.trial.FixedTrial(dict(choice.params))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a stored value outside a narrowed range is still evidence
        space(fixed)
    return fixed
