"""Where the files of methods lie: in the package of their kind, and in a user's own folders."""

import importlib
import os
from functools import lru_cache
from itertools import chain
from pathlib import Path

from trials.catalog.method_kinds import KINDS
from trials.guarded import open_to_others
from trials.spec import SpecError

# folders of a user's own methods, separated as in PATH; their code is run
OWN = "POISONSWEEP_METHODS"


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
def files_of(kind: str) -> dict[str, Path]:
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
