"""``filter``: what it is asked for, checked before anything is spent."""

import functools
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweep.commands import filter_repair, outputs
from sweep.commands.asked import SMALL, Spec, dataset_of, said_by
from sweep.commands.given_model import model_of
from sweep.commands.image_size import image_size
from sweep.execution import runner
from sweep.execution.preflight import check, without_unfit, without_unfit_filters
from sweep.execution.worker import WorkerConfig
from sweep.spec import sweep_file
from sweep.spec.sweep_file import Defense, Sweep
from trials import catalog
from trials.datasets import image_folder, image_table
from trials.filtering import check_apart
from trials.self_poisoning.own_rows import PROBES
from trials.spec import MethodConfig, SpecError
from trials.types import Images

MINUTES = 30.0
# in the order in which they are tried: what reads one model comes before what trains another
FILTERS = (
    *("spectral_signatures", "activation_clustering", "scan", "spectre", "psbd", "strip"),
    *("deep_knn", "frequency", "badloss", "abl"),
)
LIMIT = 2  # settings of each
ATTACKS = 4  # of the defender's own
_FEW = 10_000  # images: below, smaller batches and the grids of small sets
_TRAINING = {"name": "fast", "epochs": 24, "batch": 512, "peak": 0.4}
_TRAINING_OF_FEW = {"name": "fast", "epochs": 24, "batch": 64, "peak": 0.2}
_TAKEN = ("name", "filters", "self_poisoning", "training", "seeds", "compute", "flip", "order")
_OF_REPAIRS = "defenses"  # taken with --repair


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterOrder:
    """What is to be done, checked; nothing is spent or written yet."""

    sweep: Sweep
    title: str
    out: Path
    url: str
    worker_config: WorkerConfig
    use_ray: bool
    paths: tuple[str, ...]  # of the images, in their order
    names: tuple[str, ...]  # of the classes
    labels: tuple[int, ...]
    retrain: bool
    repair: bool
    minutes: float
    said: str  # how the images are brought to the model's size
    left_out: tuple[str, ...] = ()  # why, for each filter that does not fit


