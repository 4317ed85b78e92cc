"""The strategy of a search: an Optuna sampler asks, and learns from what came back."""

import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import optuna
from optuna.trial import TrialState

from results.selection.winners import pick
from sweep.planning.known_points import First, Recalled
from sweep.planning.samplers import drawn
from sweep.planning.search_feed import FeedReader
from sweep.planning.strategy import NONE, Group, Ready, group_of, load_of, taken
from sweep.spec.sweep_file import Defense
from trials.spec import MethodConfig, Record, Scalar, Trial


class SearchStrategy:
    """An Optuna sampler asks; each configuration runs once for each base seed and is told as their
    mean.

    The paper's optimum is asked first. Failures are told as failures, pruned trials as pruned, and
    the loss of clean accuracy beyond delta as a constraint.

    A resumed search asks again what it had asked, and takes the stored records for an answer. Each
    ask depends on its number and what was told before it alone, so where one was told before the
    next was asked (one worker) the search goes on as if it had never been stopped. Where it asks
    for something else than before, it is told of all the rest at once, and goes on from there.

    Args:
        label: what is searched, for people.
        defense: the strategy's settings.
        space: ``space(ask) -> MethodConfig``, resolved.
        trials_of: the trials (one a base seed) of a configuration.
        rule: selection rule that turns a curve into (asr, cda).
        delta: largest loss of clean accuracy accepted.
        reader: stored records of this strategy, and those that other drivers add: their
            configurations are learnt from, and count as asked for. What they have not finished, or
            since the last look at the store, does not, so several drivers may go beyond
            ``defense.trials`` by that.
        seed: the sampler's.
    """

    def __init__(
        self,
        label: str,
        defense: Defense,
        space: Callable[[Any], MethodConfig],
        trials_of: Callable[[MethodConfig], list[Trial]],
        rule: str,
        delta: float,
        reader: FeedReader,
        seed: int,
    ) -> None:
        self.label, self._defense, self._space, self._trials_of = label, defense, space, trials_of
        self._rule, self._delta, self._seed = rule, delta, seed
        self.study = optuna.create_study(directions=["minimize"] * len(defense.objectives))
        self._ready: Ready = []
        self._waiting: dict[str, list[_Asked]] = {}
        self._asked = self._open = 0
        self._feed_reader = reader
        self._others: dict[str, list[Record]] = {}  # first id of a configuration -> its records
        first = Recalled(space(First()))
        # what is asked before the sampler draws
        self._first: deque[dict[str, Scalar]] = deque([first.params])
        members = trials_of(space(first))
        # the same for every configuration's trials
        self._groups = list(dict.fromkeys(map(group_of, members)))
        self._seeds = len(members)
        self._drawn: set[str] = set()  # first ids of the configurations that were asked for
        self._past = self._recalled(reader.before)
        torn = [p.records for p in self._past.values() if not p.whole]
        # records of configurations that lack a seed
        self._partial = {r.trial.id: r for r in chain.from_iterable(torn)}
        reader.before = []
        # configurations of the past that lack nothing
        self._stored = sum(p.whole for p in self._past.values())
        self.size = max(defense.trials, self._stored) * self._seeds
        self.known = self._stored * self._seeds

    def ask(self, near: Group | None = None, busy: Collection[str] = ()) -> Trial | None:
        if not self._ready:
            self._hear()
        while not self._ready and self._left > 0:
            self._draw()
        return taken(self._ready, near, busy)

    def loads(self, near: Group | None, busy: Collection[str]) -> int:
        if not self._ready and self._left <= 0:
            return NONE
        groups = [group for group, _ in self._ready] or self._groups
        return min([load_of(group, near, busy) for group in groups])

    def tell(self, record: Record) -> None:
        asked = self._waiting[record.trial.id].pop()
        asked.records[record.trial.id] = record
        if len(asked.records) < len(asked.members):
            return
        self._open -= 1
        self._settle(asked.trial, [asked.records[i] for i in asked.members])

    @property
    def done(self) -> bool:
        return self._left <= 0 and not self._ready and self._open == 0

    @property
    def _left(self) -> int:
        """How many configurations may be asked for besides the stored ones."""
        return self._defense.trials - self._asked - self._stored

    def _draw(self) -> None:
        """Ask the study for a configuration; its trials are ready unless its records are there."""
        params = self._first.popleft() if self._first else None
        suggested, config = drawn(
            self.study, self._defense.sampler, self._seed, self._space, params
        )
        members = self._trials_of(config)
        first = members[0].id
        if heard := self._others.pop(first, None):  # counted when it was heard of
            self._settle(suggested, heard)
            return
        past = self._past.pop(first, None)
        if past is None and self._past and first not in self._drawn and not self._part_ways():
            self.study.tell(suggested, state=TrialState.FAIL)
            return
        self._asked += 1
        self._drawn.add(first)
        if past is not None and past.whole:
            self._stored -= 1
            self._settle(suggested, past.records)
            return
        self._open += 1
        self._feed_reader.own |= {m.id for m in members}
        asked = _Asked(suggested, [m.id for m in members])
        for member in members:
            self._waiting.setdefault(member.id, []).append(asked)
        self._ready = [(group_of(m), m) for m in members]

    def _part_ways(self) -> bool:
        """Take up all of the past at once, and ask for what lacks a seed before all else; False if
        that is all.
        """
        past, self._past, self._stored = list(self._past.values()), {}, 0
        for p in past:
            if p.whole:
                self._take_up(p)
        torn = [p.params for p in past if not p.whole]
        self._first.extend(torn)
        return self._left > len(torn)

    def _settle(self, trial: optuna.Trial, records: Sequence[Record]) -> None:
        state, values, loss = self._outcome(records)
        if state is TrialState.COMPLETE:
            trial.set_constraint("cda_loss", loss - self._delta)
            self.study.tell(trial, values)
        else:
            self.study.tell(trial, state=state)

    def _outcome(self, records: Sequence[Record]) -> tuple[TrialState, list[float], float]:
        if any(r.status == "failed" for r in records):
            return TrialState.FAIL, [], math.nan
        picks = [pick(r, self._rule) for r in records]
        if any(r.status == "pruned" for r in records) or any(p is None for p in picks):
            return TrialState.PRUNED, [], math.nan
        asr = _mean([p.point.asr for p in picks if p])
        loss = _mean(
            [r.curve[0].cda - p.point.cda for r, p in zip(records, picks, strict=True) if p]
        )
        value = {"asr": asr, "cda_loss": loss, "seconds": _mean([r.seconds for r in records])}
        return TrialState.COMPLETE, [value[o] for o in self._defense.objectives], loss

    def _recalled(self, records: Sequence[Record]) -> dict[str, "_Past"]:
        """The stored configurations of this space, by their first id."""
        known, found = {r.trial.id: r for r in records}, dict[str, _Past]()
        for record in records:
            assert record.trial.method is not None
            ids = [t.id for t in self._trials_of(record.trial.method)]
            if ids[0] not in found and (params := self._params(record.trial.method)) is not None:
                found[ids[0]] = _Past(
                    params, [known[i] for i in ids if i in known], all(i in known for i in ids)
                )
        return found

    def _params(self, config: MethodConfig) -> dict[str, Scalar] | None:
        """The study's parameters of a configuration; None for one of another space, which cannot be
        asked for here.
        """
        recalling = Recalled(config)
        return recalling.params if self._space(recalling).identity() == config.identity() else None

    def _hear(self) -> None:
        """Take up the configurations that other drivers have finished since."""
        own = self._feed_reader.own
        fresh = {r.trial.id: r for r in self._feed_reader.take() if r.trial.id not in own}
        if not fresh:
            return
        self._partial |= fresh
        for record in list(self._partial.values()):
            assert record.trial.method is not None
            ids = [t.id for t in self._trials_of(record.trial.method)]
            if any(i not in self._partial for i in ids):
                continue
            records, params = [self._partial.pop(i) for i in ids], self._params(record.trial.method)
            if own.isdisjoint(ids) and params is not None:
                self._past.pop(ids[0], None)
                self._take_up(_Past(params, records, True))
                self._others[ids[0]] = records
                self.known += self._seeds

    def _take_up(self, past: "_Past") -> None:
        """Tell the study of a configuration that it has not asked for by itself; it counts as asked
        for.
        """
        trial, _ = drawn(self.study, self._defense.sampler, self._seed, self._space, past.params)
        self._settle(trial, past.records)
        self._asked += 1


@dataclass(frozen=True, slots=True)
class _Past:
    """A stored configuration: a study's parameters of it, its records, and whether they are all."""

    params: dict[str, Scalar]
    records: list[Record]
    whole: bool


@dataclass(frozen=True, slots=True)
class _Asked:
    """A configuration that was asked for: its trials' ids, and the records that have come."""

    trial: optuna.Trial
    members: list[str]
    records: dict[str, Record] = field(default_factory=dict)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
