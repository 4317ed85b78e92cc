"""The product in one call: tune defenses on self-poisoned copies of a given model, and repair it with the winner."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from results.answers import Applied
from results.report import write
from results.store import Store
from sweep import config, engine
from sweep.after import confirmations
from sweep.config import Sweep
from sweep.progress import Watcher
from sweep.repair import apply, choose
from sweep.walks import ListWalk, Walk
from sweep.worker import make_bench
from trials import catalog
from trials.bench import Bench, generator
from trials.metrics import accuracy
from trials.needs import training_of
from trials.spec import Scalar, SpecError

DEFENSES = ("pivotal_tuning", "weight_decay", "fine_pruning", "nad", "neural_cleanse", "fine_tuning", "none")
_NOT_HERE = {
    "victim": "the model and the images are those of --model and --trusted",
    "trusted": "all images of --trusted are used",
    "confirm": "what is applied is always confirmed",
    "judge_all": "there is no real attack to judge by",
    "tune_on": "the given model is what defenses are tuned on",
    "detectors": "defend repairs; run a sweep with detectors instead",
}
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
    with Store.open(url) as opened, Watcher(sweep.name, sweep.rule) as watcher:
        store = opened.patient(sweep.compute.outage, watcher.say)
        engine.execute(sweep, store, place, use_ray=use_ray, watch=watcher)
        chosen, passed_over = choose(sweep, store.records(sweep.name), make_bench(place))
        last: list[Walk] = [ListWalk("the winner", confirmations(sweep, chosen))]
        engine.run_waves(iter([last]), sweep, store, place, use_ray=use_ray, watch=watcher)
        records = store.records(sweep.name)
    repaired = apply(sweep, chosen, passed_over, records, make_bench(place), out)
    passed = tuple(str(p["defense"]) for p in passed_over)
    page = write(records, out / "report.html", title=sweep.name, rule=sweep.rule, applied=Applied(chosen, passed))
    return {**repaired, "files": [str(out / "repaired.safetensors"), str(out / "choice.json"), str(page)]}


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
        for key, why in _NOT_HERE.items():
            if key in data:
                raise SpecError(f"{spec}: remove {key}: {why}.")
        if data.get("game", "tuning") != "tuning" or isinstance(data.get("planting"), list):
            raise SpecError(f'{spec}: defend needs game = "tuning" and one [planting] table at most.')
    fixed = {"victim": victim, "trusted": 1.0, "confirm": False}  # confirmed is what is applied, once that is known
    return config.parse({"name": "defend", **data, **fixed}, "defend")


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


def limit(classes: int) -> float:
    """The accuracy below which a model does not know its trusted images: chance and 15 % of the way to all right."""
    return 1 / classes + 0.15 * (1 - 1 / classes)


def _fits(bench: Bench, sweep: Sweep) -> None:
    """Refuse a model that does not know its trusted images: wrong class order, size, normalisation or checkpoint."""
    victim = sweep.victims[0]
    backdoor = bench.backdoor(victim)
    model = bench.fresh(victim)
    for _ in bench.referee(training_of(victim)).fit(model, backdoor, generator(0)):
        pass
    known, chance = accuracy(model, backdoor.train), 1 / backdoor.train.classes
    if known < limit(backdoor.train.classes):
        names = ", ".join(backdoor.train.names[:4])
        raise SpecError(
            f"the model gets {known:.1%} of the trusted images right (chance is {chance:.1%}). Check that its outputs "
            f"are in the order of the sorted class folders ({names}, ...), and --size, --arch and its norm setting."
        )
