"""The one registry: a method's name is its file's name, its settings are its keyword-only
arguments.

Reads the source with ``ast`` instead of importing it, so listing, planning and checking a sweep
costs no torch import and runs no method's code. ``find`` imports the one module that a trial names.

A file may declare, as constants:
    COMPARES = True: a detector that is given the repaired model beside the suspect; without it, the
        detector runs on a model once, and gets the suspect itself in the repaired one's place.
    NEEDS = frozenset({"stages"}): what a defense or detector needs of a model, names in ``NEEDS``
        here. A sweep that puts it on a model without is refused before anything runs.
    ADDED_LATER = frozenset({"clip"}): settings that the method was given after results were stored
        with it. At their default, which stands for what was done before, they stay out of the id.
"""

import ast
import difflib
import importlib
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from trials import spec
from trials.digests import digest_of
from trials.guarded import open_to_others
from trials.spec import Location, MethodConfig, Range, Scalar, SpecError, Trial, Victim

# kind -> (package, verbs): the first verb that a file defines is its one public function
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "datasets": ("trials.datasets", ("load",)),
    "models": ("trials.models", ("build",)),
    "recipes": ("trials.recipes", ("fit",)),
    "attacks": ("trials.attacks", ("poison", "implant")),
    "defenses": ("trials.defenses", ("repair",)),
    "detectors": ("trials.detectors", ("score",)),
    "games": ("trials.games", ("play",)),
    "spaces": ("search_spaces", ("space",)),
    "detector_spaces": ("search_spaces.detectors", ("space",)),
}
# folders of a user's own methods, separated as in PATH; their code is run
OWN = "POISONSWEEP_METHODS"
# what a defense or detector may need of a model (trials.classifier finds it)
NEEDS = ("head", "norms", "prunable", "stages", "trained_head")
_DECLARED = ("ADDED_LATER", "COMPARES", "NEEDS")
_PLAIN: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}
_ALIASES = {n: v for n, v in vars(spec).items() if get_origin(v) is Annotated}


@dataclass(frozen=True, slots=True)
class Setting:
    """One keyword-only argument of a method."""

    name: str
    type: type
    default: Scalar
    range: Range | None = None
    choices: tuple[str, ...] = ()
    location: bool = False
    doc: str = ""

    @property
    def accepts(self) -> str:
        if self.choices:
            return "one of " + ", ".join(map(repr, self.choices))
        if self.location:
            return "a file or folder that exists"
        return {int: "an integer", float: "a number", bool: "true or false", str: "a string"}[
            self.type
        ] + (f" in {self.range}" if self.range else "")


@dataclass(frozen=True, slots=True)
class Method:
    """What a file says of itself: first line, source, deviation, settings."""

    kind: str
    name: str
    verb: str
    summary: str
    source: str
    deviation: str
    settings: Mapping[str, Setting]
    compares: bool = False  # a detector that is given the repaired model too (COMPARES = True)
    needs: frozenset[str] = frozenset()  # what it needs of a model (NEEDS)
    added_later: frozenset[str] = frozenset()  # settings that stay out of the id at their default


def names(kind: str) -> list[str]:
    """The methods of a kind, sorted: its public files.

    Raises SpecError for what ``POISONSWEEP_METHODS`` has wrong.
    """
    return sorted(_files(kind))


def find(kind: str, name: str) -> Callable[..., Any]:
    """The method's function; imports its module. Raises SpecError for an unknown name."""
    method = describe(kind, name)
    function: Callable[..., Any] = getattr(
        importlib.import_module(f"{KINDS[kind][0]}.{name}"), method.verb
    )
    return function


def describe(kind: str, name: str) -> Method:
    """What a method's file says of itself, without importing it.

    Raises SpecError for an unknown name.
    """
    if kind not in KINDS:
        raise SpecError(unknown("kind", kind, list(KINDS)))
    if name not in names(kind):
        raise SpecError(unknown(kind.removesuffix("s"), name, names(kind)))
    return _read(kind, name)


