"""The victims of a sweep, from its [victim] table: each combination of the listed values, or one
change at a time.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from results.selection.grouping import KEY
from sweep.spec.validation import known, listed, number, one_of, seed, table
from trials import catalog
from trials.architecture import as_table, surrogate_of
from trials.spec import MethodConfig, SpecError, Victim

KEYS = (
    *("dataset", "model", "training", "attacks", "seeds", "reserve", "targets", "strategy"),
    "overlap",
)
STRATEGIES = ("grid", "one_at_a_time")
MOST_COMBINATIONS = 100_000  # gone through; one_at_a_time keeps few of them
MOST_VICTIMS = 10_000
_KIND = {"dataset": "datasets", "model": "models", "training": "recipes"}
# a method's configuration, and how many of its settings differ from the first one's
_Varied = tuple[MethodConfig, int]


def victims_of(data: Mapping[str, Any], folder: Path) -> tuple[Victim, ...]:
    """Resolved victims, each once; relative paths are taken from ``folder``.

    Any value of a table may be a list, an axis of the sweep; so may the dataset, model and training
    themselves. ``strategy = "grid"`` takes every combination, ``"one_at_a_time"`` the first value
    of every axis and then one change at a time (an ablation); ``key`` and ``instance`` of an attack
    are repetitions, and no change. ``targets`` are dealt to the seeds in
    turn; an attack may have ``seeds`` of its own, as a large pool of clean models has.

    A list of attacks inside the list is one victim of all of them at once:
    ``attacks = ["badnets", ["badnets", { name = "a_blend", m = 50 }]]`` is a victim of one attack
    and a victim of two. They poison different images: the second draws from those that the first
    left. Of ``targets`` each takes the one after that of the attack before it; without them, those
    that name no target of their own get different ones; with ``overlap = true`` all have the same,
    and may poison the same images. Every measurement then has ``asr/NAME`` for
    each attack, and ``asr`` is the largest (``asr_of`` says otherwise).

    Raises:
        SpecError: an unknown key, method or setting, or a value out of range.
    """
    known("key of [victim]", data, KEYS)
    for needed, kind in _KIND.items():
        if needed not in data:
            raise SpecError(f"[victim] has no {needed}. Known: {', '.join(catalog.names(kind))}.")
    strategy = str(data.get("strategy", "grid"))
    one_of("strategy", strategy, list(STRATEGIES))
    reserve, targets, overlap = _reserve(data), _targets(data), _overlap(data)
    parts = [_part(listed(key, data[key]), kind, folder) for key, kind in _KIND.items()]
    found = list[Victim]()
    for axes, seeds in _axes(data, folder, parts):
        _few("victims", axes)
        for combination in itertools.product(*axes):
            if strategy == "one_at_a_time" and sum(changes for _, changes in combination) > 1:
                continue
            configs = [c for c, _ in combination]
            for victim in _seeded(configs, seeds, targets, reserve, overlap):
                found.append(victim)
                if len(found) > MOST_VICTIMS:
                    raise SpecError(
                        f"[victim] asks for more than {MOST_VICTIMS} victims. Shorten its lists."
                    )
    return tuple({v.id: v for v in found}.values())


def _reserve(data: Mapping[str, Any]) -> float:
    reserve = number("reserve", data.get("reserve", 0.0))
    if not 0 <= reserve < 1:
        raise SpecError(f"victim: reserve must lie in [0, 1), got {reserve:g}.")
    return reserve


def _overlap(data: Mapping[str, Any]) -> bool:
    overlap = data.get("overlap", False)
    if not isinstance(overlap, bool):
        raise SpecError(f"victim: overlap must be true or false, got {overlap!r}.")
    attacks = listed("attacks", data.get("attacks", ["none"]))
    if overlap and not any(isinstance(a, list) and len(a) > 1 for a in attacks):
        raise SpecError(
            "victim: overlap = true needs several attacks on one victim: write attacks = "
            '[["badnets", "blended"]].'
        )
    return overlap


def _targets(data: Mapping[str, Any]) -> list[int]:
    given = listed("targets", data["targets"]) if "targets" in data else []
    return [seed("victim: targets", t) for t in given]


def _part(given: list[Any], kind: str, folder: Path) -> list[_Varied]:
    """The configurations of one axis; all but those of its first value differ by one more."""
    part = list[_Varied]()
    for i, one in enumerate(given):
        part += [(c, n + (i > 0)) for c, n in _configs(kind, one, folder)]
    return part


def _seeded(
    configs: list[MethodConfig],
    seeds: list[int],
    targets: list[int],
    reserve: float,
    overlap: bool,
) -> Iterator[Victim]:
    """One victim for each seed; the target classes are assigned to seeds and attacks in turn."""
    dataset, model, training, *own = configs
    overlap = overlap and len(own) > 1
    for i, s in enumerate(seeds):
        apart = own if overlap else _apart(own, targets)
        aimed = tuple(_aimed(c, targets, i if overlap else i + j) for j, c in enumerate(apart))
        victim = Victim(
            dataset=dataset,
            model=model,
            attacks=aimed,
            training=training,
            seed=s,
            reserve=reserve,
            overlap=overlap,
        )
        yield _possible(catalog.resolve_victim(victim))


def _possible(victim: Victim) -> Victim:
    """The victim itself.

    Raises SpecError for the release's pipeline with a normalisation that is not the model's, for
    two attacks that both control the training, and for a surrogate that is no model.
    """
    for attack in victim.attacks:
        surrogate_of(victim, attack)
    control = [
        a.name for a in victim.attacks if catalog.describe("attacks", a.name).verb == "implant"
    ]
    if len(control) > 1:
        raise SpecError(
            f"the attacks {' and '.join(control)} on one victim both control the training; at most "
            "one can. Leave one of them out."
        )
    if victim.overlap:
        _overlapping(victim)
    own = victim.model.params.get("norm")
    for a in victim.attacks:
        if a.params.get("pipeline") == "release" and own is not None and a.params["norm"] != own:
            remedy = "Name it in the model" if own == "own" else f"Write norm = {own!r}"
            raise SpecError(
                f"{a.name}: norm is {a.params['norm']!r}, but the model normalises as {own!r}, so "
                f"that the release's pipeline would do something else. {remedy}."
            )
    return victim


def _overlapping(victim: Victim) -> None:
    """Raises SpecError for attacks that cannot be on the same images."""
    of_training = [
        a.name for a in victim.attacks if catalog.describe("attacks", a.name).verb != "poison"
    ]
    if of_training:
        raise SpecError(
            f"overlap = true: {of_training[0]} crafts its poison or controls the training, and "
            "cannot be laid over another attack. Leave one of them out."
        )
    targets = [a.params.get("target") for a in victim.attacks]
    if len(set(targets)) == len(targets):
        raise SpecError(
            "overlap = true, but the targets of the attacks on one victim are "
            f"{', '.join(map(str, targets))}: attacks are on the same images where they give them "
            "the same label. Give two of them the same target."
        )


def _axes(
    data: Mapping[str, Any], folder: Path, parts: list[list[_Varied]]
) -> Iterator[tuple[list[list[_Varied]], list[int]]]:
    """For each attack its axes beside those of dataset, model and training, and its seeds; none is
    the clean model.
    """
    for given in listed("attacks", data.get("attacks", ["none"])):
        if isinstance(given, list):
            seeds = [seed("victim: seeds", s) for s in listed("seeds", data.get("seeds", 0))]
            yield [*parts, *(list(_configs("attacks", a, folder)) for a in _at_once(given))], seeds
            continue
        attack = dict(given) if isinstance(given, Mapping) else given
        own = (
            attack.pop("seeds", data.get("seeds", 0))
            if isinstance(attack, dict)
            else data.get("seeds", 0)
        )
        seeds = [seed("victim: seeds", s) for s in listed("seeds", own)]
        if attack in ("none", {"name": "none"}):
            yield parts, seeds
        else:
            yield [*parts, list(_configs("attacks", attack, folder))], seeds


def _at_once(given: list[Any]) -> list[Any]:
    """The attacks of an inner list, all on one victim.

    Raises SpecError for an empty list, a list in it, the attack none, or seeds of one attack.
    """
    for attack in listed("attacks (an inner list)", given):
        named = {"name": attack} if isinstance(attack, str) else table("attacks", attack)
        if named.get("name") == "none" or "seeds" in named:
            raise SpecError(
                "attacks: an inner list is one victim of several attacks at once, so it takes "
                "neither none nor seeds of one attack. Write them outside of it."
            )
    return given


def _few(what: str, axes: Sequence[Sequence[Any]]) -> None:
    if (number := math.prod(map(len, axes))) > MOST_COMBINATIONS:
        raise SpecError(
            f"{what}: {number} combinations are more than {MOST_COMBINATIONS}. Shorten the lists."
        )


def _aimed(attack: MethodConfig, targets: Sequence[int], turn: int) -> MethodConfig:
    if not targets:
        return attack
    if "target" in attack.params:
        raise SpecError(
            f"[victim] has targets, and {attack.name} has a target of its own: leave one of them "
            "out."
        )
    return MethodConfig(attack.name, {**attack.params, "target": targets[turn % len(targets)]})


def _apart(attacks: Sequence[MethodConfig], targets: Sequence[int]) -> list[MethodConfig]:
    """The attacks on one victim; of several, each that has no target gets one that no other has.

    That is its default, or where an attack before it has that one too, the least class left.
    """
    if targets or len(attacks) < 2:
        return list(attacks)
    taken = {a.params["target"] for a in attacks if "target" in a.params}
    aimed = dict[int, int]()
    again = list[int]()
    for i, attack in enumerate(attacks):
        setting = catalog.describe("attacks", attack.name).settings.get("target")
        if setting is None or "target" in attack.params:
            continue
        if setting.default in taken:
            again.append(i)
        else:
            aimed[i] = int(setting.default)
            taken.add(setting.default)
    free = (c for c in itertools.count() if c not in taken)
    aimed |= dict(zip(again, free, strict=False))
    return [
        replace(a, params={**a.params, "target": aimed[i]}) if i in aimed else a
        for i, a in enumerate(attacks)
    ]


def _named(name: str) -> Mapping[str, Any]:
    return {"name": name}


def _configs(kind: str, value: Any, folder: Path) -> Iterable[_Varied]:
    """A configuration for each combination of a table's values; a list is an axis of the sweep."""
    named = as_table if kind == "models" else _named
    given = named(value) if isinstance(value, str) else table(kind, value)
    if not isinstance(given.get("name"), str):
        raise SpecError(f"a table of {kind} needs a name. Known: {', '.join(catalog.names(kind))}.")
    method = catalog.describe(kind, given["name"])
    keys = [k for k in given if k != "name"]
    axes = [list(enumerate(listed(k, given[k]))) for k in keys]
    _few(kind, axes)
    for values in itertools.product(*axes):
        params = {k: v for k, (_, v) in zip(keys, values, strict=True)}
        for key, setting in method.settings.items():
            place = params.get(key)
            if (
                isinstance(place, str)
                and setting.is_path(place)
                and not place.startswith(("/", "~", "$"))
            ):
                params[key] = str(folder / place)
        changed = [k for k, (i, _) in zip(keys, values, strict=True) if i > 0 and k not in KEY]
        yield MethodConfig(given["name"], params), len(changed)