def prepare(  # noqa: PLR0913
    images: str | Path,
    trusted: str | Path,
    out: str | Path,
    arch: str,
    *,
    spec: Spec = None,
    size: int | None = None,
    norm: str = "",
    mean: str = "",
    std: str = "",
    epochs: int | None = None,
    use_ray: bool = False,
    seed: int | None = None,
    device: str = "",
    flip: bool | None = None,
    order: str | None = None,
    retrain: bool = True,
    repair: bool = False,
    minutes: float | None = None,
) -> FilterOrder:
    """Check what ``filter`` is asked for, and read the images.

    Raises:
        SpecError: a set, an architecture, a sweep or a folder that cannot be used.
    """
    images, trusted, out = Path(images), Path(trusted), Path(out)
    limit = _limit(minutes, spec)
    _check_repair(repair, retrain, spec)
    named = model_of(Path(), arch, norm=norm, mean=mean, std=std)
    own = dataset_of(images, spec, flip=flip, order=order, what="--images")
    dataset_of(trusted, spec, flip=flip, order=order)
    outputs.refuse(out, images, trusted, "--images")
    said = f"The model gets images of {size} x {size} pixels, as asked for."
    if size is None:
        size, said = image_size(named, own, "the images'")
    dataset = {**own, "name": "scraped", "trusted": str(trusted.resolve()), "size": size}
    dataset["pad"] = min(4, size // 8)  # as on CIFAR-10
    loaded, known = _loaded(dataset)
    paths = _paths(images, own)
    check_apart(loaded, known, paths)
    sweep = _sweep(dataset, named, len(loaded), len(known), spec, epochs, seed, device)
    sweep = replace(sweep, defenses=_defenses(sweep, spec, len(loaded)) if repair else ())
    url = outputs.url_of(out)
    runner.fits_here(sweep.compute, use_ray, None)
    with tempfile.TemporaryDirectory() as nowhere:  # so that what is refused leaves nothing behind
        there, left_out = runner.worker_config_of(sweep, url, nowhere), list[str]()
        if "filters" not in said_by(spec):  # nobody asked for these by name
            sweep, left_out = without_unfit_filters(sweep, there)
        if "defenses" not in said_by(spec):
            sweep, unfit = without_unfit(sweep, there)
            left_out += unfit
        check(sweep, there)
    return FilterOrder(
        sweep=sweep,
        title=f"{sweep.name}: {images.name}",
        out=out,
        url=url,
        worker_config=runner.worker_config_of(sweep, url),
        use_ray=use_ray,
        paths=tuple(paths),
        names=loaded.names,
        labels=tuple(loaded.y.tolist()),
        retrain=retrain,
        repair=repair,
        minutes=limit,
        said=said,
        left_out=tuple(left_out),
    )


def _check_repair(repair: bool, retrain: bool, spec: Spec) -> None:
    if repair and not retrain:
        raise SpecError("--repair repairs the last model: leave --no-train out.")
    if _OF_REPAIRS in said_by(spec) and not repair:
        raise SpecError(
            "[[defenses]] in --spec are repairs of the last model: add --repair, or leave them out."
        )


def _limit(minutes: float | None, spec: Spec) -> float:
    given = math.inf if spec else MINUTES
    limit = given if minutes is None else minutes
    if not limit > 0:
        raise SpecError(
            f"--minutes must be more than 0, got {limit:g}. Leave it out for {given:g}."
        )
    return limit


def _paths(images: Path, dataset: Mapping[str, Any]) -> list[str]:
    """The name of each image, in their order: its path, or file and row."""
    if dataset["name"] == "image_table":
        return image_table.keys(images)
    base, _, files, _ = image_folder.listed(images, "train", 0.0, str(dataset["order"]))
    return [file.relative_to(base).as_posix() for file in files]


def _loaded(dataset: Mapping[str, Any]) -> tuple[Images, Images]:
    params = {k: v for k, v in dataset.items() if k != "name"}
    resolved = catalog.resolve("datasets", MethodConfig("scraped", params))
    read = functools.partial(catalog.find("datasets", "scraped"), **resolved.params)
    return read("train"), read("trusted")


def _sweep(
    dataset: Mapping[str, Any],
    model: tuple[str, Mapping[str, Any]],
    n: int,
    trusted: int,
    spec: Spec,
    epochs: int | None,
    seed: int | None,
    device: str,
) -> Sweep:
    data = said_by(spec)
    for key in data:
        if key not in (*_TAKEN, _OF_REPAIRS):
            raise SpecError(catalog.unknown("key of filter's --spec", key, list(_TAKEN)))
    training = data.get("training", _TRAINING_OF_FEW if n < _FEW else _TRAINING)
    if epochs is not None:
        training = {**training, "epochs": epochs}
    asked = {k: v for k, v in data.items() if k not in ("training", "flip", "order", _OF_REPAIRS)}
    asked.setdefault("filters", _filters(n, trusted, int(dataset["size"])))
    asked.setdefault("self_poisoning", {"attacks": ATTACKS})
    if seed is not None:
        asked["seeds"] = seed
    # a filter that fails must not end the others
    compute = {"abort_at": 1.0, **data.get("compute", {}), **({"device": device} if device else {})}
    victim = {
        "dataset": dict(dataset),
        "model": {"name": model[0], **model[1]},
        "training": training,
        "attacks": "none",
    }
    fixed = {"victim": victim, "trusted": 1.0, "game": "filtering", "compute": compute}
    return sweep_file.parse({"name": "filter", **asked, **fixed}, "filter")


def _defenses(sweep: Sweep, spec: Spec, n: int) -> tuple[Defense, ...]:
    """The repairs that are tried, checked as those of a sweep are."""
    size = int(sweep.victims[0].dataset.params["size"])
    limited = {"profile": _profile(n, size), "limit": filter_repair.LIMIT}
    every = [{"name": name, **limited} for name in filter_repair.REPAIRS]
    found = sweep_file.defenses_of({_OF_REPAIRS: every, **said_by(spec)})
    if any(d.strategy == "search" for d in found):
        raise SpecError('filter tries repairs from a list: write strategy = "grid".')
    return found


def _profile(n: int, size: int) -> str:
    return "small" if n < _FEW else "cifar10" if size < SMALL else "imagenet"


def _filters(n: int, trusted: int, size: int) -> list[dict[str, Any]]:
    profile = _profile(n, size)
    probes = round(PROBES * trusted)
    fixed = {"badloss": {"probes": min(250, probes), "k": max(1, min(50, probes // 10))}}
    return [
        {
            "name": name,
            "profile": profile,
            "limit": LIMIT,
            "fixed": fixed.get(name, {}),
            "reject": "recall",
            "quota": "capped",
        }
        for name in FILTERS
    ]
