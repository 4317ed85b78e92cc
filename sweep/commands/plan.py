"""What a sweep would run and how long it would take, by what the store has measured of the like."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from statistics import fmean

from results.store import Store
from results.store.url import file_of, parse
from sweep.console.grid import Grid
from sweep.console.terminal import Plain
from sweep.execution import process_pool
from sweep.execution.opening import as_begun
from sweep.planning import expansion, filtering, targeted
from sweep.planning.detection import compares, detections, detector_tuning, repairs_of
from sweep.planning.evaluation import judged
from sweep.planning.searches import searches
from sweep.planning.stages import answered, targeted_searches
from sweep.spec.filters import GAME, TARGETED
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.spec import MethodConfig, Record, Status, Trial

AT_MOST = "at most"  # of a line whose trials the winners decide
BEST, REAL, _DETECTOR = "the best, on report images", "real attacks", "detector {}"


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a plan."""

    what: str
    trials: int
    done: int
    seconds_each: float | None  # mean of such trials in the store; None: never measured
    note: str = ""

    @property
    def seconds(self) -> float | None:
        left = self.trials - self.done
        return 0.0 if left == 0 else None if self.seconds_each is None else left * self.seconds_each


def cost_estimate(sweep: Sweep, store: Store | None) -> list[Line]:
    """A row for the victims, the copies, each defense and the winners."""
    expansion.bounded(sweep)
    times = _durations(store) if store else {}

    def line(what: str, trials: list[Trial], note: str = "") -> Line:
        states: dict[str, Status] = (
            store.statuses([t.id for t in trials]) if store and trials else {}
        )
        return Line(
            what, len(trials), len(states), times.get(_group(trials[0])) if trials else None, note
        )

    searches = any(d.strategy == "search" for d in sweep.defenses)
    tuned = _tuned(sweep, store) if searches else []  # with many records that takes a while
    lines = [line("victims", expansion.victims(sweep))]
    if sweep.game == "tuning":
        lines.append(line("self-poisoned copies", expansion.copies(sweep)))
    lines += [line(*row) for row in _targeted(sweep)]
    lines += [line(*row) for row in _filters(sweep)]
    lines += _searches(sweep, store)
    for defense in sweep.defenses if sweep.game in ("tuning", "robustness") else ():
        if defense.strategy == "search":
            mine = [
                r.seconds for r in tuned if r.trial.method and r.trial.method.name == defense.name
            ]
            number = defense.trials * len(expansion.tasks(sweep)) * len(sweep.seeds)
            note = f"asked by {defense.sampler} while it runs"
            lines.append(
                Line(
                    defense.name,
                    number,
                    min(number, len(mine)),
                    fmean(mine) if mine else None,
                    note,
                )
            )
            continue
        points = expansion.configurations(sweep, defense)
        trials = list[Trial]()
        for task in expansion.tasks(sweep):
            trials += chain.from_iterable(expansion.trials_of(sweep, task, c) for c in points)
        lines.append(
            line(defense.name, trials, f"{_count(len(points), 'point')}, {defense.strategy}")
        )
    if sweep.game != "tuning":
        return lines
    if store and all(x.trials == x.done for x in lines):
        tuned = tuned or _tuned(sweep, store)
        after = _after(sweep, tuned, store.records(sweep.name, "detector_tuning"))
        exact = {what: line(what, trials) for what, trials in after.items()} if tuned else {}
    else:
        exact = {}
    return lines + [exact.get(x.what, x) for x in _at_most(sweep)]


def _targeted(sweep: Sweep) -> Iterator[tuple[str, list[Trial]]]:
    """A row for the controls of attacks without a trigger, and one for what was misled."""
    if sweep.game == TARGETED:
        yield "controls", targeted.controls(sweep)
        if own := list(chain(*targeted.own_brews(sweep))):
            yield "brewed against oneself", own
        yield "targeted images", targeted.measured(sweep)


def _filters(sweep: Sweep) -> Iterator[tuple[str, list[Trial], str]]:
    """Two rows a filter: its scores, and the victims trained on what it keeps; and one a defense
    that repairs these and the victims.
    """
    for given in sweep.filters:
        victims = filtering.filtered(sweep, given)
        settings = _count(len(filtering.points(given)), "setting")
        rejections = 1 if given.strategy == "search" else len(given.reject)  # the search's first
        how = f"{settings}, {_count(rejections, 'rejection')}"
        yield given.name, filtering.scorings(victims), how
        yield f"{given.name}, trained again", filtering.trainings(victims), ""
    for defense in sweep.defenses if sweep.game == GAME else ():
        trials = filtering.repairs(sweep, defense)
        models = _count(len({t.victim.id for t in trials}), "model")
        points = _count(len({expansion.key_of(t.method) for t in trials}), "point")
        yield defense.name, trials, f"{points}, {models}, filtered or not"


def _searches(sweep: Sweep, store: Store | None) -> Iterator[Line]:
    """A row for each search of a recipe's or a filter's settings: what follows its first point,
    which is among the victims.
    """
    tables = [search.table for search in searches(sweep)]
    for table, search in zip(tables, targeted_searches(sweep), strict=True):
        first = search.size // table.trials
        found = list(answered(search, store))[first:] if store else []
        note = f"{_count(table.trials - 1, 'setting')} asked by {table.sampler} while it runs"
        seconds = fmean(r.seconds for r in found) if found else None
        yield Line(search.label, search.size - first, len(found), seconds, note)


def _durations(store: Store) -> dict[tuple[str, str], float]:
    """Mean seconds of what is done, by what is alike."""
    seen: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for trial, mean, number in store.durations():
        seen[_group(trial)].append((mean, number))
    return {group: _weighted_mean(some) for group, some in seen.items()}


