"""The search of a recipe's settings: an Optuna sampler asks for trainings of all victims, and
learns what the attacks made of them.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from sweep.planning.known_points import First, Recalled
from sweep.planning.samplers import drawn
from sweep.planning.strategy import NONE, VICTIM, Group, Ready, group_of, load_of, taken
from sweep.spec.recipes import Recipe
from trials.spec import MethodConfig, Record, Trial

OBJECTIVES = {  # metrics of the game `targeted`
    "wanted": StudyDirection.MINIMIZE,
    "cda": StudyDirection.MAXIMIZE,
}


@dataclass(frozen=True, slots=True)
class Trained:
    """The trials of one configuration: those that train the victims and their controls, and those
    that measure what came of it.
    """

    trainings: list[Trial]
    measured: list[Trial]


class RecipeSearch:
    """An Optuna sampler asks for one configuration after another: the recipe's defaults first. Each
    trains every victim, and is told as the mean over them of two objectives: the probability of the
    class wanted, to be low, and the clean accuracy, to be high.

    Success itself is no objective: of few keys and victims it takes few values, so most settings
    would be alike. The probability moves before the class does.

    One configuration is asked for at a time, and its trials run at once, so what a sampler draws
    depends on its seed and the study's history alone, however many workers there are: a search that
    was stopped, or that several drivers share, asks again for the same. A configuration of which
    any trial failed is told as failed.

    Args:
        label: what is searched, for people.
        recipe: how the space is gone through.
        space: ``space(ask) -> MethodConfig``, resolved.
        trials_of: the trials of a configuration.
        seed: the sampler's.
    """

    known = 0

    def __init__(
        self,
        label: str,
        recipe: Recipe,
        space: Callable[[Any], MethodConfig],
        trials_of: Callable[[MethodConfig], Trained],
        seed: int,
    ) -> None:
        self.label, self._recipe, self._seed = label, recipe, seed
        self._space, self._trials_of = space, trials_of
        self.study = optuna.create_study(directions=list(OBJECTIVES.values()))
        first = Recalled(space(First()))
        one = trials_of(space(first))
        self._first = first.params
        self.size = recipe.trials * (len(one.trainings) + len(one.measured))
        self._asked: optuna.Trial | None = None
        self._ready: Ready = []
        self._open = set[str]()  # ids of trials that are ready or run
        self._after: list[Trial] = []  # what measures, once the victims are trained
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
        after, self._after = self._after, []
        if after:
            self._hand_out(after)
        else:
            self._settle()

    @property
    def done(self) -> bool:
        return not self._left and not self._open

    @property
    def _left(self) -> int:
        """How many configurations may still be asked for."""
        return self._recipe.trials - len(self.study.get_trials(deepcopy=False))

    def _draw(self) -> None:
        """Ask the study for a configuration; what trains its victims is ready."""
        first = not self.study.get_trials(deepcopy=False)
        params = self._first if first else None
        sampler = self._recipe.sampler
        self._asked, config = drawn(self.study, sampler, self._seed, self._space, params)
        found = self._trials_of(config)
        self._records, self._after = [], found.measured
        self._hand_out(found.trainings)

    def _hand_out(self, trials: Iterable[Trial]) -> None:
        self._ready = [(group_of(t), t) for t in trials]
        self._open = {t.id for _, t in self._ready}

    def _settle(self) -> None:
        """Tell the study what came of the configuration."""
        assert self._asked is not None
        if any(r.status != "done" for r in self._records):
            self.study.tell(self._asked, state=TrialState.FAIL)
            return
        told = [r.metrics for r in self._records if r.trial.game.name == "targeted"]
        self.study.tell(self._asked, [_mean(told, name) for name in OBJECTIVES])


def _mean(told: Iterable[Mapping[str, float]], name: str) -> float:
    return fmean(metrics[name] for metrics in told)
