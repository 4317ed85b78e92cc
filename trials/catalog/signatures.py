"""What a method's file says of itself, read from its source without importing it.

A file may declare, as constants:
    COMPARES = True: a detector that is given the repaired model beside the suspect; without it, the
        detector runs on a model once, and gets the suspect itself in the repaired one's place.
    REJECTS = True: a data filter that says itself which rows it would remove, so that a sweep may
        write reject = "own".
    TRIGGERLESS = True: an attack on certain test images as they are; it has no trigger, so no ASR.
    PLAIN = "fast": a recipe that is that one and something against poison besides; an attacker who
        does not know trains as that one, with the settings that both have.
    NEEDS = frozenset({"stages"}): what a defense, detector or filter needs of a model, names in
        ``trials.catalog.NEEDS``. A sweep that puts it on a model without is refused before anything
        runs.
    FAMILY = "pruning": what a defense does, a name in ``trials.catalog.FAMILIES``; "other" without.
    TUNES_BY = frozenset({"lr"}): the learning rates of a defense that tunes the given weights as
        they are; the lower they are, the less it changes the model, and the less it costs.
    LEARNS_BY = frozenset({"steps"}): the lengths of a defense that first draws anew or cuts a part
        of the model, and learns it again; the longer it learns, the less it costs.
    DEFAULTS = {"scheme": {"late": {"steps": 1300}}}: other defaults where a setting has that value.
    ADDED_LATER = frozenset({"clip"}): settings that the method was given after results were stored
        with it. At their default, which stands for what was done before, they stay out of the id.
"""

import ast
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from trials import spec
from trials.catalog.method_kinds import FAMILIES, KINDS, NEEDS, unknown
from trials.spec import ClassMap, Location, Range, Scalar

_DECLARED = (
    "ADDED_LATER",
    "COMPARES",
    "DEFAULTS",
    "FAMILY",
    "LEARNS_BY",
    "NEEDS",
    "PLAIN",
    "REJECTS",
    "REJECTS_BY",
    "TRIGGERLESS",
    "TUNES_BY",
)
Defaults = Mapping[str, Mapping[str, Mapping[str, Scalar]]]
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
    words: tuple[str, ...] = ()  # values of a location that are no path
    doc: str = ""

    def is_path(self, value: object) -> bool:
        """Whether a value of this setting names a file or folder."""
        return self.location and value not in ("", *self.words)

    @property
    def accepts(self) -> str:
        if self.choices:
            return "one of " + ", ".join(map(repr, self.choices))
        if self.location:
            return " or ".join([*map(repr, self.words), "a file or folder that exists"])
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
    triggerless: bool = False  # an attack without a trigger (TRIGGERLESS = True)
    plain: str = ""  # the recipe that an attacker takes a recipe for (PLAIN)
    rejects: bool = False  # a filter that has a rule of its own (REJECTS = True)
    rejects_by: frozenset[str] = frozenset()  # settings that this rule alone reads (REJECTS_BY)
    needs: frozenset[str] = frozenset()  # what it needs of a model (NEEDS)
    added_later: frozenset[str] = frozenset()  # settings that stay out of the id at their default
    family: str = "other"  # of a defense (FAMILY)
    rates: frozenset[str] = frozenset()  # by which a defense costs less (TUNES_BY)
    lengths: frozenset[str] = frozenset()  # the same of its lengths (LEARNS_BY)
    defaults: Defaults = field(default_factory=dict)  # by another setting (DEFAULTS)

    def default_of(self, key: str, given: Mapping[str, Scalar]) -> Scalar:
        """What a setting is that is not given, beside those that are."""
        for decides, by_value in self.defaults.items():
            value = given.get(decides, self.settings[decides].default)
            found = by_value.get(str(value), {})
            if key in found:
                return found[key]
        return self.settings[key].default


@lru_cache
def read(kind: str, name: str, path: Path) -> Method:
    """The method in a file.

    Raises LookupError, SyntaxError or ValueError for what is none.
    """
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
        plain=str(constants.get("PLAIN", "")),
        triggerless=bool(constants.get("TRIGGERLESS", False)),
        rejects=bool(constants.get("REJECTS", False)),
        rejects_by=_names("REJECTS_BY", constants, settings),
        needs=_names("NEEDS", constants, NEEDS),
        added_later=_names("ADDED_LATER", constants, settings),
        family=_family(constants),
        rates=_names("TUNES_BY", constants, [k for k, v in settings.items() if v.type is float]),
        lengths=_names("LEARNS_BY", constants, [k for k, v in settings.items() if v.type is int]),
        defaults=_defaults(constants, settings),
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


def _family(constants: Mapping[str, Any]) -> str:
    """The declared family. Raises LookupError for one that is not known."""
    family = str(constants.get("FAMILY", "other"))
    if family not in FAMILIES:
        raise LookupError(f"FAMILY: {unknown('family', family, list(FAMILIES))}")
    return family


def _defaults(constants: Mapping[str, Any], settings: Mapping[str, Setting]) -> Defaults:
    """The declared defaults. Raises LookupError for a setting, or a choice, that is not known."""
    found: Defaults = constants.get("DEFAULTS", {})
    inner = chain.from_iterable(by_value.values() for by_value in found.values())
    for key in (*found, *chain.from_iterable(inner)):
        if key not in settings:
            raise LookupError(f"DEFAULTS: {unknown('setting', key, list(settings))}")
    for key, by_value in found.items():
        choices = settings[key].choices
        if strange := [value for value in by_value if choices and value not in choices]:
            raise LookupError(f"DEFAULTS: {unknown(key, strange[0], list(choices))}")
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
    if _ALIASES[name] is ClassMap:
        return Setting(arg.arg, str, value, location=True, words=note, doc=doc)
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
