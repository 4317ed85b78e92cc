"""What waits for a GPU: which pieces are open, their estimated minutes, and the next ones run
within a budget.

    python -m benchmarks.queue                        lists the pieces of benchmarks/queue.toml
    python -m benchmarks.queue --minutes 9            runs the next open ones for so long
    python -m benchmarks.queue --minutes 9 --only table3-badnets
    python -m benchmarks.queue --minutes 9 --only 'blind-*' --at-a-time 8

A piece is a sweep or a program. A sweep runs without Ray in a store of its own under --work, stops
when the time is over and goes on the next time; once all its trials have run, its records are
written to benchmarks/results/, from where ``poisonsweep import`` reads them. Pieces that ran on
different machines add up by ``poisonsweep merge``. Small networks leave a GPU waiting for Python:
``--at-a-time`` runs as many pieces side by side, each in processes of its own.
"""

import argparse
import fnmatch
import json
import math
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, product
from pathlib import Path
from typing import Any

import torch

from benchmarks._shared import OUTPUT, ROOT, TINY, parsed, refusing
from results.export.frames import to_file
from results.store import Store
from sweep.commands.run import run_for
from sweep.execution import stops
from sweep.spec import sweep_file
from sweep.spec.sweep_file import Sweep
from trials.spec import SpecError

