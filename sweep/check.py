"""Everything that can be refused before compute is spent: data, m, r, targets, checkpoints, folders, devices."""

import torch

from sweep import plan
from sweep.config import Sweep
from sweep.worker import Place, make_bench
from trials import splits
from trials.kinds import Images
from trials.spec import SpecError, Trial


def check(sweep: Sweep, place: Place) -> None:
    """Load the data, plant each attack, build each model; run nothing.

    Raises:
        SpecError: with one line, for the first thing that could not run.
    """
    bench = make_bench(place)
    bench.artifacts.check()
    for defense in sweep.defenses:
        plan.configurations(sweep, defense)
    for victim in sweep.victims:
        backdoor = bench.backdoor(victim)
        _enough(backdoor.train)
        model = bench.fresh(victim)
        if victim.training.name == "given":  # reads a stranger's file: refuse a wrong one now
            for _ in bench.referee(plan.victims(sweep)[0]).fit(model, backdoor, torch.Generator()):
                pass
        else:
            with torch.inference_mode():
                model.eval()(torch.zeros(1, *backdoor.train.x.shape[1:]).to(bench.device))
        whole = len(backdoor.train) / (1 - victim.reserve)
        for r in sweep.trusted:
            splits.check_trusted(r, round(whole), backdoor.train.classes)
            if victim.reserve and r > victim.reserve + 1e-9:
                raise SpecError(f"r (trusted) = {r:g} is more than the reserve of {victim.reserve:g} of the images.")
    for trial in plan.victims(sweep):
        _testable(trial, bench)


def _testable(trial: Trial, bench: object) -> None:
    """An attacked victim is judged on a test set: load it now, so that its absence is not found after training."""
    if trial.victim.attacks:
        bench.referee(trial).test()  # type: ignore[attr-defined]


def _enough(train: Images) -> None:
    counts = torch.bincount(train.y, minlength=train.classes)
    if int(counts.min()) < 5:
        label = int(counts.argmin())
        name = train.names[label] if train.names else str(label)
        raise SpecError(f"class {name!r} has {int(counts.min())} images; each class needs at least 5 to be split.")
