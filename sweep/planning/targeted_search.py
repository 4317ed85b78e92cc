"""The search of a recipe's or a filter's settings: an Optuna sampler asks for trainings of all
victims, and learns what the defenders' own poison made of them, or the attacker's.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Protocol

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from sweep.planning.known_points import First, Recalled
from sweep.planning.samplers import drawn
from sweep.planning.strategy import NONE, VICTIM, Group, Ready, group_of, load_of, taken
from trials.spec import MethodConfig, Record, Trial

DIRECTIONS = (StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE)  # misled, clean accuracy


class Table(Protocol):
    """A table that is searched."""

    @property
    def trials(self) -> int: ...
    @property
    def sampler(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Objectives:
    """What a search is told of a configuration.

    Attributes:
        game: whose records it is told, each a victim's.
        values: how far they were misled, to be low, and their clean accuracy, to be high.
    """

    game: str
    values: Callable[[Sequence[Record]], list[float]]


def _judged(records: Sequence[Record]) -> list[float]:
    return [_mean(records, "wanted"), _mean(records, "cda")]


def _own(records: Sequence[Record]) -> list[float]:
    """Success, and below its smallest step the probability, as defenders choose by."""
    pairs = sum(r.metrics["n_targeted"] for r in records)
    misled = _mean(records, "success") + _mean(records, "wanted") / pairs
    return [misled, _mean(records, "cda_control")]


# The attacker's poison: of few keys and victims success takes few values, so the probability alone.
JUDGES = Objectives("targeted", _judged)
# The defenders': success of their pairs, accuracy on images that they held back.
DEFENDERS = Objectives("self_brew", _own)


class TargetedSearch:
    """An Optuna sampler asks for one configuration after another: the first point of the space
    first. Each trains every victim, and is told as the mean over them of two objectives: how far
    models are misled, to be low, and the clean accuracy, to be high.

    One configuration is asked for at a time, and its trials run at once, so what a sampler draws
    depends on its seed and the study's history alone, however many workers there are: a search that
    was stopped, or that several drivers share, asks again for the same. A configuration is told as
    failed where a trial that the objectives are read from failed, or one that it builds on.

    Args:
        label: what is searched, for people.
        table: how the space is gone through.
        space: ``space(ask) -> MethodConfig``, resolved.
        stages_of: the trials of a configuration, each stage of them to run after the one before.
        objectives: what is told.
        seed: the sampler's.
    """

    known = 0

    def __init__(
        self,
        label: str,
        table: Table,
        space: Callable[[Any], MethodConfig],
        stages_of: Callable[[MethodConfig], list[list[Trial]]],
        objectives: Objectives,
        seed: int,
    ) -> None:
        self.label, self._table, self._seed = label, table, seed
        self._space, self._stages_of, self._objectives = space, stages_of, objectives
        self.study = optuna.create_study(directions=DIRECTIONS)
        first = Recalled(space(First()))
        members = stages_of(space(first))
        self._first = first.params
        self.size = table.trials * sum(map(len, members))
        self._asked: optuna.Trial | None = None
        self._ready: Ready = []
        self._open = set[str]()  # ids of trials that are ready or run
        self._after: list[list[Trial]] = []  # the stages to come of the configuration
        self._records: list[Record] = []  # of the configuration that was asked for last

    def ask(self, near: Group | None = None, busy: Collection[str] = ()) -> Trial | None:
        if not self._open and self._left:
            self._draw()
        return taken(self._ready, near, busy)

    def loads(self, near: Group | None, busy: Collection[str]) -> int:
        if self._ready:
            return min(load_of(group, near, busy) for group, _ in self._ready)
        return VICTIM if self._left and not self._open else NONE

    def tell(self, record: Record) -> None:
        self._open.remove(record.trial.id)
        self._records.append(record)
        if self._open:
            return
        if self._after:
            self._hand_out(self._after.pop(0))
        else:
            self._settle()

    @property
    def done(self) -> bool:
        return not self._left and not self._open

    @property
    def _left(self) -> int:
        """How many configurations may still be asked for."""
        return self._table.trials - len(self.study.get_trials(deepcopy=False))

    def _draw(self) -> None:
        """Ask the study for a configuration; its first stage is ready."""
        first = not self.study.get_trials(deepcopy=False)
        params = self._first if first else None
        sampler = self._table.sampler
        self._asked, config = drawn(self.study, sampler, self._seed, self._space, params)
        now, *self._after = self._stages_of(config)
        self._records = []
        self._hand_out(now)

    def _hand_out(self, trials: Iterable[Trial]) -> None:
        self._ready = [(group_of(t), t) for t in trials]
        self._open = {t.id for _, t in self._ready}

    def _settle(self) -> None:
        """Tell the study what came of the configuration. A failure of what its objectives do not
        build on is not told: defenders must not learn how the attacker's victims are measured.
        """
        assert self._asked is not None
        told = [r for r in self._records if r.trial.game.name == self._objectives.game]
        if any(r.status != "done" for r in told):
            self.study.tell(self._asked, state=TrialState.FAIL)
            return
        self.study.tell(self._asked, self._objectives.values(told))


def _mean(records: Iterable[Record], name: str) -> float:
    return fmean(r.metrics[name] for r in records)
