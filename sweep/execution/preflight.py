"""Everything that can be refused before compute is spent: data, m, r, targets, checkpoints,
folders, devices, and what a model lacks that a defense needs.
"""

import itertools
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from sweep.execution.worker import WorkerConfig, make_runtime
from sweep.planning import expansion, filtering, targeted
from sweep.planning.detection import detections
from sweep.planning.searches import searches
from sweep.spec.filters import TARGETED, Filter
from sweep.spec.sweep_file import Sweep
from trials import catalog, splits
from trials.classifier import require
from trials.crafting import checked
from trials.data_views import data_view, own_rows_in, untrusted
from trials.dependencies import filtering_of, training_of, unfiltered
from trials.filtering import check_rows
from trials.rejection import check_enough
from trials.runtime import TrialRuntime
from trials.self_poisoning.layout import layout_of
from trials.self_poisoning.own_brew import ingredients
from trials.spec import RECALL, MethodConfig, SpecError, Trial, Victim
from trials.types import Images, Poisoning


def check(sweep: Sweep, worker_config: WorkerConfig) -> None:
    """Load the data, plant each attack, build each model, draw the trusted images; run nothing, and
    on the CPU.

    Raises:
        SpecError: with one line, for the first thing that could not run.
    """
    expansion.bounded(sweep)
    runtime = make_runtime(replace(worker_config, device="cpu"))
    runtime.artifacts.check()
    for defense in sweep.defenses:
        expansion.configurations(sweep, defense)
    of_one_seed = [replace(v, seed=0) for v in sweep.victims]  # what fails does so for every seed
    alike = list({v.id: v for v in of_one_seed}.values())
    for victim in alike:
        model, shape = _victim(victim, runtime)
        for kind, name in _methods(sweep):
            require(name, model, catalog.describe(kind, name).needs, victim.model.name, shape)
    for trial in expansion.copies(sweep):
        layout_of(runtime.trusted(trial), runtime.rng(trial), trial.game)
    uncrafted = list(map(_plain, alike))
    for victim, r, s in (
        itertools.product(uncrafted, sweep.trusted, sweep.seeds[:1]) if sweep.defenses else ()
    ):
        trial = Trial(
            game=MethodConfig("robustness"), victim=victim, method=None, trusted=r, seed=s
        )
        splits.cut(runtime.trusted(trial).y, 0, 1, runtime.rng(trial)("split"))
    for detector in sweep.detectors:
        detections(detector)
    _searched(replace(sweep, victims=tuple(alike)), runtime)
    _filters(replace(sweep, victims=tuple(uncrafted)), runtime)
    _brews(replace(sweep, victims=tuple(alike), filters=()), runtime)


def _searched(sweep: Sweep, runtime: TrialRuntime) -> None:
    """Raises SpecError for settings that a search may ask for and nothing can be trained or
    filtered by.
    """
    for victim in listed_settings(sweep):
        if victim.filter:
            _works(victim, runtime)
        else:
            _trainable(victim, len(runtime.trainable(victim)), runtime)


def listed_settings(sweep: Sweep) -> list[Victim]:
    """A victim by each setting that the spaces of what is searched list, once for each group of
    victims that is searched for together and, of a filter, each r.
    """
    found, one_seed = list[Victim](), replace(sweep, seeds=sweep.seeds[:1])
    for search in searches(sweep):
        table, victim = search.table, search.victims[0]
        if isinstance(table, Filter):
            every = replace(table, strategy="grid", limit=10**6)
            one = replace(table, reject=table.reject[:1], quota=table.quota[:1])
            given = one_seed, one, [_plain(victim)], [search.trusted], filtering.points(every)
            found += filtering.by_settings(*given)
        else:
            points = replace(table, strategy="grid", limit=0).points()
            found += [replace(victim, training=training) for training in points]
    return list({v.id: v for v in found}.values())


def _trainable(victim: Victim, rows: int, runtime: TrialRuntime) -> None:
    """Raises SpecError where the victim's recipe cannot train its model on so many rows."""
    if refuses := catalog.find_check("recipes", victim.training.name):
        refuses(runtime.fresh(victim), rows, **victim.training.params)


def _filters(sweep: Sweep, runtime: TrialRuntime) -> None:
    """Raises SpecError for rows or settings that a filter cannot work with."""
    _rows(sweep, runtime)
    for given in sweep.filters:
        _settings(sweep, given, runtime)


def _rows(sweep: Sweep, runtime: TrialRuntime) -> None:
    """Raises SpecError for rows that no filter can work with."""
    looked = set[str]()
    for filtered in itertools.chain.from_iterable(
        filtering.filtered(sweep, f) for f in sweep.filters
    ):
        trial, victim = filtering_of(filtered), unfiltered(filtered)
        if (key := f"{victim.id} {trial.trusted}") in looked:
            continue
        looked.add(key)
        train = runtime.poisoning(victim).train
        check_rows(train.take(untrusted(trial, runtime)), runtime.trusted(trial))
        data_view(trial, runtime, ahead=True)


def _settings(sweep: Sweep, given: Filter, runtime: TrialRuntime) -> None:
    """Raises SpecError for settings that a filter cannot work with."""
    for filtered in filtering.filtered(sweep, given):
        _works(filtered, runtime)


def _works(filtered: Victim, runtime: TrialRuntime) -> None:
    """Raises SpecError where a victim's filter cannot work with its settings."""
    assert filtered.filter is not None
    view, method = data_view(filtering_of(filtered), runtime, ahead=True), filtered.filter.method
    _own_rows_are_enough(filtered, runtime)
    if check := catalog.find_check("filters", method.name):
        check(view, **method.params)


