"""A sweep as its user writes it: one TOML file, read into frozen values, every word checked."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import chain
from pathlib import Path
from typing import Any, get_type_hints

from results.selection.rules import DEFAULT_RULE
from sweep.spec.compute import Compute, compute_of
from sweep.spec.filters import OWN_POISON, Filter, filter_of
from sweep.spec.games import NEED_NO_DEFENSES, check_game
from sweep.spec.old_words import modern
from sweep.spec.recipes import Recipe, recipe_of, with_trainings
from sweep.spec.searches import check_search
from sweep.spec.validation import ACCEPTED, known, listed, number, one_of, sane, seed, table, typed
from sweep.spec.victims import victims_of
from trials import catalog
from trials.architecture import must_be_allowed
from trials.self_poisoning import KINDS, MIXED
from trials.spec import MethodConfig, SpecError, Victim

MOST_COPIES = 100
MOST_TABLES = 1000  # of defenses, detectors, filters, recipes or self-poisonings
MOST_BYTES = 2**20  # of a sweep's file
MOST_PARTS = 100  # of a dotted key
OBJECTIVES = ("asr", "cda_loss", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Defense:
    """One defense and how its space is searched."""

    name: str
    profile: str = "cifar10"
    strategy: str = "grid"
    # grid: at most this many points, spread over the grid, the paper's optimum first; 0: all
    limit: int = 0
    trials: int = 20  # search: configurations asked for
    sampler: str = "tpe"
    objectives: tuple[str, ...] = ("asr",)
    # settings held at a value, over the space's
    fixed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One detector, the settings it is run with, and the defenses whose repaired models it compares
    with.
    """

    name: str
    profile: str = "cifar10"
    # points of the grid, the paper's first; of several the best on self-poisoned copies is taken
    limit: int = 1
    tune: bool = True  # false: all points are run on every model, as an ablation
    # settings held at a value, over the space's
    fixed: Mapping[str, Any] = field(default_factory=dict)
    repairs: tuple[str, ...] = ()  # defenses; none named: all that are no controls


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """All of a sweep: which victims, which defenses, how they are tuned and judged."""

    name: str
    victims: tuple[Victim, ...]
    trusted: tuple[float, ...]
    seeds: tuple[int, ...]
    defenses: tuple[Defense, ...] = ()
    detectors: tuple[Detector, ...] = ()
    filters: tuple[Filter, ...] = ()
    recipes: tuple[Recipe, ...] = ()  # whose points are among the victims' trainings
    tuning: Mapping[str, Any] = field(default_factory=dict)
    # each is a way to poison copies; defenses are tuned on each apart
    self_poisoning: tuple[Mapping[str, Any], ...] = ({},)
    rule: str = DEFAULT_RULE
    # tuning; robustness: every configuration on the real attack; training: only victims;
    # filtering: data filters on the victims' training sets; targeted: attacks without a trigger
    game: str = "tuning"
    # each victim for itself, or once on a clean one, whose winners all victims get (clean)
    tune_on: str = "each"
    confirm: bool = True
    judge: bool = True  # the winners on the real attack, where the victim has one
    judge_all: bool = False  # and every other configuration, to compare the orders (transfer)
    oracle: bool = False  # and the winners' whole curve there, for the oracle rule
    asr_of: str = "max"  # of several attacks on one victim: max, mean or min of their ASRs
    compute: Compute = field(default_factory=Compute)
    one_at_a_time: bool = False  # [victim] says so: of victim, r and self-poisoning one differs

    @property
    def delta(self) -> float:
        return float(catalog.resolve("games", MethodConfig("tuning", self.tuning)).params["delta"])


def read(path: str | Path) -> Sweep:
    """The sweep in a TOML file.

    Raises SpecError with the file's name for whatever is wrong in it.
    """
    path = Path(path)
    data = table_of(path)
    try:
        sweep = parse(data, path.stem, path.parent)
        must_be_allowed(sweep.victims)
        return sweep
    except SpecError as problem:
        raise SpecError(f"{path}: {problem}") from problem


