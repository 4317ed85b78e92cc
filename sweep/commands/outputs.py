"""The folder that ``defend`` writes to: what it may be, whose results lie there, and where another
run's go.
"""

import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from results.store import Store
from sweep.execution.driver import release_the_dead
from sweep.spec.compute import Compute
from sweep.spec.sweep_file import Sweep
from trials.provenance import version_of
from trials.spec import SpecError, content_id

GIVEN = "given"  # what was live in a session of Python, as files
WEIGHTS, FOLDER, CHOICE, REPORT, STORE, ARTIFACTS = (
    "repaired.safetensors",
    "repaired",
    "choice.json",
    "report.html",
    "sweep.db",
    "artifacts",
)
KEPT, SCORES, RETRAINED = "kept.txt", "scores.csv", "retrained.safetensors"  # of ``filter``
_RESULTS = (CHOICE, WEIGHTS, FOLDER, REPORT, KEPT, SCORES, RETRAINED)
_WORK = (STORE, f"{STORE}-wal", f"{STORE}-shm", ARTIFACTS)


def url_of(out: Path) -> str:
    """The address of the folder's store."""
    return f"sqlite:///{(out / STORE).resolve()}"


def run_of(sweep: Sweep) -> str:
    """What decides the results: model, images, sweep and version; where files lie and how fast they
    run does not.
    """
    victims = [v.id for v in sweep.victims]
    return content_id(
        [victims, repr(replace(sweep, compute=Compute(), victims=())), version_of("poisonsweep")]
    )


def refuse(out: Path, model: Path, trusted: Path, what: str = "--model") -> None:
    """Raises SpecError for a folder that cannot be written to; makes nothing. ``what`` is the
    option that names ``model``.
    """
    here = out.resolve()
    above = next(p for p in (here, *here.parents) if p.exists())
    if not above.is_dir():
        raise SpecError(
            f"--out {str(out)!r} cannot be written: {str(above)!r} is a file. Name a folder."
        )
    if not os.access(above, os.W_OK | os.X_OK):
        raise SpecError(
            f"--out {str(out)!r} cannot be written: you have no right to write to {str(above)!r}."
        )
    if here.is_relative_to(trusted.resolve()):
        raise SpecError(
            f"--out {str(out)!r} lies in --trusted, where it would be taken for images. Name "
            "another folder."
        )
    given = model.resolve()
    if model.is_dir() and here.is_relative_to(given):
        raise SpecError(
            f"--out {str(out)!r} lies in {what}, of which it would become a part. Name another "
            "folder."
        )
    if given.is_relative_to(here) and given.relative_to(here).parts[0] in (*_RESULTS, *_WORK):
        raise SpecError(
            f"{what} {str(model)!r} is one of the files that --out gets. Name another folder for "
            "--out."
        )


def settle(out: Path, sweep: Sweep, run: str, earlier: str | None) -> Path | None:
    """Make the folder, and set aside in ``previous-N`` what another run left there; returns where,
    None for nothing.

    A run goes on with what it left itself. Results of another sweep on the same model and images
    are set aside, and its records are used; those of another model or other images are set aside
    too.

    Args:
        out: the folder.
        sweep: the sweep that is to run.
        run: its ``run_of``.
        earlier: the ``run_of`` that the folder's choice names; None where there is none.

    Raises:
        SpecError: the folder cannot be written, or a run that is to be set aside is going on.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / ".write").touch()
        (out / ".write").unlink()
        names = [*(_RESULTS if earlier != run else ()), *(() if _same_model(out, sweep) else _WORK)]
        there = [n for n in names if (out / n).exists()] + _strays(out, sweep)
        if not there:
            return None
        moved_to = _next(out)
        for name in there:
            (moved_to / name).parent.mkdir(exist_ok=True)
            (out / name).rename(moved_to / name)
        with contextlib.suppress(OSError):  # some of it is of this run, or there is none
            (out / GIVEN).rmdir()
    except OSError as problem:
        raise SpecError(
            f"--out {str(out)!r} cannot be written: {problem.strerror or problem}."
        ) from problem
    return moved_to


def _strays(out: Path, sweep: Sweep) -> list[str]:
    """What a call on another live model or other live images wrote down."""
    named = set[str]()
    for victim in sweep.victims:
        for part in (victim.model, victim.training, victim.dataset):
            named.update(map(str, part.params.values()))
    files = sorted((out / GIVEN).glob("*"))
    return [f"{GIVEN}/{file.name}" for file in files if str(file.resolve()) not in named]


def earlier(out: Path) -> str | None:
    """The run that the folder's choice is of; None where there is none, or it cannot be read."""
    try:
        told = json.loads((out / CHOICE).read_text())
    except (OSError, ValueError, RecursionError):
        return None
    run = told.get("run") if isinstance(told, dict) else None
    return run if isinstance(run, str) else None


def _same_model(out: Path, sweep: Sweep) -> bool:
    """False where the folder's store was made for another model, or for other images."""
    if not (out / STORE).exists():
        return True
    victims = {v.id for v in sweep.victims}
    with Store.open(url_of(out), create=False) as store:
        if all(_victims(row.spec) <= victims for row in store.sweeps()):
            return True
        release_the_dead(store)
        if store.owners():
            raise SpecError(
                f"another run on another model is going on in --out {str(out)!r}. Name another "
                "folder."
            )
    return False


def _victims(spec: Any) -> set[str]:
    found = spec.get("victims", []) if isinstance(spec, dict) else []
    return set(map(str, found))


def _next(out: Path) -> Path:
    number = 1
    while (moved_to := out / f"previous-{number}").exists():
        number += 1
    moved_to.mkdir()
    return moved_to
