"""A sweep as its user writes it: one TOML file, read into frozen values, every word checked."""

import itertools
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from results.selection import RULES
from trials import catalog
from trials.spec import Choice, SpecError, Victim

T = TypeVar("T")
WALKS = ("grid", "star", "search")
SAMPLERS = ("random", "tpe", "nsga2", "gp")
SCHEDULERS = ("none", "asha")
OBJECTIVES = ("asr", "cda_loss", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Defense:
    """One defense and how its space is walked."""

    name: str
    profile: str = "cifar10"
    walk: str = "grid"
    limit: int = 0  # grid: at most this many points, spread over the grid, the paper's optimum first; 0: all
    trials: int = 20  # search: configurations asked for
    sampler: str = "tpe"
    objectives: tuple[str, ...] = ("asr",)
    fixed: Mapping[str, Any] = field(default_factory=dict)  # settings held at a value, over the space's


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """What a trial gets, and how failures and stops are treated."""

    device: str = "auto"  # auto, cpu, cuda
    cpus: float = 1  # cores a trial, and torch's threads in it
    gpus: float = 0  # GPUs a trial, may be a fraction; set for you where device is cuda
    workers: int = 0  # trials at a time; 0: as many as the cores (or GPUs) allow
    scheduler: str = "none"
    attempts: int = 3  # how often a trial whose worker was lost is started

    @property
    def threads(self) -> int:
        return max(1, int(self.cpus))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """All of a sweep: which victims, which defenses, how they are tuned and judged."""

    name: str
    victims: tuple[Victim, ...]
    trusted: tuple[float, ...]
    seeds: tuple[int, ...]
    defenses: tuple[Defense, ...]
    tuning: Mapping[str, Any] = field(default_factory=dict)
    planting: Mapping[str, Any] = field(default_factory=dict)
    rule: str = "min_asr_within_delta"
    game: str = "tuning"  # tuning, or robustness: every configuration on the real attack (for research)
    confirm: bool = True
    judge: bool = True  # the winners on the real attack, where the victim has one
    oracle: bool = False  # and their whole curve there, for the oracle rule
    compute: Compute = field(default_factory=Compute)

    @property
    def delta(self) -> float:
        return float(catalog.resolve("games", Choice("tuning", self.tuning)).params["delta"])


def read(path: str | Path) -> Sweep:
    """The sweep in a TOML file. Raises SpecError with the file's name for whatever is wrong in it."""
    path = Path(path)
    data = table_of(path)
    try:
        return parse(data, path.stem, path.parent)
    except SpecError as problem:
        raise SpecError(f"{path}: {problem}") from problem


def table_of(path: Path) -> dict[str, Any]:
    """What a TOML file says, unchecked. Raises SpecError where it cannot be read."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as problem:
        raise SpecError(f"{path}: cannot be read: {problem.strerror or problem}.") from problem
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as problem:
        raise SpecError(f"{path}: not a TOML file: {problem}.") from problem


def parse(data: Mapping[str, Any], name: str, folder: Path = Path()) -> Sweep:
    """The sweep in a table as ``tomllib`` gives it; relative paths are taken from ``folder``.

    Raises:
        SpecError: an unknown key or name, a value of the wrong type, or an empty list.
    """
    known = [f.name for f in fields(Sweep)]
    known[known.index("victims")] = "victim"
    _known("key", data, known)
    if "victim" not in data:
        raise SpecError("there is no [victim] table: say which dataset, model and attack.")
    if not data.get("defenses"):
        raise SpecError(f"there is no [[defenses]] table. Known defenses: {', '.join(catalog.names('defenses'))}.")
    rest = {k: data[k] for k in data if k not in {"victim", "trusted", "seeds", "defenses", "compute"}}
    sweep = Sweep(
        **{"name": name, **rest},
        victims=tuple({v.id: v for v in _victims(_table("victim", data["victim"]), folder)}.values()),
        trusted=tuple(dict.fromkeys(_number("trusted", r) for r in _listed("trusted", data.get("trusted", 0.05)))),
        seeds=tuple(dict.fromkeys(_seed("seeds", s) for s in _listed("seeds", data.get("seeds", 0)))),
        defenses=tuple(_defense(_table("defenses", d)) for d in _listed("defenses", data["defenses"])),
        compute=_typed(Compute, "compute", _table("compute", data.get("compute", {}))),
    )
    _check(sweep)
    return sweep


def _check(sweep: Sweep) -> None:
    for f in fields(Sweep):
        hint = get_type_hints(Sweep)[f.name]
        if hint in {str, bool} and not isinstance(getattr(sweep, f.name), hint):
            raise SpecError(f"{f.name} must be {_ACCEPTED[hint]}, got {getattr(sweep, f.name)!r}.")
    if not sweep.name or len(sweep.name) > 100:
        raise SpecError("name must have 1 to 100 characters.")
    _one_of("game", sweep.game, ["tuning", "robustness"])
    rules = [r for r in RULES if r != "oracle" or sweep.game == "robustness"]  # oracle reads the real attack
    _one_of("rule", sweep.rule, rules)
    _one_of("device", sweep.compute.device.split(":")[0], ["auto", "cpu", "cuda"])
    _one_of("scheduler", sweep.compute.scheduler, list(SCHEDULERS))
    if sweep.compute.cpus <= 0:
        raise SpecError(f"compute: cpus must be more than 0, got {sweep.compute.cpus:g}.")
    for key in ("gpus", "workers"):
        if getattr(sweep.compute, key) < 0:
            raise SpecError(f"compute: {key} must be 0 or more, got {getattr(sweep.compute, key):g}.")
    if sweep.compute.attempts < 1:
        raise SpecError(f"compute: attempts must be 1 or more, got {sweep.compute.attempts}.")
    for r in sweep.trusted:
        if not 0 < r <= 1:
            hint = f" It is a fraction: write {r / 100:g} for {r:g} %." if 1 < r <= 100 else ""
            raise SpecError(f"trusted (r) must lie in (0, 1], got {r:g}.{hint}")
    for key, game in (("tuning", "tuning"), ("planting", "self_poison")):
        table = _table(key, getattr(sweep, key))
        if "copy" in table:
            raise SpecError("planting: copy is numbered by the sweep; set how many with tuning.copies.")
        settings = catalog.resolve("games", Choice(game, table)).params
        if key == "planting":
            catalog.describe("attacks", str(settings["attack"]))


def _victims(table: Mapping[str, Any], folder: Path) -> Iterable[Victim]:
    _known("key of [victim]", table, ["dataset", "model", "training", "attacks", "seeds", "reserve"])
    for needed in ("dataset", "model", "training"):
        if needed not in table:
            raise SpecError(f"[victim] has no {needed}. Known: {', '.join(catalog.names(_KIND[needed]))}.")
    datasets, models, trainings = (list(_choices(_KIND[k], table[k], folder)) for k in _KIND)
    attacks: list[tuple[Choice, ...]] = []
    for attack in _listed("attacks", table.get("attacks", ["none"])):
        if attack in ("none", {"name": "none"}):
            attacks.append(())
        else:
            attacks += [(c,) for c in _choices("attacks", attack, folder)]
    seeds = [_seed("victim: seeds", s) for s in _listed("seeds", table.get("seeds", 0))]
    reserve = _number("reserve", table.get("reserve", 0.0))
    if not 0 <= reserve < 1:
        raise SpecError(f"victim: reserve must lie in [0, 1), got {reserve:g}.")
    for dataset, model, training, attack, seed in itertools.product(datasets, models, trainings, attacks, seeds):
        yield catalog.resolve_victim(
            Victim(dataset=dataset, model=model, attacks=attack, training=training, seed=seed, reserve=reserve)
        )


_ACCEPTED = {str: "a string", bool: "true or false", int: "an integer", Mapping: "a table"}
_KIND = {"dataset": "datasets", "model": "models", "training": "recipes"}


def _choices(kind: str, value: Any, folder: Path) -> Iterable[Choice]:
    """One choice for each combination of a table's values; a list is an axis of the sweep."""
    table = {"name": value} if isinstance(value, str) else _table(kind, value)
    if not isinstance(table.get("name"), str):
        raise SpecError(f"a table of {kind} needs a name. Known: {', '.join(catalog.names(kind))}.")
    method = catalog.describe(kind, table["name"])
    keys = [k for k in table if k != "name"]
    for values in itertools.product(*(_listed(k, table[k]) for k in keys)):
        params = dict(zip(keys, values, strict=True))
        for key, setting in method.settings.items():
            given = params.get(key)
            if setting.location and isinstance(given, str) and given and not given.startswith(("/", "~", "$")):
                params[key] = str(folder / given)
        yield Choice(table["name"], params)


def _defense(table: Mapping[str, Any]) -> Defense:
    defense = _typed(Defense, "defenses", table)
    catalog.describe("defenses", defense.name)
    catalog.describe("spaces", defense.name)
    _one_of("walk", defense.walk, list(WALKS))
    _one_of("sampler", defense.sampler, list(SAMPLERS))
    _one_of("profile", defense.profile, ["cifar10", "imagenet", "small"])
    for objective in defense.objectives:
        _one_of("objective", objective, list(OBJECTIVES))
    if not defense.objectives or defense.trials < 1 or defense.limit < 0:
        raise SpecError(f"defense {defense.name}: objectives must not be empty, trials at least 1, limit at least 0.")
    catalog.resolve("defenses", Choice(defense.name, defense.fixed))
    return defense


def _typed(cls: type[T], where: str, table: Mapping[str, Any]) -> T:
    """An instance of a dataclass from a table, its values' types checked by the annotations."""
    hints = get_type_hints(cls)
    _known(f"key of {where}", table, list(hints))
    values = {}
    for key, value in table.items():
        wanted = get_origin(hints[key]) or hints[key]
        if wanted is tuple:
            value = tuple(_listed(key, value))  # noqa: PLW2901
            good = all(isinstance(v, get_args(hints[key])[0]) for v in value)
        elif wanted is float:
            value = _number(f"{where}: {key}", value)  # noqa: PLW2901
            good = True
        else:
            good = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
        if not good:
            raise SpecError(f"{where}: {key} must be {_ACCEPTED.get(wanted, 'strings')}, got {value!r}.")
        values[key] = value
    if "name" in hints and "name" not in values:
        raise SpecError(f"a table of {where} has no name.")
    return cls(**values)


def _known(what: str, table: Mapping[str, Any], known: list[str]) -> None:
    for key in table:
        if key not in known:
            raise SpecError(catalog.unknown(what, key, known))


def _one_of(what: str, value: str, known: list[str]) -> None:
    if value not in known:
        raise SpecError(catalog.unknown(what, value, known))


def _table(what: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(f"{what} must be a table, got {value!r}.")
    return value


def _listed(what: str, value: Any) -> list[Any]:
    values = value if isinstance(value, list) else [value]
    if not values:
        raise SpecError(f"{what} is an empty list.")
    return values


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise SpecError(f"{what} must be a finite number, got {value!r}.")
    return float(value)


def _seed(what: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise SpecError(f"{what} must be integers in [0, 2^63), got {value!r}.")
    return value