def table_of(path: Path) -> dict[str, Any]:
    """What a TOML file says, unchecked. Raises SpecError where it cannot be read."""
    try:
        if not path.is_file() and path.exists():  # a pipe or a device would be read for ever
            raise SpecError(f"{path}: cannot be read: it is not a file.")
        if path.stat().st_size > MOST_BYTES:
            raise SpecError(f"{path}: has more than {MOST_BYTES >> 20} MiB, which no sweep needs.")
        text = path.read_bytes().decode("utf-8")
        if any(
            part.count(".") - part.count("..") > MOST_PARTS for part in re.split(r"[\n=,#]", text)
        ):
            # tomllib takes n^2 time
            raise SpecError(f"{path}: a key has more than {MOST_PARTS} parts between dots.")
        return tomllib.loads(text)
    except OSError as problem:
        raise SpecError(f"{path}: cannot be read: {problem.strerror or problem}.") from problem
    except SpecError:
        raise
    except (ValueError, RecursionError) as problem:
        # ValueError: no UTF-8, no TOML, or a number of 4,300 digits
        raise SpecError(f"{path}: not a TOML file: {problem}.") from problem


def parse(data: Mapping[str, Any], name: str, folder: Path = Path()) -> Sweep:
    """The sweep in a table as ``tomllib`` gives it; relative paths are taken from ``folder``.

    Raises:
        SpecError: an unknown key or name, a value of the wrong type, or an empty list.
    """
    sane(data)
    data = modern(data)
    known(
        "key",
        data,
        [
            "victim" if f.name == "victims" else f.name
            for f in fields(Sweep)
            if f.name != "one_at_a_time"
        ],
    )
    if "victim" not in data:
        raise SpecError("there is no [victim] table: say which dataset, model and attack.")
    needs_none = data.get("game") in NEED_NO_DEFENSES
    runs_none = needs_none or data.get("filters") or data.get("recipes")
    if not data.get("defenses") and not runs_none:
        raise SpecError(
            f"there is no [[defenses]] table. Known defenses: "
            f"{', '.join(catalog.names('defenses'))}."
        )
    own = {"victim", "trusted", "seeds", "defenses", "detectors", "self_poisoning", "compute"}
    own |= {"filters", "recipes"}
    rest = {k: data[k] for k in data if k not in own}
    recipes = tuple(recipe_of(table("recipes", r)) for r in _tables("recipes", data))
    sweep = Sweep(
        **{"name": name, **rest},
        victims=victims_of(with_trainings(table("victim", data["victim"]), recipes), folder),
        trusted=tuple(
            dict.fromkeys(
                number("trusted", r) for r in listed("trusted", data.get("trusted", 0.05))
            )
        ),
        seeds=tuple(dict.fromkeys(seed("seeds", s) for s in listed("seeds", data.get("seeds", 0)))),
        defenses=defenses_of(data),
        detectors=tuple(_detector(table("detectors", d)) for d in _tables("detectors", data)),
        filters=tuple(filter_of(table("filters", f)) for f in _tables("filters", data)),
        recipes=recipes,
        self_poisoning=tuple(
            table("self_poisoning", p)
            for p in _few(
                "self_poisoning", listed("self_poisoning", data.get("self_poisoning", {}))
            )
        ),
        one_at_a_time=data["victim"].get("strategy") == "one_at_a_time",
        compute=compute_of(table("compute", data.get("compute", {}))),
    )
    _check(sweep)
    return sweep


