"""Where the files of methods lie: in the package of their kind, in a user's own folders, and in
installed packages that offer them as entry points.
"""

import importlib
import importlib.metadata
import importlib.util
import os
from functools import lru_cache
from importlib.machinery import PathFinder
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from trials.catalog.method_kinds import KINDS
from trials.digests import digest_of
from trials.guarded import open_to_others
from trials.spec import SpecError

# folders of a user's own methods, separated as in PATH; their code is run
OWN = "POISONSWEEP_METHODS"


class MethodFile(NamedTuple):
    """A method's file, the module that it is imported as, and whose it is."""

    path: Path
    module: str
    owner: str  # POISONSWEEP_METHODS, or an installed package with its version


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


def own_code() -> list[str]:
    """What identifies the code of a user's own methods: digests of their files, and the packages
    with their versions. Empty where there are only ours.
    """
    files = chain.from_iterable(sorted(folder.rglob("*.py")) for folder in own_folders())
    installed = chain.from_iterable(_installed(kind).values() for kind in KINDS)
    packaged = [f"{file.owner} {digest_of(file.path)}" for file in installed]
    return [*map(digest_of, files), *packaged]


@lru_cache
def files_of(kind: str) -> dict[str, MethodFile]:
    """A kind's public files by name: in its package, in the user's own folders, which its package
    then imports, and in installed packages.
    """
    package = importlib.import_module(KINDS[kind][0])
    inside = KINDS[kind][0].removeprefix("trials.").replace(".", "/")
    own = [str(folder / inside) for folder in own_folders()]
    package.__path__ += [folder for folder in own if folder not in package.__path__]
    paths = chain.from_iterable(Path(folder).glob("[!_]*.py") for folder in package.__path__)
    lying = ((p.stem, MethodFile(p, f"{package.__name__}.{p.stem}", OWN)) for p in paths)
    found: dict[str, MethodFile] = {}
    for name, file in chain(lying, _installed(kind).items()):
        if name in found:
            raise SpecError(
                f"{file.owner}: {str(file.path)!r} has the name of {str(found[name].path)!r}. "
                "Rename one."
            )
        found[name] = file
    return found


@lru_cache
def _installed(kind: str) -> dict[str, MethodFile]:
    """The methods that installed packages offer in the group ``poisonsweep.KIND``."""
    found: dict[str, MethodFile] = {}
    for entry in importlib.metadata.entry_points(group=f"poisonsweep.{kind}"):
        owner = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a package"
        module, _, attribute = entry.value.partition(":")
        path = None if attribute else _source_of(module)
        if path is None or not entry.name.isidentifier() or entry.name.startswith("_"):
            raise SpecError(
                f"the package {owner} has the entry point {entry.name} = {entry.value!r} in "
                f"{entry.group}: it must be a method's name and a module, as in "
                "my_method = my_package.my_method. Mend or remove that package."
            )
        if entry.name in found:
            raise SpecError(
                f"{owner} and {found[entry.name].owner} both have {entry.name} in {entry.group}. "
                "Remove one of these packages."
            )
        found[entry.name] = MethodFile(path, module, owner)
    return found


def _source_of(module: str) -> Path | None:
    """The file of a module, of which nothing is imported, not even the packages that it lies in."""
    top, *inside = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:
        return None
    name = top
    for part in inside:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    origin = spec.origin if spec else None
    return Path(origin) if origin and origin.endswith(".py") else None
