"""Which trials build on which: every game on a victim needs it trained, tuning needs the
self-poisoned copies, and a victim whose training set was filtered needs the filter's trial.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from trials import catalog
from trials.spec import MethodConfig, Trial, Victim


def training_of(victim: Victim) -> Trial:
    """The trial that trains a victim; every game on the victim needs it."""
    trial = Trial(
        game=MethodConfig("training"), victim=victim, method=None, trusted=0.0, seed=victim.seed
    )
    return catalog.resolve_trial(trial)


def filtering_of(victim: Victim) -> Trial:
    """The trial that scores the training set of a filtered victim and removes rows of it."""
    if victim.filter is None:
        raise ValueError("the victim's training set went through no filter")
    trial = Trial(
        game=MethodConfig("filtering", victim.filter.threshold).as_stored,
        victim=victim,
        method=None,
        trusted=victim.filter.trusted,
        seed=victim.filter.seed,
    )
    return catalog.resolve_trial(trial)


def control_of(victim: Victim) -> Victim:
    """The same victim, never attacked and trained on all rows, to hold its attacks against."""
    return replace(victim, attacks=(), filter=None)


def targeted_of(victim: Victim) -> Trial:
    """The trial that says whether a victim's attacks without a trigger succeeded."""
    trial = Trial(
        game=MethodConfig("targeted"), victim=victim, method=None, trusted=0.0, seed=victim.seed
    )
    return catalog.resolve_trial(trial)


def self_brew_of(victim: Victim, game: MethodConfig, trusted: float, seed: int) -> Trial:
    """The trial in which a defender brews against the victim's recipe and filter."""
    trial = Trial(game=game, victim=victim, method=None, trusted=trusted, seed=seed)
    return catalog.resolve_trial(trial)


def own_rows_of(victim: Victim) -> Trial:
    """The trial that trains a filtered victim's model on the set with the defender's own poison."""
    if victim.filter is None or victim.filter.self_poisoning is None:
        raise ValueError("the defender puts no poison into the victim's training set")
    trial = Trial(
        game=victim.filter.self_poisoning.as_stored,
        victim=unfiltered(victim),
        method=None,
        trusted=victim.filter.trusted,
        seed=victim.filter.seed,
    )
    return catalog.resolve_trial(trial)


def unfiltered(victim: Victim) -> Victim:
    """The same victim, trained on all rows."""
    return replace(victim, filter=None) if victim.filter else victim


def copy_of(trial: Trial, copy: int) -> Trial:
    """The trial that makes self-poisoned copy ``copy`` for a tuning or confirmation trial."""
    if trial.self_poisoning is None:
        raise ValueError(
            f"a trial of the game {trial.game.name} has no self-poisoning, so it has no copies"
        )
    stored = trial.self_poisoning.as_stored
    game = replace(stored, params={**stored.params, "copy": copy})
    return catalog.resolve_trial(
        replace(trial, game=game, method=None, self_poisoning=None, detector=None)
    )


@dataclass(frozen=True, slots=True)
class Graph:
    """Trials and what each builds on, without circles; iterated, each comes after what it needs.

    Attributes:
        trials: by id.
        needs: for each id, those of the trials whose artifacts it reads.
    """

    trials: Mapping[str, Trial]
    needs: Mapping[str, tuple[str, ...]]

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials.values())

    def __len__(self) -> int:
        return len(self.trials)

    def levels(self) -> list[list[Trial]]:
        """The topological levels: a trial needs only trials of the levels before its own.

        The trials of a level can run in any order, or at once.
        """
        level: dict[str, int] = {}
        for key in self.trials:
            level[key] = 1 + max((level[need] for need in self.needs[key]), default=-1)
        found: list[list[Trial]] = [[] for _ in range(1 + max(level.values(), default=-1))]
        for key, trial in self.trials.items():
            found[level[key]].append(trial)
        return found


def graph(trials: Iterable[Trial]) -> Graph:
    """The trials and all that they build on."""
    known: dict[str, Trial] = {}
    needs: dict[str, tuple[str, ...]] = {}
    trained: dict[str, Trial] = {}

    def add(trial: Trial) -> None:
        if trial.id in known:
            return
        direct = _direct(trial, trained)
        for need in direct:
            add(need)
        known[trial.id], needs[trial.id] = trial, tuple(need.id for need in direct)

    for trial in trials:
        add(trial)
    return Graph(known, needs)


def dependencies(trial: Trial) -> Graph:
    """The trials that this one builds on, directly or through others; not itself."""
    return graph(_direct(trial, {}))


def _direct(trial: Trial, trained: dict[str, Trial]) -> list[Trial]:
    """The trials whose artifacts this one reads; ``trained`` keeps those of victims met before."""
    if trial.game.name == "training":
        return [filtering_of(trial.victim)] if trial.victim.filter else []
    if trial.game.name == "self_poison_data":
        return []
    if trial.game.name == "own_repair":
        return [filtering_of(trial.victim)]  # which builds on the models that it looks at
    filtering = trial.victim.filter if trial.game.name == "filtering" else None
    victim = unfiltered(trial.victim) if filtering else trial.victim
    key = victim.id
    if key not in trained:
        trained[key] = training_of(victim)
    own = [own_rows_of(trial.victim)] if filtering and filtering.self_poisoning else []
    copies = int(trial.game.params["copies"]) if trial.self_poisoning else 0
    if trial.game.name == "self_brew" and victim.filter:
        own = [replace(trial, victim=unfiltered(victim))]  # the model that the filter looks into
    if trial.game.name == "targeted":
        return [trained[key], training_of(control_of(victim))]
    return [trained[key], *own, *(copy_of(trial, i) for i in range(copies))]
