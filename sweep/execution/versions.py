"""What code and libraries a process has, so that the numbers of two versions are never mixed in
silence.
"""

import functools
import hashlib
import importlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from trials.provenance import LIBRARIES, of_code
from trials.spec import SpecError

PACKAGES = ("trials", "search_spaces", "results", "sweep")  # the packages of poisonsweep
_SAME = "Install the same version on every node, or send this one with --ship."
Facts = Mapping[str, str]


@functools.cache
def here() -> Facts:
    """The version of poisonsweep, of Python and the libraries, and digests of the code and a user's
    own methods.
    """
    return {"methods": "none", **of_code(), "code": _digest()}


def must_match(node: str, theirs: Facts) -> None:
    """Raises SpecError with one line where a node has another poisonsweep than this process, or
    other own methods.
    """
    ours = here()
    if theirs.get("code") != ours["code"]:
        raise SpecError(
            f"the node {node} has another poisonsweep ({_version(theirs)}) than this driver "
            f"({_version(ours)}), so its "
            f"numbers could not be compared. {_SAME}"
        )
    if theirs["methods"] != ours["methods"]:
        raise SpecError(
            f"the node {node} has other methods of its own (digest {theirs['methods']}) than this "
            f"driver ({ours['methods']}). Put the same files into the folder that "
            "POISONSWEEP_METHODS names there, and install the same packages with methods."
        )


def must_be(code: str) -> None:
    """Raises RuntimeError where this process, perhaps on a node that came later, has other code; ""
    is any.
    """
    if code not in {"", here()["code"]}:
        raise RuntimeError(
            f"this node has another poisonsweep (code {here()['code']}) than the driver ({code}). "
            f"{_SAME}"
        )


def notes(nodes: Iterable[tuple[str, Facts]]) -> list[str]:
    """A line for each way in which the libraries of some nodes differ from this process's."""
    ours, alike = here(), defaultdict[str, list[str]](list)
    for node, theirs in nodes:
        other = [name for name in ("python", *LIBRARIES) if theirs.get(name) != ours[name]]
        if other:
            has, had = _versions(other, theirs), _versions(other, ours)
            what = f"has {has}, this driver {had}: the same trial may give other numbers there"
            alike[what].append(node)
    return [f"the node {' and '.join(_few(names))} {what}" for what, names in alike.items()]


def _versions(names: Iterable[str], facts: Facts) -> str:
    return ", ".join(f"{name} {facts.get(name)}" for name in names)


def _few(names: list[str]) -> list[str]:
    return names if len(names) < 3 else [names[0], f"{len(names) - 1} others"]


def _version(facts: Facts) -> str:
    if not facts:
        return "too old to say which"
    return f"{facts['poisonsweep']}, code {facts['code']}"


def _digest() -> str:
    state = hashlib.sha256()
    # each package where it is imported from: code that is sent to a node is not all in one folder
    for package in PACKAGES:
        folder = Path(importlib.import_module(package).__file__ or "").parent
        for file in sorted(folder.rglob("*.py")):
            state.update(f"{package}/{file.relative_to(folder).as_posix()}\0".encode())
            state.update(hashlib.sha256(file.read_bytes()).digest())
    return state.hexdigest()[:16]
