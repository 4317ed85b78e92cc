"""Front and hypervolume of many points: ours, plain numpy, moocore and Optuna's, one after the
other in one process.

    python -m benchmarks.fronts [--points N]

Prints the table and writes benchmarks/results/fronts.json. Each figure is the best of three;
Optuna's functions are private ones of its installed version. If they disagree, it says so and
fails.
"""

import argparse
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import moocore
import numpy as np
from numpy.typing import NDArray
from optuna._hypervolume import compute_hypervolume
from optuna.study._multi_objective import _is_pareto_front

from benchmarks._shared import parsed, write
from results.stats.pareto import front, hypervolume

Floats = NDArray[np.float64]


def numpy_front(points: Floats) -> Floats:
    """Sort by ASR, then by falling CDA; keep what exceeds the largest CDA so far."""
    ordered = points[np.lexsort((-points[:, 1], points[:, 0]))]
    best = np.maximum.accumulate(ordered[:, 1])
    return np.asarray(ordered[np.concatenate([[True], ordered[1:, 1] > best[:-1]])])


def numpy_hypervolume(points: Floats) -> float:
    """Sum of the rectangles between neighbours on the front, to (ASR 1, CDA 0)."""
    edge = numpy_front(points)
    return float((np.diff(np.append(edge[:, 0], 1.0)) * edge[:, 1]).sum())


def moocore_front(points: Floats) -> Floats:
    kept = points[moocore.is_nondominated(points, maximise=[False, True])]
    return np.asarray(kept[np.argsort(kept[:, 0])], dtype=np.float64)


def moocore_hypervolume(points: Floats) -> float:
    return float(moocore.hypervolume(points, ref=[1.0, 0.0], maximise=[False, True]))


def optuna_front(points: Floats) -> Floats:
    losses = points * [1.0, -1.0]
    kept = np.unique(points[_is_pareto_front(losses, assume_unique_lexsorted=False)], axis=0)
    return np.asarray(kept, dtype=np.float64)


def optuna_hypervolume(points: Floats) -> float:
    return float(compute_hypervolume(points * [1.0, -1.0], np.array([1.0, 0.0])))


def cases(n: int) -> dict[str, Floats]:
    rng = np.random.default_rng(0)
    x = rng.random(n)
    return {
        "random": rng.random((n, 2)),
        "all on the front": np.column_stack([x, np.sqrt(x)]),
        "rates of 90 and 100 images": rng.integers(0, [91, 101], (n, 2)) / [90, 100],
    }


def best_of(run: Callable[[Floats], object], points: Floats, times: int = 3) -> float:
    """Milliseconds of the fastest run."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run(points)
        taken.append(time.perf_counter() - start)
    return round(1000 * min(taken), 1)


def main() -> int:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--points", type=int, default=1_000_000)
    asked = parsed(words, points=1000)
    n = asked.points
    found: dict[str, dict[str, float]] = {}
    agree = True
    tools = {"ours": (front, hypervolume), "numpy": (numpy_front, numpy_hypervolume)}
    tools["moocore"] = (moocore_front, moocore_hypervolume)
    tools["optuna"] = (optuna_front, optuna_hypervolume)
    for name, points in cases(n).items():
        wanted = front(points)
        agree &= all(np.array_equal(wanted, f(points)) for f, _ in tools.values())
        agree &= all(np.isclose(hypervolume(points), h(points)) for _, h in tools.values())
        for i, what in enumerate(("front", "hypervolume")):
            row = {tool: best_of(functions[i], points) for tool, functions in tools.items()}
            found[f"{what}, {n} points, {name}"] = row
            print(f"{what:12} {name:28}", "  ".join(f"{t} {ms:8.1f} ms" for t, ms in row.items()))
    versions = {p: version(p) for p in ("moocore", "numpy", "optuna")}
    print("all agree" if agree else "THEY DISAGREE")
    write("fronts", {"milliseconds": found, "agree": agree, **versions}, tiny=asked.tiny)
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
