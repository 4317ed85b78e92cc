"""Everything that can be refused before compute is spent: data, m, r, targets, checkpoints,
folders, devices, and what a model lacks that a defense needs.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from sweep.execution.worker import WorkerConfig, make_runtime
from sweep.planning import expansion, filtering, targeted
from sweep.planning.detection import detections
from sweep.spec.filters import TARGETED
from sweep.spec.sweep_file import Sweep
from trials import catalog, splits
from trials.classifier import require
from trials.crafting import checked
from trials.data_views import data_view, untrusted
from trials.dependencies import filtering_of, training_of, unfiltered
from trials.filtering import check_rows
from trials.runtime import TrialRuntime
from trials.self_poisoning.layout import layout_of
from trials.self_poisoning.own_brew import ingredients
from trials.spec import MethodConfig, SpecError, Trial, Victim
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
    for victim, r, s in (
        itertools.product(alike, sweep.trusted, sweep.seeds[:1]) if sweep.defenses else ()
    ):
        trial = Trial(
            game=MethodConfig("robustness"), victim=victim, method=None, trusted=r, seed=s
        )
        splits.cut(runtime.trusted(trial).y, 0, 1, runtime.rng(trial)("split"))
    for detector in sweep.detectors:
        detections(detector)
    _filters(sweep, alike, runtime)
    _brews(replace(sweep, victims=tuple(alike), filters=()), runtime)


def _filters(sweep: Sweep, victims: Sequence[Victim], runtime: TrialRuntime) -> None:
    """Raises SpecError for rows or settings that a filter cannot work with."""
    looked = set[str]()
    rows = tuple(replace(v, attacks=()) if _craft(v) else v for v in victims)
    for given in sweep.filters:
        for filtered in filtering.filtered(replace(sweep, victims=rows), given):
            assert filtered.filter is not None
            trial, method = filtering_of(filtered), filtered.filter.method
            if (key := f"{unfiltered(filtered).id} {trial.trusted}") not in looked:
                train = runtime.poisoning(unfiltered(filtered)).train
                check_rows(train.take(untrusted(trial, runtime)), runtime.trusted(trial))
                looked.add(key)
            view = data_view(trial, runtime)
            if check := catalog.find_check("filters", method.name):
                check(view, **method.params)


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
            f"it draws all {train.logits:,} outputs of the model anew, and there are images of "
            f"{train.classes} of them. Name it in --spec to run it all the same."
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
    if refuses := catalog.find_check("recipes", victim.training.name):
        refuses(model, **victim.training.params)
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
