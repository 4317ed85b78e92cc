"""A name for each selection task: as much of it as tells it apart from the others."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from results.selection.configurations import SelectionTask, Tasks, of_game
from results.selection.labels import BUDGET, attack, value
from trials.later import LATER
from trials.spec import MethodConfig, Record, Scalar, Trial, content_id

Words = Mapping[SelectionTask, Mapping[str, str]]  # what is said of it, under names of their own


def task_names(records: Iterable[Record], *games: str) -> Mapping[SelectionTask, str]:
    """A name for each task of these games, tuning and robustness if none is given.

    Said are data set, model, attack, seed, reserve and r where they differ. Of tasks that are alike
    in these, the settings that all of them have and that differ, such as the scheme by which copies
    were poisoned; ids where none do.
    """
    task_in = Tasks()
    trials = [r.trial for r in of_game(records, *(games or ("tuning", "robustness")))]
    return names({task_in(t): t for t in trials})


def names(by_task: Mapping[SelectionTask, Trial]) -> Mapping[SelectionTask, str]:
    """``task_names`` of tasks with a trial each."""
    victims = {task: _of_victim(t) for task, t in by_task.items()}
    named = _joined(victims, [k for k in _shared(victims) if _distinct(victims, [k]) > 1])
    for group in _repeated(named):
        settings = {task: dict(_settings(by_task[task])) for task in group}
        closer = _joined(settings, _fewest(settings))
        named |= {task: ", ".join(filter(None, [named[task], closer[task]])) for task in group}
    for group in _repeated(named):
        ids = {t: content_id(list(t))[:6] for t in group}
        named |= {t: f"{named[t]} [{ids[t]}]".strip() for t in group}
    return named


def natural(name: str) -> list[str | int]:
    """What names are sorted by, so that 'seed 10' comes after 'seed 2'."""
    # every second part is a number
    return [int(w) if i % 2 else w for i, w in enumerate(re.split(r"([0-9]+)", name))]


def _of_victim(t: Trial) -> Mapping[str, str]:
    v = t.victim
    return {
        "data set": v.dataset.name,
        "model": v.model.name,
        "attack": attack(v),
        "seed": f"seed {v.seed}",
        "reserve": f"reserve = {100 * v.reserve:g} %",
        "r": f"r = {100 * t.trusted:g} %",
    }


def _settings(t: Trial) -> Iterator[tuple[str, str]]:
    """All settings behind a task, each under a name of its own, as they are read."""
    v = t.victim
    parts: list[tuple[str, MethodConfig]] = [
        ("data set", v.dataset),
        ("model", v.model),
        ("training", v.training),
        *((f"attack {i}", config) for i, config in enumerate(v.attacks)),
        ("game", t.game),
        *([("copies", t.self_poisoning)] if t.self_poisoning else []),
    ]
    for part, config in parts:
        given: dict[str, Scalar] = {**LATER.get(config.name, {}), **config.params}
        left_out = {*config.files, "stop_at", *(BUDGET if part.startswith("attack") else ())}
        yield from (
            (f"{part} {k}", f"{k} = {value(x)}") for k, x in given.items() if k not in left_out
        )


def _joined(words: Words, keys: Sequence[str]) -> dict[SelectionTask, str]:
    return {task: ", ".join(map(said.__getitem__, keys)) for task, said in words.items()}


def _fewest(words: Words) -> list[str]:
    """As few of the words as tell the tasks apart, those first that tell most; all tasks have
    them.
    """
    chosen, apart = list[str](), 1
    while keys := [k for k in _shared(words) if _distinct(words, [*chosen, k]) > apart]:
        chosen.append(max(keys, key=lambda k: _distinct(words, [*chosen, k])))
        apart = _distinct(words, chosen)
    return chosen


def _shared(words: Words) -> list[str]:
    every = [set(said) for said in words.values()]
    first: Mapping[str, str] = next(iter(words.values()), {})
    return [k for k in first if k in set.intersection(*every)]


def _distinct(words: Words, keys: Sequence[str]) -> int:
    return len({tuple(map(said.__getitem__, keys)) for said in words.values()})


def _repeated(named: Mapping[SelectionTask, str]) -> Sequence[Sequence[SelectionTask]]:
    """The tasks that share a name, where that are several."""
    groups = defaultdict(list)
    for task, name in named.items():
        groups[name].append(task)
    return [group for group in groups.values() if len(group) > 1]
