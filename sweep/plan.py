"""From a sweep to trials, in waves: victims, self-poisoned copies, configurations, and then the winners once more.

Nothing runs here. The first three waves of a grid are known at once, so a sweep can be counted and priced before
anything is spent; a search's configurations and the winners are found while it runs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from results.selection import Winner, overall, winners
from results.store import Store
from search_spaces._walks import grid, star, thin
from sweep.config import Defense, Sweep
from sweep.walks import ListWalk, Walk
from trials import catalog
from trials.spec import Choice, Record, Trial, Victim, derive

Cell = tuple[Victim, float]  # one question: this model, this many trusted images


def waves(sweep: Sweep, store: Store) -> Iterator[list[Walk]]:
    """The walks of each wave; a wave is drawn when the one before it is done, so that it can read its results."""
    yield [ListWalk("victims", victims(sweep))]
    if sweep.game == "tuning":
        yield [ListWalk("self-poisoned copies", copies(sweep))]
    yield [_walk(sweep, defense, cell, store) for cell in cells(sweep) for defense in sweep.defenses]
    if sweep.game == "tuning" and (sweep.confirm or sweep.judge):
        yield [ListWalk("the winners", judged(sweep, own(sweep, store.records(sweep.name, "tuning"))))]


def cells(sweep: Sweep) -> list[Cell]:
    return [(v, r) for v in sweep.victims for r in sweep.trusted]


def victims(sweep: Sweep) -> list[Trial]:
    """The trials that train the victims."""
    resolve = catalog.resolve_trial
    return _distinct(
        resolve(Trial(game=Choice("training"), victim=v, method=None, trusted=0.0, seed=v.seed)) for v in sweep.victims
    )


def copies(sweep: Sweep) -> list[Trial]:
    """The trials that make the self-poisoned copies."""
    tuning = catalog.resolve("games", Choice("tuning", sweep.tuning))
    found = []
    for victim, r in cells(sweep):
        for seed in sweep.seeds:
            for i in range(int(tuning.params["copies"])):
                game = catalog.resolve("games", Choice("self_poison", {**sweep.planting, "copy": i}))
                found.append(Trial(game=game, victim=victim, method=None, trusted=r, seed=seed))
    return _distinct(found)


def configurations(sweep: Sweep, defense: Defense) -> list[Choice]:
    """The points of a grid or star walk, resolved, the paper's optimum first; none of a search are known beforehand."""
    space = _space(defense)
    if defense.walk == "search":
        return []
    points = star(space, defense.profile) if defense.walk == "star" else grid(space, defense.profile)
    if defense.walk == "grid" and defense.limit:
        points = thin(points, defense.limit, 0)
    return list({str(c.identity()): c for c in (_settled(defense, p) for p in points)}.values())


def trials_of(sweep: Sweep, cell: Cell, choice: Choice) -> list[Trial]:
    """A configuration's trials, one for each base seed."""
    victim, r = cell
    if sweep.game == "robustness":
        game, plant = catalog.resolve("games", Choice("robustness", {"delta": sweep.delta, **_every(sweep)})), None
    else:
        game = catalog.resolve("games", Choice("tuning", sweep.tuning))
        plant = catalog.resolve("games", Choice("self_poison", sweep.planting))
    return [Trial(game=game, victim=victim, method=choice, trusted=r, seed=s, plant=plant) for s in sweep.seeds]


def own(sweep: Sweep, records: Sequence[Record]) -> list[Record]:
    """Configurations' records of the sweep as it stands; one that was edited has older ones under its name too."""
    here = {(v.id, r): (v, r) for v, r in cells(sweep)}
    names = {d.name for d in sweep.defenses}
    found = []
    for record in records:
        trial = record.trial
        cell = here.get((trial.victim.id, trial.trusted))
        if cell and trial.method and trial.method.name in names:
            found += [record] if trial.id in {t.id for t in trials_of(sweep, cell, trial.method)} else []
    return found


def judged(sweep: Sweep, records: Sequence[Record]) -> list[Trial]:
    """The best defense on the report images; each defense's winner on the real attack, where there is one."""
    ranked = winners(records, sweep.rule)
    found = [t for w in overall(ranked) if sweep.confirm for t in confirmations(sweep, w)]
    for winner in ranked:
        for trial in trials_of(sweep, (winner.victim, winner.trusted), winner.choice):
            if sweep.judge and winner.victim.attacks:
                params = {"delta": sweep.delta, "stop_at": winner.step, **_every(sweep)}
                real = replace(trial, game=catalog.resolve("games", Choice("robustness", params)), plant=None)
                found.append(real)
                if sweep.oracle:
                    free = catalog.resolve("games", Choice("robustness", {**params, "stop_at": 0}))
                    found.append(replace(real, game=free))
    return _distinct(found)


def confirmations(sweep: Sweep, winner: Winner) -> list[Trial]:
    """The winner's trials on the report images, one for each base seed."""
    found = []
    for trial in trials_of(sweep, (winner.victim, winner.trusted), winner.choice):
        params = {"copies": trial.game.params["copies"], "stop_at": winner.step, **_every(sweep)}
        found.append(replace(trial, game=catalog.resolve("games", Choice("confirmation", params))))
    return found


def _walk(sweep: Sweep, defense: Defense, cell: Cell, store: Store) -> Walk:
    def of(choice: Choice) -> list[Trial]:
        return trials_of(sweep, cell, choice)

    label = defense.name
    if defense.walk != "search":
        return ListWalk(label, [t for c in configurations(sweep, defense) for t in of(c)])
    from sweep.search import SearchWalk  # noqa: PLC0415  (loads optuna)

    space = _space(defense)
    victim, r = cell
    mine = [
        record
        for record in own(sweep, store.records(sweep.name, sweep.game))
        if record.trial.method and record.trial.method.name == defense.name
        if record.trial.victim.id == victim.id and record.trial.trusted == r
    ]

    def settled(ask: Any) -> Choice:
        return _settled(defense, space(ask, defense.profile))

    seed = derive(sweep.seeds[0], victim.id, str(r), defense.name)
    return SearchWalk(label, defense, settled, of, sweep.rule, sweep.delta, mine, seed)


def _space(defense: Defense) -> Callable[..., Choice]:
    return catalog.find("spaces", defense.name)


def _settled(defense: Defense, choice: Choice) -> Choice:
    return catalog.resolve("defenses", Choice(choice.name, {**choice.params, **defense.fixed}))


def _every(sweep: Sweep) -> dict[str, Any]:
    params = catalog.resolve("games", Choice("tuning", sweep.tuning)).params
    return {"record_every": params["record_every"]}


def _distinct(trials: Any) -> list[Trial]:
    return list({t.id: t for t in trials}.values())