def _check(sweep: Sweep) -> None:
    hints = get_type_hints(Sweep)
    for f in fields(Sweep):
        hint = hints[f.name]
        if hint in {str, bool} and not isinstance(getattr(sweep, f.name), hint):
            raise SpecError(f"{f.name} must be {ACCEPTED[hint]}, got {getattr(sweep, f.name)!r}.")
    if not sweep.name.isprintable() or not 0 < len(sweep.name) <= 100:
        raise SpecError("name must have 1 to 100 characters, all printable.")
    check_game(sweep)
    for r in sweep.trusted:
        if not 0 < r <= 1:
            hint = f" It is a fraction: write {r / 100:g} for {r:g} %." if 1 < r <= 100 else ""
            raise SpecError(f"trusted (r) must lie in (0, 1], got {r:g}.{hint}")
    _check_copies(sweep)
    names = [d.name for d in sweep.defenses]
    for repair in chain.from_iterable(d.repairs for d in sweep.detectors):
        one_of("defense in repairs", repair, names)


def _check_copies(sweep: Sweep) -> None:
    """How many copies, and how each is poisoned."""
    tuning = catalog.resolve("games", MethodConfig("tuning", table("tuning", sweep.tuning)))
    copies = int(tuning.params["copies"])
    if copies > MOST_COPIES:
        raise SpecError(f"tuning: copies must be at most {MOST_COPIES}, got {copies}.")
    for setting in ("reconstruct", "mirrored") if tuning.params["cost"] == "copies" else ():
        if tuning.params[setting]:
            raise SpecError(
                f'tuning: {setting} measures the given model: it needs cost = "given" or "both".'
            )
    if tuning.params["smooth"] and not tuning.params["reconstruct"]:
        raise SpecError(
            "tuning: smooth looks for more triggers to reconstruct: it needs reconstruct = true."
        )
    for self_poisoning in () if sweep.game in OWN_POISON else sweep.self_poisoning:
        if "copy" in self_poisoning:
            raise SpecError(
                "self_poisoning: copy is numbered by the sweep; set how many with tuning.copies."
            )
        game = catalog.resolve("games", MethodConfig("self_poison", self_poisoning))
        attack = str(game.params["attack"])
        if attack not in (MIXED, *KINDS):
            _plain(attack)


def _plain(attack: str) -> None:
    """Raises SpecError for an attack that no copy can be given."""
    if catalog.describe("attacks", attack).verb == "craft":
        raise SpecError(
            f"self_poisoning: {attack} crafts its trigger against a model of its own, which copies "
            f"have none of. Plant another attack, or {MIXED}."
        )


def defenses_of(data: Mapping[str, Any]) -> tuple[Defense, ...]:
    """The tables [[defenses]]. Raises SpecError for what they may not hold."""
    return tuple(_defense(table("defenses", d)) for d in _tables("defenses", data))


def _defense(data: Mapping[str, Any]) -> Defense:
    defense = typed(Defense, "defenses", data)
    catalog.describe("defenses", defense.name)
    catalog.describe("spaces", defense.name)
    check_search("defense", defense)
    one_of("profile", defense.profile, ["cifar10", "imagenet", "small"])
    for objective in defense.objectives:
        one_of("objective", objective, list(OBJECTIVES))
    if not defense.objectives:
        raise SpecError(f"defense {defense.name}: objectives must not be empty.")
    catalog.resolve("defenses", MethodConfig(defense.name, defense.fixed))
    return defense


def _detector(data: Mapping[str, Any]) -> Detector:
    detector = typed(Detector, "detectors", data)
    catalog.describe("detectors", detector.name)
    one_of("profile", detector.profile, ["cifar10", "imagenet", "small"])
    if detector.limit < 1:
        raise SpecError(
            f"detector {detector.name}: limit must be at least 1, got {detector.limit}."
        )
    catalog.resolve("detectors", MethodConfig(detector.name, detector.fixed))
    return detector


def _tables(key: str, data: Mapping[str, Any]) -> list[Any]:
    return _few(key, listed(key, data[key]) if data.get(key) else [])


def _few(key: str, found: list[Any]) -> list[Any]:
    if len(found) > MOST_TABLES:
        raise SpecError(f"there are {len(found)} tables of {key}; at most {MOST_TABLES} are taken.")
    return found
