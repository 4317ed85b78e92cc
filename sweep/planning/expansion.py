"""From a sweep to trials, in stages: victims, self-poisoned copies, configurations, and then the
winners once more.

Nothing runs here. The first three stages of a grid are known at once, so the trials can be counted,
and their cost estimated, before anything is spent; a search's configurations and the winners are
found while the sweep runs.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from search_spaces._strategies import grid, one_at_a_time, thin
from sweep.spec.sweep_file import Defense, Sweep
from trials import catalog
from trials.spec import MethodConfig, Record, SpecError, Trial, Victim

MOST_TRIALS = 1_000_000


class TuningTask(NamedTuple):
    """One question: this model, this many trusted images, copies poisoned in this way (None where
    none are).
    """

    victim: Victim
    trusted: float
    self_poisoning: MethodConfig | None


def bounded(sweep: Sweep) -> None:
    """Raises SpecError for more trials than can be planned; counts them without making them."""
    copies = int(catalog.resolve("games", MethodConfig("tuning", sweep.tuning)).params["copies"])
    each = sum(len(configurations(sweep, d)) or d.trials for d in sweep.defenses)
    questions = (
        len(sweep.victims) * len(sweep.trusted) * len(sweep.self_poisoning) * len(sweep.seeds)
    )
    number = len(sweep.victims) + questions * (each + copies * (sweep.game == "tuning"))
    filtered = questions * sum(f.limit * len(f.reject) for f in sweep.filters)
    number += filtered * (2 + each)
    searched = sum(r.trials for r in sweep.recipes if r.strategy == "search")
    searched += sum(f.trials for f in sweep.filters if f.strategy == "search")
    number += 4 * questions * searched
    if number > MOST_TRIALS and sweep.game != "training":
        raise SpecError(
            f"the sweep asks for {number} trials; at most {MOST_TRIALS} are taken. Shorten its "
            "lists, set limit, or ask for fewer trials of a search."
        )


def tasks(sweep: Sweep) -> list[TuningTask]:
    """What defenses are tuned on: each victim, or of like victims the first clean one."""
    found = sweep.victims
    if sweep.game == "tuning" and sweep.tune_on == "clean":
        clean: dict[str, Victim] = {}
        for v in found:
            if not v.attacks:
                clean.setdefault(v.kin, v)
        found = tuple(clean.values())
    poisonings: list[MethodConfig | None] = [None]
    if sweep.game == "tuning":
        poisonings = [
            catalog.resolve("games", MethodConfig("self_poison", p)) for p in sweep.self_poisoning
        ]
    axes = itertools.product(enumerate(found), enumerate(sweep.trusted), enumerate(poisonings))
    return [
        TuningTask(v, r, p)
        for (h, v), (i, r), (j, p) in axes
        if not sweep.one_at_a_time or (h > 0) + (i > 0) + (j > 0) <= 1
    ]


def meets(sweep: Sweep, tuned: Victim) -> list[Victim]:
    """The victims that a setting is applied to: the one that it was tuned on, or all that are like
    it.
    """
    return [tuned] if sweep.tune_on == "each" else [v for v in sweep.victims if v.kin == tuned.kin]


def never_attacked(sweep: Sweep, victim: Victim) -> Victim | None:
    """The clean victim that is like the given one, with its seed where there is one; None where the
    sweep has no such victim.
    """
    clean = (v for v in sweep.victims if not v.attacks and v.kin == victim.kin)
    return min(clean, key=lambda v: v.seed != victim.seed, default=None)


def victims(sweep: Sweep) -> list[Trial]:
    """The trials that train the victims."""
    resolve = catalog.resolve_trial
    return distinct(
        resolve(
            Trial(game=MethodConfig("training"), victim=v, method=None, trusted=0.0, seed=v.seed)
        )
        for v in sweep.victims
    )


def copies(sweep: Sweep) -> list[Trial]:
    """The trials that make the self-poisoned copies."""
    tuning = catalog.resolve("games", MethodConfig("tuning", sweep.tuning))
    found = []
    for victim, r, self_poisoning in tasks(sweep):
        for seed in sweep.seeds if self_poisoning else ():
            for i in range(int(tuning.params["copies"])):
                assert self_poisoning is not None
                game = replace(self_poisoning, params={**self_poisoning.params, "copy": i})
                found.append(Trial(game=game, victim=victim, method=None, trusted=r, seed=seed))
    return distinct(found)


def configurations(sweep: Sweep, defense: Defense) -> list[MethodConfig]:
    """The points of a strategy grid or one_at_a_time, resolved, the paper's optimum first; none of
    a search, whose points are not known beforehand.
    """
    space = space_of(defense)
    if defense.strategy == "search":
        return []
    points = (
        one_at_a_time(space, defense.profile)
        if defense.strategy == "one_at_a_time"
        else grid(space, defense.profile)
    )
    if defense.strategy == "grid" and defense.limit:
        points = thin(points, defense.limit, 0)
    return distinct_configs(settled(defense, p) for p in points)


def trials_of(sweep: Sweep, task: TuningTask, config: MethodConfig) -> list[Trial]:
    """A configuration's trials, one for each base seed."""
    if sweep.game == "robustness":
        return real(sweep, task.victim, task.trusted, config, 0)
    game = catalog.resolve("games", MethodConfig("tuning", sweep.tuning))
    return [
        Trial(
            game=game,
            victim=task.victim,
            method=config,
            trusted=task.trusted,
            seed=s,
            self_poisoning=task.self_poisoning,
        )
        for s in sweep.seeds
    ]


def own(sweep: Sweep, records: Sequence[Record]) -> list[Record]:
    """Configurations' records of the sweep as it stands; one that was edited has older ones under
    its name too.
    """
    here = {(c.victim.id, c.trusted, key_of(c.self_poisoning)): c for c in tasks(sweep)}
    names = {d.name for d in sweep.defenses}
    found = []
    for record in records:
        trial = record.trial
        task = here.get((trial.victim.id, trial.trusted, key_of(trial.self_poisoning)))
        if task and trial.method and trial.method.name in names:
            found += (
                [record] if trial.id in {t.id for t in trials_of(sweep, task, trial.method)} else []
            )
    return found


def real(
    sweep: Sweep, victim: Victim, trusted: float, config: MethodConfig, stop_at: int
) -> list[Trial]:
    """A setting on the real attack, one trial a base seed; frozen at a step, or (0) its whole
    curve.
    """
    params = {"delta": sweep.delta, **every(sweep), "stop_at": stop_at, "asr_of": sweep.asr_of}
    game = catalog.resolve("games", MethodConfig("robustness", params))
    return [
        Trial(game=game, victim=victim, method=config, trusted=trusted, seed=s) for s in sweep.seeds
    ]


def space_of(defense: Defense) -> Callable[..., MethodConfig]:
    return catalog.find("spaces", defense.name)


def settled(defense: Defense, config: MethodConfig) -> MethodConfig:
    return catalog.resolve(
        "defenses", MethodConfig(config.name, {**config.params, **defense.fixed})
    )


def key_of(config: MethodConfig | None) -> str:
    return str(config.identity()) if config else ""


def every(sweep: Sweep) -> dict[str, Any]:
    params = catalog.resolve("games", MethodConfig("tuning", sweep.tuning)).params
    return {"record_every": params["record_every"]}


def distinct(trials: Iterable[Trial]) -> list[Trial]:
    return list({t.id: t for t in trials}.values())


def distinct_configs(configs: Iterable[MethodConfig]) -> list[MethodConfig]:
    return list({key_of(c): c for c in configs}.values())
