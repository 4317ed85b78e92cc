"""The methods of each kind: their names, what they declare, and their functions."""

import importlib
from collections.abc import Callable
from typing import Any

from trials.catalog.method_files import files_of
from trials.catalog.method_kinds import KINDS, unknown
from trials.catalog.signatures import Method, read
from trials.spec import SpecError


def names(kind: str) -> list[str]:
    """The methods of a kind, sorted: its public files.

    Raises SpecError for what ``POISONSWEEP_METHODS`` or an installed package has wrong.
    """
    return sorted(files_of(kind))


def find(kind: str, name: str) -> Callable[..., Any]:
    """The method's function; imports its module. Raises SpecError for an unknown name."""
    method = describe(kind, name)
    module = importlib.import_module(files_of(kind)[name].module)
    function: Callable[..., Any] = getattr(module, method.verb)
    return function


def find_check(kind: str, name: str) -> Callable[..., None] | None:
    """The function ``check`` of a method's file, which refuses settings before anything runs; None
    where it has none. Imports its module.
    """
    describe(kind, name)
    module = importlib.import_module(files_of(kind)[name].module)
    check: Callable[..., None] | None = getattr(module, "check", None)
    return check


def describe(kind: str, name: str) -> Method:
    """What a method's file says of itself, without importing it.

    Raises SpecError for an unknown name.
    """
    if kind not in KINDS:
        raise SpecError(unknown("kind", kind, list(KINDS)))
    if name not in names(kind):
        raise SpecError(unknown(kind.removesuffix("s"), name, names(kind)))
    path = files_of(kind)[name].path
    try:
        return read(kind, name, path)
    except (LookupError, SyntaxError, ValueError) as problem:
        raise SpecError(f"{path}: not a method that can be used: {problem}.") from problem
