"""The product in one call: tune defenses on self-poisoned copies of a given model, and repair it with the winner."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from results.judging import confirmed
from results.report import write
from results.selection import Winner, overall, winners
from results.store import Store
from sweep import config, engine
from sweep.config import Sweep
from sweep.progress import Watcher
from sweep.worker import make_bench
from trials import catalog
from trials.bench import Bench, generator
from trials.checkpoints import save_weights
from trials.kinds import View
from trials.metrics import accuracy
from trials.needs import training_of
from trials.spec import Choice, Record, Scalar, SpecError, Trial
from trials.splits import cut

DEFENSES = ("pivotal_tuning", "weight_decay", "fine_pruning", "nad", "neural_cleanse", "fine_tuning", "none")
SMALL = 64  # images smaller than this are tuned with the CIFAR-10 grids, larger ones with the ImageNet grids


def defend(
    model: str | Path,
    arch: str,
    trusted: str | Path,
    out: str | Path,
    *,
    spec: str | Path | None = None,
    size: int = 32,
    use_ray: bool = False,
) -> dict[str, Any]:
    """Repair a checkpoint with a folder of trusted images.

    Args:
        model: safetensors file, or a plain torch state dict.
        arch: a model's name, with settings as ``name:key=value,key=value``.
        trusted: folder with one sub-folder a class, in the order of the model's outputs when sorted by name.
        out: folder that gets ``repaired.safetensors``, ``choice.json`` and ``report.html``.
        spec: a sweep without ``[victim]``; left out, every defense on 20 points of its grid.
        size: side of the model's input, in pixels.
        use_ray: run on Ray instead of worker processes.

    Returns:
        What ``choice.json`` holds, a sentence for a person, and the files written.

    Raises:
        SpecError: an unfit checkpoint, folder, architecture or sweep; before any compute.
    """
    sweep = _sweep(Path(model), arch, Path(trusted), spec, size)
    out = Path(out)
    _writable(out)
    url = f"sqlite:///{(out / 'sweep.db').resolve()}"
    place = engine.place_of(sweep, url)
    _fits(make_bench(place), sweep)
    with Store.open(url) as store, Watcher(sweep.name, sweep.rule) as watcher:
        engine.execute(sweep, store, place, use_ray=use_ray, watch=watcher)
        records = store.records(sweep.name)
    found = winners(records, sweep.rule)
    if not found:
        errors = [(r.error or "").strip().splitlines()[-1] for r in records if r.status == "failed"]
        raise SpecError(f"nothing could be tuned. First failure: {errors[0] if errors else 'none recorded'}")
    repaired = _apply(sweep, found, records, make_bench(place), out)
    page = write(records, out / "report.html", title=sweep.name, rule=sweep.rule)
    return {**repaired, "files": [str(out / "repaired.safetensors"), str(out / "choice.json"), str(page)]}


def _apply(sweep: Sweep, found: list[Winner], records: list[Record], bench: Bench, out: Path) -> dict[str, Any]:
    """Run the best winner that keeps the given model's own clean accuracy within delta; write weights and choice.

    The clean accuracy of the given model can be measured without any trigger, on trusted images held out from the
    repair. A winner that costs more than delta there is passed over and named in the choice.
    """
    passed_over: list[dict[str, Any]] = []
    for winner in [*overall(found), *found]:
        model, before, after, n = _repaired(sweep, winner, bench)
        if before - after <= winner.delta + 1e-9:
            break
        entry = {"defense": winner.defense, "cda_of_given_model": before, "cda_of_repaired_model": after, "n": n}
        passed_over += [entry] if entry not in passed_over else []
    save_weights(model, out / "repaired.safetensors")
    judged = confirmed(winner, records)
    told = judged or winner
    choice = {
        "defense": winner.defense,
        "settings": dict(winner.choice.params),
        "stop_at_step": winner.step,
        "rule": winner.rule,
        "delta": winner.delta,
        "expected": {
            "measured_on": "report images, which chose nothing" if judged else "select images, which chose the winner",
            "asr": told.eta,
            "asr_before": told.asr0,
            "asr_interval_95": list(told.interval) if told.interval else None,
            "cda": told.cda,
            "cda_before": told.cda0,
            "cda_interval_95": list(told.cda_interval) if told.cda_interval else None,
            "n_triggered": told.n_triggered,
            "n_clean": told.n_clean,
        },
        "held_out_trusted": {"cda_of_given_model": before, "cda_of_repaired_model": after, "n": n},
        "passed_over": passed_over,
    }
    (out / "choice.json").write_text(json.dumps(choice, indent=1) + "\n")
    verdict = "repaired with" if told.eta <= 0.05 else "no defense repaired the planted backdoors; the best was"
    sentence = (
        f"{verdict} {winner.defense} for {winner.step} steps: the ASR of planted backdoors went from {told.asr0:.1%} "
        f"to {told.eta:.1%}, the clean accuracy on {n} held-out trusted images from {before:.1%} to {after:.1%}."
    )
    if before - after > winner.delta + 1e-9:
        sentence += f" That is more than the {winner.delta:.0%} allowed: do not use it before you have tuned further."
    elif passed_over:
        names = ", ".join(str(p["defense"]) for p in passed_over)
        sentence += f" Passed over, because they cost this model more accuracy than allowed: {names}."
    return {**choice, "sentence": sentence}


def _repaired(sweep: Sweep, winner: Winner, bench: Bench) -> tuple[nn.Module, float, float, int]:
    """The given model after the winner's steps; its CDA on held-out trusted images, before and after; their number."""
    every = int(catalog.resolve("games", Choice("tuning", sweep.tuning)).params["record_every"])
    trial = Trial(game=Choice("tuning"), victim=winner.victim, method=winner.choice, trusted=1.0, seed=sweep.seeds[0])
    lab = bench.defender(trial)
    fit, select, report = cut(lab.view.trusted.y, 0, 1, lab.rng("split"))
    held, model = lab.view.trusted.take(report), lab.view.model
    if winner.step:
        assert lab.repair is not None
        images = lab.view.trusted.take(torch.cat([fit, select]))
        for step, model in lab.repair(View(lab.view.model, images), lab.rng("repair", 0), every):  # noqa: B007
            if step >= winner.step:
                break
    return model, accuracy(lab.view.model, held), accuracy(model, held), len(held)