def resolve(kind: str, choice: MethodConfig) -> MethodConfig:
    """The same choice with every default written out, each value checked, and files' digests filled
    in.

    Raises:
        SpecError: unknown method or setting, a value of the wrong type or out of range, a file that
            is not there.
    """
    method = describe(kind, choice.name)
    for key in choice.params:
        if key not in method.settings:
            raise SpecError(unknown(f"setting of {choice.name}", key, list(method.settings)))
    params: dict[str, Scalar] = {}
    files: dict[str, str] = {}
    for key, setting in sorted(method.settings.items()):
        value = _checked(choice.name, setting, choice.params.get(key, setting.default))
        if key in method.added_later and value == setting.default:
            continue
        if setting.location and value != "":
            value, files[key] = _located(choice.name, key, str(value))
        params[key] = value
    return MethodConfig(choice.name, params, files)


def resolve_victim(victim: Victim) -> Victim:
    """The victim with every choice resolved."""
    return Victim(
        dataset=resolve("datasets", victim.dataset),
        model=resolve("models", victim.model),
        attacks=tuple(resolve("attacks", a) for a in victim.attacks),
        training=resolve("recipes", victim.training),
        seed=victim.seed,
        reserve=victim.reserve,
        filter=resolve("filters", victim.filter) if victim.filter else None,
    )


def resolve_trial(trial: Trial) -> Trial:
    """The trial with every choice resolved; only a resolved trial's id is compared."""
    return Trial(
        game=resolve("games", trial.game),
        victim=resolve_victim(trial.victim),
        method=resolve("defenses", trial.method) if trial.method else None,
        trusted=float(trial.trusted),
        seed=trial.seed,
        self_poisoning=resolve("games", trial.self_poisoning) if trial.self_poisoning else None,
        detector=resolve("detectors", trial.detector) if trial.detector else None,
    )


def unknown(what: str, given: str, known: list[str]) -> str:
    """One line for a name that is not known, with the nearest that is."""
    near = difflib.get_close_matches(str(given), known, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {what} {given!r}.{hint} Known: {', '.join(known) or 'none'}."


def _checked(method: str, setting: Setting, value: object) -> Scalar:
    wanted = setting.type
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    fits = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
    if fits and setting.choices:
        fits = value in setting.choices
    if fits and setting.range is not None:
        fits = value in setting.range  # type: ignore[operator]
    if fits and wanted is float:
        fits = abs(value) != float("inf") and value == value  # type: ignore[arg-type]
    if not fits:
        raise SpecError(f"{method}: {setting.name} must be {setting.accepts}, got {value!r}.")
    return value  # type: ignore[return-value]


def _located(method: str, key: str, value: str) -> tuple[str, str]:
    try:
        path = Path(os.path.expandvars(value)).expanduser()
        if "$" in str(path):
            variable = str(path).split("$", 1)[1].split("/")[0].strip("{}")
            raise SpecError(
                f"{method}: {key} is {value!r}, but {variable} is not set. Set it, or write {key} "
                "= a path."
            )
        if not path.exists():
            raise SpecError(f"{method}: {key} names {str(path)!r}, which does not exist.")
        if not (path.is_file() or path.is_dir()):  # a pipe or a device would be read for ever
            raise SpecError(
                f"{method}: {key} names {str(path)!r}, which is neither a file nor a folder."
            )
        str(path.resolve()).encode()  # a store holds text
        return str(path.resolve()), _digest(path.resolve(), path.stat().st_mtime_ns)
    except UnicodeEncodeError as problem:
        raise SpecError(
            f"{method}: {key} names {value!r}, which is no text. Rename it."
        ) from problem
    except (
        OSError,
        RuntimeError,
    ) as problem:  # RuntimeError: no such user's home, links or folders without end
        raise SpecError(
            f"{method}: {key} is {value!r}, which cannot be read: {problem}."
        ) from problem


@lru_cache(256)
def _digest(path: Path, changed: int) -> str:
    """The digest, once a process for a path that stays as it is."""
    return digest_of(path)


def own_folders() -> list[Path]:
    """The folders with a user's own methods, laid out like ``trials/``.

    Raises:
        SpecError: one is not there, or another user could put code into it.
    """
    folders = [Path(f) for f in os.environ.get(OWN, "").split(os.pathsep) if f]
    for folder in folders:
        if not folder.is_absolute() or not folder.is_dir():
            raise SpecError(
                f"{OWN} names {str(folder)!r}: it must be the absolute path of a folder."
            )
        if why := _open_to_others(folder):
            raise SpecError(f"{OWN} names {str(folder)!r}, whose code would run as you, but {why}")
    return folders


_open_to_others = lru_cache(open_to_others)  # looked at once a process


@lru_cache
def _files(kind: str) -> dict[str, Path]:
    """A kind's public files by name, in its package and in the user's own folders, which its
    package then imports.
    """
    package = importlib.import_module(KINDS[kind][0])
    inside = KINDS[kind][0].removeprefix("trials.").replace(".", "/")
    own = [str(folder / inside) for folder in own_folders()]
    package.__path__ += [folder for folder in own if folder not in package.__path__]
    found: dict[str, Path] = {}
    files = chain.from_iterable(Path(folder).glob("[!_]*.py") for folder in package.__path__)
    for file in files:
        if file.stem in found:
            raise SpecError(
                f"{OWN}: {str(file)!r} has the name of {str(found[file.stem])!r}. Rename one."
            )
        found[file.stem] = file
    return found


def _read(kind: str, name: str) -> Method:
    path = _files(kind)[name]
    try:
        return _parsed(kind, name, path)
    except (LookupError, SyntaxError, ValueError) as problem:
        raise SpecError(f"{path}: not a method that can be used: {problem}.") from problem


@lru_cache
def _parsed(kind: str, name: str, path: Path) -> Method:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    verb = next((v for v in KINDS[kind][1] if v in functions), None)
    if verb is None:
        raise LookupError(f"{path} defines none of {KINDS[kind][1]}")
    node = functions[verb]
    text = ast.get_docstring(tree) or ""
    docs = _argument_docs(ast.get_docstring(node) or "")
    pairs = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    settings = {a.arg: _setting(path, a, d, docs.get(a.arg, "")) for a, d in pairs}
    constants = _constants(tree)
    return Method(
        kind,
        name,
        verb,
        " ".join(text.partition("\n\n")[0].split()),
        _paragraph(text, "Source"),
        _paragraph(text, "Deviation"),
        settings,
        compares=bool(constants.get("COMPARES", False)),
        needs=_names("NEEDS", constants, NEEDS),
        added_later=_names("ADDED_LATER", constants, settings),
    )


def _constants(tree: ast.Module) -> dict[str, Any]:
    """What a file declares of itself: its constants of these names, which are literals."""
    found: dict[str, Any] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Name) and target.id in _DECLARED:
            assert isinstance(node, ast.Assign)
            call = node.value
            inner = call.args[0] if isinstance(call, ast.Call) and call.args else call
            found[target.id] = ast.literal_eval(inner)
    return found