def _weighted_mean(pairs: Sequence[tuple[float, int]]) -> float:
    """The mean of means, each with the number of what it is the mean of."""
    return sum(mean * number for mean, number in pairs) / sum(number for _, number in pairs)


def _tuned(sweep: Sweep, store: Store | None) -> list[Record]:
    """The sweep's configurations that have run."""
    known = store is not None and any(row.name == sweep.name for row in store.sweeps())
    return (
        expansion.own(sweep, store.records(sweep.name, "tuning"))
        if store is not None and known
        else []
    )


def _after(sweep: Sweep, tuned: list[Record], detected: list[Record]) -> dict[str, list[Trial]]:
    """What follows tuning, once that is done; detectors whose own tuning is not are left out."""
    found = judged(sweep, tuned, detected)
    trials = {
        BEST: [t for t in found if t.game.name == "confirmation"],
        REAL: [t for t in found if t.game.name == "robustness"],
    }
    first, seen = detector_tuning(sweep, tuned), {r.trial.id for r in detected}
    for detector in sweep.detectors:
        tuning, looking = _with(detector.name, first), _with(detector.name, found)
        if {t.id for t in tuning} <= seen:
            trials[_DETECTOR.format(detector.name)] = tuning + looking
    return trials


def _with(detector: str, trials: Iterable[Trial]) -> list[Trial]:
    return [t for t in trials if t.detector and t.detector.name == detector]


def _at_most(sweep: Sweep) -> Iterator[Line]:
    """What follows tuning, at most: defenses of which nothing finishes have no winner."""
    tasks = expansion.tasks(sweep)
    met = list(chain.from_iterable(expansion.meets(sweep, c.victim) for c in tasks))
    attacked = sum(bool(v.attacks) for v in met) * len(sweep.seeds)
    if sweep.confirm:
        yield Line(BEST, len(tasks) * len(sweep.seeds), 0, None)
    if sweep.judge or sweep.judge_all:
        each = sweep.judge * (1 + sweep.oracle) * len(sweep.defenses)
        own = (c.victim for c in tasks if c.victim.attacks)
        clean = sum(bool(expansion.never_attacked(sweep, v)) for v in own) * len(sweep.seeds)
        each += sweep.judge_all * sum(
            len(expansion.configurations(sweep, d)) or d.trials for d in sweep.defenses
        )
        number = each * attacked + sweep.judge * len(sweep.defenses) * clean
        yield Line(REAL, number, 0, None, AT_MOST)
    for detector in sweep.detectors:
        times = len(repairs_of(sweep, detector)) if compares(detector) else 1
        points = len(detections(detector))
        number = times * points * len(met) * len(sweep.seeds)
        how = f"{_count(points, 'setting')}, {_count(len(met), 'model')}"
        yield Line(_DETECTOR.format(detector.name), number, 0, None, how)


def _asked(sweep: Sweep) -> str:
    """What the sweep asks for, as far as its game has it."""
    words = [_count(len(sweep.victims), "victim")]
    victims_alone = sweep.game in ("training", TARGETED)
    if not victims_alone:
        words += [f"r = {_list(sweep.trusted)}", _count(len(sweep.seeds), "seed")]
    if sweep.game == "tuning":
        copies = int(
            catalog.resolve("games", MethodConfig("tuning", sweep.tuning)).params["copies"]
        )
        words.append(
            "1 self-poisoned copy each" if copies == 1 else f"{copies} self-poisoned copies each"
        )
    return ", ".join([*words, *([] if victims_alone else [f"Δ = {sweep.delta:.1%}"])])


def show_plan(sweep: Sweep, url: str, as_json: bool) -> None:
    """Print the plan of a sweep."""
    store = store_if_there(url)
    sweep = as_begun(sweep, store) if store else sweep
    lines = cost_estimate(sweep, store)
    workers = process_pool.trials_at_a_time(sweep.compute)
    if as_json:
        print(json.dumps([{**asdict(x), "seconds": x.seconds} for x in lines], indent=1))
        return
    table = Grid(
        "what", "trials", "done", "to run", "each", "time", "how", words={"what", "how"}, right=True
    )
    for x in lines:
        table.add(
            x.what,
            x.trials,
            x.done,
            x.trials - x.done,
            _span(x.seconds_each),
            _span(x.seconds),
            x.note,
        )
    console = Plain()
    console.print(f"Sweep {sweep.name}: {_asked(sweep)}", highlight=False)
    console.print(table)
    known = [x.seconds for x in lines if x.seconds is not None]
    total = sum(known) / workers
    missing = [x.what for x in lines if x.seconds is None]
    left = sum(x.trials - x.done for x in lines)
    text = f"{left} trials to run. "
    text += (
        f"What the store has measured takes about {_span(total)} with {workers} at a time here. "
        if total
        else ""
    )
    text += f"Not measured yet, so without an estimate: {', '.join(missing)}." if missing else ""
    console.print(text, highlight=False)


def store_if_there(url: str) -> Store | None:
    """The store, or None where there is none yet; planning must not make one."""
    file = file_of(parse(url))
    return None if file is not None and not file.exists() else Store.read(url)


def _group(trial: Trial) -> tuple[str, str]:
    method = trial.roles.get("filter" if trial.game.name == "filtering" else "defense")
    what = method.name if method else ""
    return f"{trial.game.name} {trial.victim.dataset.name} {trial.victim.model}", what


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _list(values: tuple[float, ...]) -> str:
    return ", ".join(f"{v:g}" for v in values)