def _sweep(model: Path, arch: str, trusted: Path, spec: str | Path | None, size: int) -> Sweep:
    name, params = _parsed(arch)
    for path, what in ((model, "--model"), (trusted, "--trusted")):
        if not path.exists():
            raise SpecError(f"{what} names {str(path)!r}, which does not exist.")
    if not trusted.is_dir():
        raise SpecError(f"--trusted names {str(trusted)!r}, which is not a folder with one sub-folder a class.")
    victim = {
        "dataset": {"name": "image_folder", "root": str(trusted.resolve()), "size": size},
        "model": {"name": name, **params},
        "training": {"name": "given", "weights": str(model.resolve())},
    }
    if spec is None:
        profile = "cifar10" if size < SMALL else "imagenet"
        data: dict[str, Any] = {"defenses": [{"name": d, "profile": profile, "limit": 20} for d in DEFENSES]}
    else:
        data = config.table_of(Path(spec))
        if "victim" in data:
            raise SpecError(f"{spec}: remove [victim]: the model and the images are those of --model and --trusted.")
    return config.parse({"name": "defend", **data, "victim": victim, "trusted": 1.0}, "defend")


def _parsed(arch: str) -> tuple[str, dict[str, Scalar]]:
    """``resnet18:width=16`` to a name and settings, typed as the model's settings are."""
    name, _, rest = arch.partition(":")
    method = catalog.describe("models", name)
    params: dict[str, Scalar] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals or key not in method.settings:
            raise SpecError(catalog.unknown(f"setting of {name} in --arch", key, list(method.settings)))
        kind: Callable[[str], Scalar] = method.settings[key].type
        try:
            params[key] = value == "true" if kind is bool else kind(value)
        except ValueError as problem:
            raise SpecError(f"--arch: {key} must be {method.settings[key].accepts}, got {value!r}.") from problem
    return name, params


def _writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".write").touch()
        (out / ".write").unlink()
    except OSError as problem:
        raise SpecError(f"--out {str(out)!r} cannot be written: {problem.strerror or problem}.") from problem


def _fits(bench: Bench, sweep: Sweep) -> None:
    """Refuse a model that does not know its trusted images: wrong class order, size, normalisation or checkpoint."""
    victim = sweep.victims[0]
    backdoor = bench.backdoor(victim)
    model = bench.fresh(victim)
    for _ in bench.referee(training_of(victim)).fit(model, backdoor, generator(0)):
        pass
    known, chance = accuracy(model, backdoor.train), 1 / backdoor.train.classes
    if known < max(2 * chance, 0.2):
        names = ", ".join(backdoor.train.names[:4])
        raise SpecError(
            f"the model gets {known:.1%} of the trusted images right (chance is {chance:.1%}). Check that its outputs "
            f"are in the order of the sorted class folders ({names}, ...), and --size, --arch and its norm setting."
        )
