"""From a sweep to trials, in waves: victims, self-poisoned copies, configurations, and then the winners once more.

Nothing runs here. The first three waves of a grid are known at once, so a sweep can be counted and priced before
anything is spent; a search's configurations and the winners are found while it runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from search_spaces._walks import grid, star, thin
from sweep.spec.sweep import Defense, Sweep
from trials import catalog
from trials.spec import Choice, Record, SpecError, Trial, Victim, content_id

MOST_TRIALS = 1_000_000


class Cell(NamedTuple):
    """One question: this model, this many trusted images, copies poisoned in this way (None where none are)."""

    victim: Victim
    trusted: float
    plant: Choice | None


def bounded(sweep: Sweep) -> None:
    """Raises SpecError for more trials than can be planned; counts them without making them."""
    copies = int(catalog.resolve("games", Choice("tuning", sweep.tuning)).params["copies"])
    each = sum(len(configurations(sweep, d)) or d.trials for d in sweep.defenses)
    questions = len(sweep.victims) * len(sweep.trusted) * len(sweep.planting) * len(sweep.seeds)
    number = len(sweep.victims) + questions * (each + copies * (sweep.game == "tuning"))
    if number > MOST_TRIALS and sweep.game != "training":
        raise SpecError(
            f"the sweep asks for {number} trials; at most {MOST_TRIALS} are taken. Shorten its lists, or set limit."
        )


def cells(sweep: Sweep) -> list[Cell]:
    """What defenses are tuned on: each victim, or of like victims the first clean one."""
    found = sweep.victims
    if sweep.game == "tuning" and sweep.tune_on == "clean":
        clean: dict[str, Victim] = {}
        for v in found:
            if not v.attacks:
                clean.setdefault(kin(v), v)
        found = tuple(clean.values())
    plants: list[Choice | None] = [None]
    if sweep.game == "tuning":
        plants = [catalog.resolve("games", Choice("self_poison", p)) for p in sweep.planting]
    first = found[0] if found else None
    return [
        Cell(v, r, p)
        for v in found
        for i, r in enumerate(sweep.trusted)
        for j, p in enumerate(plants)
        if not sweep.star or (v is not first) + (i > 0) + (j > 0) <= 1
    ]


def meets(sweep: Sweep, tuned: Victim) -> list[Victim]:
    """The victims that a setting is applied to: the one that it was tuned on, or all that are like it."""
    return [tuned] if sweep.tune_on == "each" else [v for v in sweep.victims if kin(v) == kin(tuned)]


def kin(victim: Victim) -> str:
    """Equal for victims that differ in attack and seed only."""
    return content_id(replace(victim, attacks=(), seed=0).identity())


def victims(sweep: Sweep) -> list[Trial]:
    """The trials that train the victims."""
    resolve = catalog.resolve_trial
    return distinct(
        resolve(Trial(game=Choice("training"), victim=v, method=None, trusted=0.0, seed=v.seed)) for v in sweep.victims
    )


def copies(sweep: Sweep) -> list[Trial]:
    """The trials that make the self-poisoned copies."""
    tuning = catalog.resolve("games", Choice("tuning", sweep.tuning))
    found = []
    for victim, r, plant in cells(sweep):
        for seed in sweep.seeds if plant else ():
            for i in range(int(tuning.params["copies"])):
                assert plant is not None
                game = replace(plant, params={**plant.params, "copy": i})
                found.append(Trial(game=game, victim=victim, method=None, trusted=r, seed=seed))
    return distinct(found)


def configurations(sweep: Sweep, defense: Defense) -> list[Choice]:
    """The points of a grid or star walk, resolved, the paper's optimum first; none of a search are known beforehand."""
    space = space_of(defense)
    if defense.walk == "search":
        return []
    points = star(space, defense.profile) if defense.walk == "star" else grid(space, defense.profile)
    if defense.walk == "grid" and defense.limit:
        points = thin(points, defense.limit, 0)
    return list({str(c.identity()): c for c in (settled(defense, p) for p in points)}.values())


def trials_of(sweep: Sweep, cell: Cell, choice: Choice) -> list[Trial]:
    """A configuration's trials, one for each base seed."""
    if sweep.game == "robustness":
        return real(sweep, cell.victim, cell.trusted, choice, 0)
    game = catalog.resolve("games", Choice("tuning", sweep.tuning))
    return [
        Trial(game=game, victim=cell.victim, method=choice, trusted=cell.trusted, seed=s, plant=cell.plant)
        for s in sweep.seeds
    ]


def own(sweep: Sweep, records: Sequence[Record]) -> list[Record]:
    """Configurations' records of the sweep as it stands; one that was edited has older ones under its name too."""
    here = {(c.victim.id, c.trusted, key_of(c.plant)): c for c in cells(sweep)}
    names = {d.name for d in sweep.defenses}
    found = []
    for record in records:
        trial = record.trial
        cell = here.get((trial.victim.id, trial.trusted, key_of(trial.plant)))
        if cell and trial.method and trial.method.name in names:
            found += [record] if trial.id in {t.id for t in trials_of(sweep, cell, trial.method)} else []
    return found


def real(sweep: Sweep, victim: Victim, trusted: float, choice: Choice, stop_at: int) -> list[Trial]:
    """A setting on the real attack, one trial a base seed; frozen at a step, or (0) its whole curve."""
    params = {"delta": sweep.delta, **every(sweep), "stop_at": stop_at}
    game = catalog.resolve("games", Choice("robustness", params))
    return [Trial(game=game, victim=victim, method=choice, trusted=trusted, seed=s) for s in sweep.seeds]


def space_of(defense: Defense) -> Callable[..., Choice]:
    return catalog.find("spaces", defense.name)


def settled(defense: Defense, choice: Choice) -> Choice:
    return catalog.resolve("defenses", Choice(choice.name, {**choice.params, **defense.fixed}))


def key_of(choice: Choice | None) -> str:
    return str(choice.identity()) if choice else ""


def every(sweep: Sweep) -> dict[str, Any]:
    params = catalog.resolve("games", Choice("tuning", sweep.tuning)).params
    return {"record_every": params["record_every"]}


def distinct(trials: Any) -> list[Trial]:
    return list({t.id: t for t in trials}.values())