def _names(constant: str, constants: Mapping[str, Any], known: Collection[str]) -> frozenset[str]:
    """The names in a declared set. Raises LookupError for one that is not known."""
    found = frozenset(constants.get(constant, ()))
    for name in sorted(found - frozenset(known)):
        raise LookupError(f"{constant}: {unknown('name', name, sorted(known))}")
    return found


def _setting(path: Path, arg: ast.arg, default: ast.expr | None, doc: str) -> Setting:
    if default is None or arg.annotation is None:
        raise LookupError(f"{path}: setting {arg.arg} needs an annotation and a default")
    value = ast.literal_eval(default)
    if isinstance(arg.annotation, ast.Subscript):  # Literal["a", "b"]
        options = ast.literal_eval(arg.annotation.slice)
        options = options if isinstance(options, tuple) else (options,)
        return Setting(arg.arg, str, value, choices=options, doc=doc)
    name = ast.unparse(arg.annotation)
    if name in _PLAIN:
        return Setting(arg.arg, _PLAIN[name], value, doc=doc)
    base, note = get_args(_ALIASES[name])
    if _ALIASES[name] is Location:
        return Setting(arg.arg, str, value, location=True, doc=doc)
    return Setting(arg.arg, base, value, range=note, doc=doc)


def _argument_docs(doc: str) -> dict[str, str]:
    """``name: text`` entries of a Google-style ``Args:`` section, joined to one line each."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)*)", doc, re.M)
    if not section:
        return {}
    entries = re.findall(r"^    (\w+): (.*(?:\n {6,}.*)*)", section.group(1), re.M)
    return {name: " ".join(text.split()) for name, text in entries}


def _paragraph(doc: str, head: str) -> str:
    found = re.search(rf"^{head}: (.*(?:\n(?!\w+:|\n).*)*)", doc, re.M)
    return " ".join(found.group(1).split()) if found else ""
