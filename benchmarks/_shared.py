"""What the benchmarks share: a victim made from a sweep's file, the machine's facts, and where
figures go.
"""

import argparse
import contextlib
import csv
import functools
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from sweep.execution.progress import Progress, ProgressReporter
from sweep.planning import expansion
from sweep.spec import sweep_file
from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.run import run
from trials.runtime import TrialRuntime
from trials.spec import MethodConfig, Record, SpecError, Trial
from trials.storage.artifacts import Artifacts

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = Path(__file__).with_name("results")
TINY = "a tiny run, kept nowhere: "
# a small process between: a child's peak is at least what its parent had when it was forked
LOOK = """
import os, sys, time
began = time.perf_counter()
child = os.posix_spawn(
    sys.executable,
    sys.argv[1:],
    os.environ,
    file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)],
)
_, status, used = os.wait4(child, 0)
print(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
_read = functools.lru_cache(sweep_file.read)


def runtime_of(sweep: Sweep, folder: str | Path) -> TrialRuntime:
    """A runtime whose artifacts lie in ``folder``, with the sweep's first victim trained."""
    runtime = TrialRuntime(Artifacts(folder))
    must(run(expansion.victims(sweep)[0], runtime))
    return runtime


def digits(seed: int = 0, *, tiny: bool = False) -> Sweep:
    """The sweep of examples/digits.toml on a ResNet-18 of width 4 and two copies, with its victim's
    seed.

    ``tiny``: one copy, planted in haste.
    """
    sweep = _read(ROOT / "examples" / "digits.toml")
    narrow = catalog.resolve("models", MethodConfig("resnet18", {"width": 4}))
    victims = tuple(replace(v, seed=seed, model=narrow) for v in sweep.victims)
    if tiny:
        self_poisoning = tuple(
            {**p, "steps": 40, "reach": 0.1, "rounds": 1} for p in sweep.self_poisoning
        )
        return replace(
            sweep,
            victims=victims,
            tuning={**sweep.tuning, "copies": 1},
            self_poisoning=self_poisoning,
        )
    return replace(sweep, victims=victims, tuning={**sweep.tuning, "copies": 2})


def width(sweep: Sweep) -> int:
    return int(sweep.victims[0].model.params["width"])


def trial_of(sweep: Sweep, method: MethodConfig, **tuning: Any) -> Trial:
    """A tuning trial of the sweep's first victim."""
    game = catalog.resolve("games", MethodConfig("tuning", {**sweep.tuning, **tuning}))
    self_poisoning = catalog.resolve("games", MethodConfig("self_poison", sweep.self_poisoning[0]))
    config = catalog.resolve("defenses", method)
    return Trial(
        game=game,
        victim=sweep.victims[0],
        method=config,
        trusted=sweep.trusted[0],
        seed=sweep.seeds[0],
        self_poisoning=self_poisoning,
    )


def ending(ends: list[float], spent: list[float] | None = None) -> ProgressReporter:
    """Reports to a scheduler's caller: adds the time of each trial's end to ``ends``, the CPU's
    to ``spent``.
    """

    def reporter(event: str, trial: Trial, progress: Progress, record: Record | None) -> None:
        if event == "finish":
            ends.append(time.perf_counter())
            if spent is not None:
                spent.append(time.process_time())

    return reporter


def must(record: Record) -> Record:
    """The record, or its traceback."""
    if record.status != "done":
        raise RuntimeError(record.error)
    return record


def processor() -> str:
    """The processor's name, as Linux gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def parsed(words: argparse.ArgumentParser, **tiny: Any) -> argparse.Namespace:
    """The options that were asked for; ``tiny`` are the defaults of those that make it short."""
    words.add_argument(
        "--tiny", action="store_true", help="seconds, to see that it runs; keeps nothing"
    )
    if words.parse_known_args()[0].tiny:
        words.set_defaults(**tiny)
    return words.parse_args()


@contextlib.contextmanager
def refusing(name: str) -> Iterator[None]:
    """What was asked for wrongly ends in one line and the exit code 2."""
    try:
        yield
    except (SpecError, OSError) as problem:
        print(f"benchmarks.{name}: {problem}", file=sys.stderr)
        raise SystemExit(2) from None


def machine() -> dict[str, Any]:
    """What figures depend on besides the code."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_1min": round(os.getloadavg()[0], 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def cost_of(words: Sequence[str], env: Mapping[str, str]) -> dict[str, float]:
    """What one process of Python takes, with those that it starts: seconds from start to end, the
    processor's, and the peak memory of the largest (MiB).
    """
    through = [sys.executable, "-S", "-c", LOOK, sys.executable, *words]
    told = subprocess.run(through, check=False, env=env, capture_output=True, text=True)
    if told.returncode:
        raise SystemExit(f"python {' '.join(words)}: {told.stderr}")
    seconds, spent, peak = map(float, told.stdout.splitlines()[-1].split())
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(spent, 2),
        "peak_mib": round(peak / 1024),
    }


def write(name: str, figures: Mapping[str, Any], *, tiny: bool, out: Path | None = None) -> None:
    """``figures`` with the machine's facts, to ``out`` or benchmarks/results/NAME.json; those of a
    tiny run are printed.
    """
    whole = {**figures, "machine": machine()}
    if tiny:
        print(f"{TINY}{json.dumps(whole)}")
        return
    file = out or OUTPUT / f"{name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {file}")


def write_rows(name: str, rows: Sequence[Mapping[str, Any]], *, tiny: bool) -> None:
    """The rows, each with the machine's facts, to benchmarks/results/NAME.csv; those of a tiny run
    are printed.
    """
    if tiny:
        print(f"{TINY}{json.dumps({'rows': rows})}")
        return
    OUTPUT.mkdir(exist_ok=True)
    facts = machine()
    with (OUTPUT / f"{name}.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.DictWriter(stream, [*rows[0], *facts], lineterminator="\n")
        table.writeheader()
        table.writerows({**row, **facts} for row in rows)
    print(f"wrote benchmarks/results/{name}.csv")
