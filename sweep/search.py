"""The walk of a search: an Optuna sampler asks, and learns from what came back."""

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from results.selection import pick
from sweep.config import Defense
from sweep.news import Inbox
from sweep.walks import NONE, Group, group_of, load_of
from trials.spec import Choice, Record, Scalar, Trial, derive

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


class SearchWalk:
    """An Optuna sampler asks; each configuration runs once for each base seed and is told as their mean.

    The paper's optimum is asked first. Failures are told as failures, pruned trials as pruned, and the loss of clean
    accuracy beyond delta as a constraint.

    Args:
        label: what is searched, for people.
        defense: the walk's settings.
        space: ``space(ask) -> Choice``, resolved.
        trials_of: the trials (one a base seed) of a configuration.
        rule: selection rule that turns a curve into (asr, cda).
        delta: largest loss of clean accuracy accepted.
        inbox: stored records of this walk, so that a resumed search goes on where it was, and those that other drivers
            add: their configurations are learnt from, and count as asked for. What they have not finished, or since
            the last look at the store, does not, so several drivers may go beyond ``defense.trials`` by that.
        seed: the sampler's.
    """

    def __init__(
        self,
        label: str,
        defense: Defense,
        space: Callable[[Any], Choice],
        trials_of: Callable[[Choice], list[Trial]],
        rule: str,
        delta: float,
        inbox: Inbox,
        seed: int,
    ) -> None:
        self.label, self._defense, self._space, self._trials_of = label, defense, space, trials_of
        self._rule, self._delta = rule, delta
        # a resumed search must not draw again what it drew at first, so its seed depends on how far it is
        sampler = _sampler(defense.sampler, derive(seed, len(inbox.before)))
        self.study = optuna.create_study(directions=["minimize"] * len(defense.objectives), sampler=sampler)
        self._ready: list[tuple[Group, Trial]] = []
        self._waiting: dict[str, list[_Asked]] = {}
        self._open = 0
        self._inbox = inbox
        self._partial: dict[str, Record] = {}  # of others' configurations that lack a seed
        self._others: dict[str, list[Record]] = {}  # first id of a configuration -> its records
        first = _Recalled(space(_First()))
        self._asked = self._recall({r.trial.id: r for r in inbox.before})
        inbox.before = []
        members = trials_of(space(first))
        self._groups = list(dict.fromkeys(map(group_of, members)))  # of every configuration's trials
        self._seeds = len(members)
        self.size, self.known = max(defense.trials, self._asked) * self._seeds, self._asked * self._seeds
        if not self.study.trials:
            self.study.enqueue_trial(first.params)

    def ask(self, near: Group | None = None, busy: Collection[str] = ()) -> Trial | None:
        if not self._ready:
            self._hear()
        while not self._ready and self._asked < self._defense.trials:
            suggested = self.study.ask()
            members = self._trials_of(self._space(suggested))
            if known := self._others.pop(members[0].id, None):  # counted when it was heard of
                self._settle(suggested, known)
                continue
            self._asked += 1
            self._open += 1
            self._inbox.own |= {m.id for m in members}
            asked = _Asked(suggested, len(members))
            for member in members:
                self._waiting.setdefault(member.id, []).append(asked)
            self._ready = [(group_of(m), m) for m in members]
        if not self._ready:
            return None
        loads = [load_of(group, near, busy) for group, _ in self._ready]
        return self._ready.pop(loads.index(min(loads)))[1]

    def loads(self, near: Group | None, busy: Collection[str]) -> int:
        if not self._ready and self._asked >= self._defense.trials:
            return NONE
        groups = [group for group, _ in self._ready] or self._groups
        return min([load_of(group, near, busy) for group in groups])

    def tell(self, record: Record) -> None:
        asked = self._waiting[record.trial.id].pop()
        asked.records.append(record)
        if len(asked.records) < asked.members:
            return
        self._open -= 1
        self._settle(asked.trial, asked.records)

    def _settle(self, trial: optuna.Trial, records: Sequence[Record]) -> None:
        state, values, loss = self._outcome(records)
        if state is TrialState.COMPLETE:
            trial.set_constraint("cda_loss", loss - self._delta)
            self.study.tell(trial, values)
        else:
            self.study.tell(trial, state=state)

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
        """Add the stored configurations to the study; one of which a seed is missing is asked again, before others."""
        seen, count = set[str](), 0
        for record in known.values():
            assert record.trial.method is not None
            members = self._trials_of(record.trial.method)
            ids = [t.id for t in members]
            recalling = _Recalled(record.trial.method)
            if ids[0] in seen or self._space(recalling).identity() != record.trial.method.identity():
                continue  # the second: of another space, so its settings cannot be asked for here
            seen.add(ids[0])
            if any(i not in known for i in ids):
                self.study.enqueue_trial(recalling.params)
                continue
            count += 1
            self._add(recalling, [known[i] for i in ids])
        return count

    def _hear(self) -> None:
        """Take up the configurations that other drivers have finished since."""
        own = self._inbox.own
        fresh = {r.trial.id: r for r in self._inbox.take() if r.trial.id not in own}
        if not fresh:
            return
        self._partial |= fresh
        for record in list(self._partial.values()):
            assert record.trial.method is not None
            ids = [t.id for t in self._trials_of(record.trial.method)]
            recalling = _Recalled(record.trial.method)
            if any(i not in self._partial for i in ids):
                continue
            records = [self._partial.pop(i) for i in ids]
            if own.isdisjoint(ids) and self._space(recalling).identity() == record.trial.method.identity():
                self._add(recalling, records)
                self._others[ids[0]] = records
                self._asked += 1
                self.known += self._seeds

    def _add(self, recalling: "_Recalled", records: Sequence[Record]) -> None:
        state, values, loss = self._outcome(records)
        complete = state is TrialState.COMPLETE
        self.study.add_trial(
            optuna.trial.create_trial(
                state=state,
                params=recalling.params,
                distributions=recalling.distributions,
                values=values if complete else None,
                constraints={"cda_loss": loss - self._delta} if complete else None,
            )
        )


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


class _Recalled:
    """An ``ask`` that answers with the settings of a known choice, and keeps what a study needs to know of them.

    A name of a branch (``lr_adam``) answers with the setting that it begins with (``lr``). What the space asks for but
    the choice does not hold, because a setting is fixed, is answered with the first value; the caller compares.
    """

    def __init__(self, choice: Choice) -> None:
        self._settings = choice.params
        self.params: dict[str, Scalar] = {}
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Scalar]) -> Scalar:
        return self._answer(name, CategoricalDistribution(choices), choices[0])

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Scalar:
        return self._answer(name, FloatDistribution(low, high, log=log, step=step), low)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> Scalar:
        return self._answer(name, IntDistribution(low, high, log=log, step=step), low)

    def _answer(self, name: str, distribution: BaseDistribution, other: Scalar) -> Scalar:
        keys = [k for k in self._settings if name == k or name.startswith(f"{k}_")]
        value = self._settings[max(keys, key=len)] if keys else other
        try:
            fits = distribution._contains(distribution.to_internal_repr(value))
        except (TypeError, ValueError):
            fits = False
        self.params[name], self.distributions[name] = value if fits else other, distribution
        return self.params[name]