def _own_rows_are_enough(filtered: Victim, runtime: TrialRuntime) -> None:
    """Raises SpecError where the defender poisons fewer rows than the threshold asks for."""
    assert filtered.filter is not None
    if filtered.filter.reject != RECALL:
        return
    trial = filtering_of(filtered)
    if own := own_rows_in(trial, runtime, ahead=True):
        for rows in torch.bincount(own.rows.number).tolist():
            check_enough(float(trial.game.params["beta"]), rows)


def without_unfit_filters(sweep: Sweep, worker_config: WorkerConfig) -> tuple[Sweep, list[str]]:
    """The sweep without the data filters that its model or its images cannot bear, and a line for
    each of these.

    Raises:
        SpecError: a model cannot be built, the rows are such that no filter can work with them, or
            none of the filters is left.
    """
    runtime = make_runtime(replace(worker_config, device="cpu"))
    _rows(sweep, runtime)
    victim, kept, left_out = sweep.victims[0], list[Filter](), list[str]()
    model, shape = runtime.fresh(victim), runtime.poisoning(victim).train.x.shape[1:]
    for given in sweep.filters:
        needs = catalog.describe("filters", given.name).needs
        try:
            require(given.name, model, needs, victim.model.name, shape)
            _settings(sweep, given, runtime)
            kept.append(given)
        except SpecError as problem:
            left_out.append(f"{given.name} is left out: {problem}")
    if not kept:
        raise SpecError(f"no data filter fits these images and this model: {left_out[0]}")
    return replace(sweep, filters=tuple(kept)), left_out


def _brews(sweep: Sweep, runtime: TrialRuntime) -> None:
    """Raises SpecError where a defender has too few images to brew against themselves."""
    for trial in targeted.own_brews(sweep)[0] if sweep.game == TARGETED else ():
        given: dict[str, Any] = {name: trial.game.params[name] for name in ("pairs", "budget")}
        n = len(runtime.trainable(trial.victim))
        ingredients(runtime.trusted(trial), n, runtime.rng(trial), **given)


def without_unfit(sweep: Sweep, worker_config: WorkerConfig) -> tuple[Sweep, list[str]]:
    """The sweep without the defenses that a model of it cannot bear, and a line for each of these.

    Those that draw a new head are not for a model that has outputs of which there are no images.

    Raises:
        SpecError: a model cannot be built.
    """
    runtime = make_runtime(replace(worker_config, device="cpu"))
    alike = {expansion.key_of(v.model): v for v in sweep.victims}
    models = [(v.model.name, runtime.fresh(v), runtime.poisoning(v).train) for v in alike.values()]
    left_out: dict[str, str] = {}
    for defense in sweep.defenses:
        for name, model, train in models:
            try:
                _fits(defense.name, model, name, train)
            except SpecError as problem:
                left_out[defense.name] = f"{defense.name} is left out: {problem}"
    kept = tuple(d for d in sweep.defenses if d.name not in left_out)
    return replace(sweep, defenses=kept), list(left_out.values())


def _fits(defense: str, model: nn.Module, name: str, train: Images) -> None:
    """Raises SpecError where the model cannot bear a defense that nobody asked for by name."""
    known = catalog.describe("defenses", defense)
    require(defense, model, known.needs, name, train.x.shape[1:])
    if known.family == "head_shift" and train.logits > train.classes:
        raise SpecError(
            f"it draws outputs of the model anew, and there are images of {train.classes} of all "
            f"{train.logits:,}. Name it in --spec to run it all the same."
        )


def _methods(sweep: Sweep) -> list[tuple[str, str]]:
    """Kind and name of all that is run on a model; a sweep of trainings runs nothing on one."""
    defenses = () if sweep.game == "training" else sweep.defenses
    return [
        *(("defenses", defense.name) for defense in defenses),
        *(("detectors", detector.name) for detector in sweep.detectors),
        *(("filters", given.name) for given in sweep.filters),
    ]


def _victim(victim: Victim, runtime: TrialRuntime) -> tuple[nn.Module, torch.Size]:
    """The victim's model before training and the shape of an image, once everything that it needs
    was looked at.
    """
    model, ctx = runtime.fresh(victim), runtime.evaluator(training_of(victim))
    poisoning = _uncrafted(victim, runtime)
    _enough(poisoning.train)
    _trainable(victim, len(poisoning.train), runtime)
    if victim.training.name == "given":  # reads a stranger's file: refuse a wrong one now
        for _ in ctx.fit(model, poisoning, torch.Generator()):
            pass
    else:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, *poisoning.train.x.shape[1:]))
    if victim.attacks:  # judged on a test set: its absence must not be found after training
        ctx.test()
    return model, poisoning.train.x.shape[1:]


def _uncrafted(victim: Victim, runtime: TrialRuntime) -> Poisoning:
    """The training set with the attacks in it; without them where they can be checked uncrafted."""
    return Poisoning(checked(runtime, victim)) if _craft(victim) else runtime.poisoning(victim)


def _plain(victim: Victim) -> Victim:
    """The victim, without attacks where one crafts its poison."""
    return replace(victim, attacks=()) if _craft(victim) else victim


def _craft(victim: Victim) -> bool:
    """Whether an attack on it crafts its poison, and can be checked uncrafted."""
    return any(catalog.find_check("attacks", a.name) for a in victim.attacks)


def _enough(train: Images) -> None:
    counts = torch.bincount(train.y, minlength=train.classes)
    if int(counts.min()) < 5:
        label = int(counts.argmin())
        name = train.names[label] if train.names else str(label)
        raise SpecError(
            f"class {name!r} has {int(counts.min())} images; each class needs at least 5 to be "
            "split."
        )