QUEUE = ROOT / "benchmarks" / "queue.toml"
TINY_QUEUE = ROOT / "benchmarks" / "queue_tiny.toml"
PLACES = ("queue", "work", "results")
LEAST = 5.0  # seconds that are worth beginning a piece for
HOW = {"use_ray": False, "address": None, "ship": False, "retry_failed": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One measurement.

    Attributes:
        name: unique in the queue.
        gives: what it tells.
        file: in benchmarks/results/.
        minutes: estimated, on one GPU.
        table: of its sweep; None where there is none yet.
        program: in place of a sweep, a module and its words; ``--out FILE`` is added to them.
        waits: for what, where it cannot run yet.
    """

    name: str
    gives: str
    file: str
    minutes: float
    table: Mapping[str, Any] | None
    waits: str = ""
    program: str = ""

    def sweep(self) -> Sweep:
        """Raises SpecError for a table that is no sweep's."""
        return sweep_file.parse({**(self.table or {}), "name": self.name}, self.name, ROOT)


def pieces(queue: Path) -> tuple[list[Piece], bool]:
    """The pieces in order, and whether they want a GPU.

    Raises SpecError where the file cannot be read.
    """
    data = sweep_file.table_of(queue)
    found = list(chain.from_iterable(map(_each, data["piece"])))
    names = [p.name for p in found]
    if len(set(names)) < len(names):
        raise SpecError(f"{queue}: a name of a piece is there twice.")
    return found, bool(data["gpu"])


def _each(entry: Mapping[str, Any]) -> Iterator[Piece]:
    """The pieces of one entry: one for each combination of the values under ``each``."""
    keys = entry.get("each", {})
    for values in product(*keys.values()):
        told = dict(zip(keys, values, strict=True))
        base = ROOT / entry["sweep"] if "sweep" in entry else None
        there = base is not None and base.exists()
        able = there or "program" in entry
        waits = entry.get("waits", "" if able else f"the file {entry.get('sweep')}")
        changes = _filled(entry.get("with", {}), told)
        yield Piece(
            name=entry["name"].format(**told),
            gives=entry["gives"],
            file=entry["file"].format(**told),
            minutes=entry["minutes"],
            table=_changed(sweep_file.table_of(base), changes) if base and there else None,
            waits=waits,
            program=entry.get("program", "").format(**told),
        )


def _filled(value: Any, told: Mapping[str, Any]) -> Any:
    """The same with each value in the place of its key."""
    if isinstance(value, Mapping):
        return {k: _filled(v, told) for k, v in value.items()}
    if isinstance(value, list):
        return [_filled(v, told) for v in value]
    return told.get(value[1:], value) if isinstance(value, str) and value[:1] == "$" else value


def _changed(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A table with some keys changed; tables in it are changed likewise."""
    found = dict(table)
    for key, value in changes.items():
        old = found.get(key)
        deeper = isinstance(old, Mapping) and isinstance(value, Mapping) and "name" not in value
        found[key] = _changed(old, value) if deeper else value  # type: ignore[arg-type]
    return found


def run(piece: Piece, seconds: float, work: Path, results: Path) -> int | None:
    """Run a piece for so many seconds at most; its records, of a program 1, or None where it has
    not ended.

    Raises:
        SpecError: it cannot run.
        Aborted: too many of its trials failed.
    """
    if piece.program:
        return _run_program(piece, seconds, work, results)
    url, sweep = f"sqlite:///{work / piece.name}.db", piece.sweep()
    try:
        with stops.listening():
            run_for(seconds, sweep, url, str(work / "artifacts"), {**HOW, "replace_sweep": False})
    except stops.TimeUp as over:
        print(f"{piece.name}: {over}", flush=True)
        return None
    with Store.read(url) as store:
        records = store.records(sweep.name)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        written = to_file(records, Path(folder, piece.file), sweep.name)
        results.mkdir(exist_ok=True)
        shutil.copy(written, results)
        shutil.copy(Path(folder, piece.file), results)  # last: a piece with this file is done
    failed = sum(r.status == "failed" for r in records)
    print(f"{piece.name}: {len(records)} records, {failed} failed, in {results / piece.file}")
    return len(records)


def _run_program(piece: Piece, seconds: float, work: Path, results: Path) -> int | None:
    """The same for a program, which begins anew the next time if it has not ended."""
    made = work.resolve() / piece.file
    for left in beside(made):
        left.unlink()
    words = [sys.executable, "-m", *shlex.split(piece.program), "--out", str(made)]
    try:
        subprocess.run(words, cwd=ROOT, timeout=seconds, check=True)
    except subprocess.TimeoutExpired:
        print(f"{piece.name}: stopped after {seconds:g} s, and nothing is kept", flush=True)
        return None
    except subprocess.CalledProcessError as problem:
        raise SpecError(f"{piece.program} ended with code {problem.returncode}.") from problem
    if not made.exists():
        raise SpecError(f"{piece.program} ended without writing {made.name}.")
    results.mkdir(exist_ok=True)
    for file in beside(made):
        shutil.copy(file, results)
    return 1


def beside(made: Path) -> list[Path]:
    """What the program wrote beside its file, and last that, as far as they are there."""
    return [*made.parent.glob(f"{made.stem}.*.csv"), *made.parent.glob(made.name)]


def listed(found: Sequence[Piece], results: Path) -> None:
    """Print what is done, open, and waiting."""
    for p in found:
        done = (results / p.file).exists()
        state = "done" if done else f"waits for {p.waits}" if p.waits else "open"
        print(f"{p.name:20} {p.minutes:6g} min  {state:12} {p.gives}")
    left = [p for p in found if not (results / p.file).exists()]
    able = [p for p in left if not p.waits]
    minutes = sum(p.minutes for p in able)
    print(
        f"{len(able)} of {len(found)} pieces are open, about {minutes:g} minutes; "
        f"{len(left) - len(able)} wait for something else."
    )


def run_next(
    found: Sequence[Piece], seconds: float, work: Path, results: Path, only: str = ""
) -> dict[str, int | None]:
    """Run the wanted pieces in order while there is time; their records by name."""
    until, ran = time.monotonic() + seconds, dict[str, int | None]()
    for piece in wanted(found, results, only):
        left = until - time.monotonic()
        if left >= LEAST:
            try:
                ran[piece.name] = run(piece, left, work, results)
            except SpecError as problem:
                if piece.name == only:
                    raise
                print(f"{piece.name} is passed over: {problem}", flush=True)
    return ran


def wanted(found: Sequence[Piece], results: Path, only: str = "") -> list[Piece]:
    """The pieces that are open, of those that ``only`` matches; one that it names, done or not."""
    able = [p for p in found if not p.waits and fnmatch.fnmatchcase(p.name, only or "*")]
    return [p for p in able if p.name == only or not (results / p.file).exists()]


def run_side_by_side(able: Sequence[Piece], number: int, seconds: float, words: list[str]) -> None:
    """Run pieces, so many at a time, each by a call of this program with these words.

    Raises SpecError for calls that failed, once all have ended.
    """
    until = time.monotonic() + seconds

    def failed(piece: Piece) -> bool:
        left = until - time.monotonic()
        here = [sys.executable, "-m", "benchmarks.queue", "--only", piece.name]
        call = [*here, "--minutes", f"{left / 60}", *words]
        return left >= LEAST and subprocess.run(call, cwd=ROOT, check=False).returncode != 0

    with ThreadPoolExecutor(number) as pool:
        lost = [p.name for p, bad in zip(able, pool.map(failed, able), strict=True) if bad]
    if lost:
        raise SpecError(f"of the pieces these failed: {', '.join(lost)}.")


def main() -> None:
    """List the pieces, or run the next ones."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--minutes", type=float, help="run the next open pieces for so long")
    words.add_argument(
        "--only",
        default="",
        help="this piece alone, done before or not; or a pattern, as 'table3-*', of open ones",
    )
    words.add_argument("--at-a-time", type=int, default=1, help="pieces side by side")
    words.add_argument("--queue", type=Path, default=QUEUE)
    words.add_argument("--work", type=Path, default=Path("runs/queue"), help="stores and weights")
    words.add_argument("--results", type=Path, default=OUTPUT)
    asked = parsed(words, queue=TINY_QUEUE, minutes=2)
    with refusing("queue"):
        _main(asked)


def _main(asked: argparse.Namespace) -> None:
    found, gpu = pieces(asked.queue)
    if asked.only and not fnmatch.filter([p.name for p in found], asked.only):
        raise SpecError(f"there is no piece {asked.only!r} in {asked.queue}.")
    if asked.at_a_time < 1:
        raise SpecError(f"--at-a-time must be at least 1, got {asked.at_a_time}.")
    if asked.minutes is None:
        listed(found, asked.results)
        return
    if not 0 < asked.minutes < math.inf:
        raise SpecError(f"--minutes must be more than 0, got {asked.minutes:g}.")
    if gpu and not torch.cuda.is_available():
        raise SpecError("these pieces want a GPU, and there is none here.")
    if not asked.tiny:
        asked.work.mkdir(parents=True, exist_ok=True)
        if asked.at_a_time > 1:
            words = [f"--{name}={getattr(asked, name).resolve()}" for name in PLACES]
            able = wanted(found, asked.results, asked.only)
            try:
                run_side_by_side(able, asked.at_a_time, 60 * asked.minutes, words)
            finally:
                listed(found, asked.results)
            return
        run_next(found, 60 * asked.minutes, asked.work, asked.results, asked.only)
        listed(found, asked.results)
        return
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results")
        ran = run_next(found, 60 * asked.minutes, Path(folder), results)
        listed(found, results)
        sizes = {p.name: (results / p.file).stat().st_size for p in found if p.name in ran}
    print(f"{TINY}{json.dumps({'records': ran, 'bytes': sizes})}")


if __name__ == "__main__":
    main()
