"""How much of a grid's training does a search need to find what the grid finds?

    python -m benchmarks.search [--seeds N]

Replays searches on grids whose every curve is known (benchmarks/results/search-*.parquet), with the
engine's own strategy, samplers and ASHA; nothing is trained. What a sampler asks for is answered by
the nearest point of the grid, stopped where the tuning game would stop it, and costs what that
costs. Printed for each way of searching, after a quarter of the grid's training steps: how many
searches have an η within half the Wilson interval of the grid's own, how far they are above it, and
of how many steps the median search had need. ``random`` is the control. Ways were
chosen on the first victim, and judged on the second. The records were made, in four minutes of one
core, by

    poisonsweep run benchmarks/search_digits.toml --local --store sqlite:///search.db
    poisonsweep export --out benchmarks/results/search-digits.parquet --store sqlite:///search.db
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, product
from pathlib import Path
from statistics import fmean, median
from typing import Any

from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler

from benchmarks._search_replay import Grid, Result, Search, Told, Tried, halved, searched, thinned
from benchmarks._shared import OUTPUT, parsed, refusing, write
from results.export.read_back import from_file
from results.stats.intervals import wilson
from sweep.planning import expansion, samplers
from sweep.spec import sweep_file
from trials.spec import SpecError

FOLDER = Path(__file__).parent
SHARE = 0.25  # of the grid's steps
# on the second victim
JUDGED = ("random", "tpe", "tpe, after 4", "nsga2, of 6", "tpe, asha", "limit")
# a sampler's name, by which its draws are seeded, and what makes it: the engine's own, and others
# under the same name, so that they begin alike
MADE: Mapping[str, tuple[str, Callable[..., BaseSampler]]] = {
    "random": ("random", samplers.KINDS["random"]),
    "tpe": ("tpe", samplers.KINDS["tpe"]),
    "tpe, after 2": ("tpe", partial(TPESampler, n_startup_trials=2)),
    "tpe, after 4": ("tpe", partial(TPESampler, n_startup_trials=4)),
    "tpe, after 4, by branches": (
        "tpe",
        partial(TPESampler, n_startup_trials=4, multivariate=True, group=True),
    ),
    "nsga2, of 6": ("nsga2", partial(NSGAIISampler, population_size=6)),
}


def grids() -> list[Grid]:
    """The kept grids, those of the first victim first."""
    sweep = sweep_file.read(FOLDER / "search_digits.toml")
    records = from_file(OUTPUT / "search-digits.parquet").records
    pairs = product(expansion.tasks(sweep), sweep.defenses)
    return [Grid(sweep, defense, task, records) for task, defense in pairs]


def ways() -> dict[str, Search]:
    """The ways of searching, by name."""
    found = {name: _searching(name) for name in MADE}
    found["tpe, after 4, told"] = _searching("tpe, after 4", kind=Told)
    found |= {f"{name}, asha": _searching(name, asha=True) for name in ("random", "tpe")}
    found["tpe, after 4, asha, told"] = _searching("tpe, after 4", asha=True, kind=Told)
    return found | {"limit": thinned, "limit, halved": halved}


def _searching(name: str, **extra: Any) -> Search:
    kind, make = MADE[name]

    def search(grid: Grid, seed: int, most: float) -> list[Tried]:
        samplers.KINDS[kind] = make
        return searched(grid, kind, seed, most, **extra)

    return search


def row(results: Iterable[Result]) -> dict[str, Any]:
    """Of searches on several grids, all together."""
    results = list(results)
    values = sorted(chain.from_iterable(r.regrets(SHARE) for r in results))
    hits = [r.within(SHARE) for r in results]
    needed = [median(r.reached()) for r in results]
    interval = wilson(fmean(hits), len(values))
    return {
        "searches": len(values),
        "within": round(fmean(hits), 3),
        "interval": [round(x, 3) for x in interval],
        "within_by_grid": [round(x, 3) for x in hits],
        "regret_median": round(median(values), 4),
        "regret_mean": round(fmean(values), 4),
        "regret_worst_tenth": round(values[int(0.9 * len(values))], 4),
        "steps_needed_by_grid": [None if math.isinf(x) else round(x, 3) for x in needed],
    }


def line(name: str, found: Mapping[str, Any]) -> str:
    """A row of the table in Markdown."""
    low, high = found["interval"]
    by_grid = ", ".join(f"{x:.0%}" for x in found["within_by_grid"])
    needed = ", ".join("-" if x is None else f"{x:.0%}" for x in found["steps_needed_by_grid"])
    return (
        f"| {name} | {found['searches']} | {found['within']:.0%} ({low:.0%} to {high:.0%}) "
        f"| {by_grid} | {found['regret_median']:.2f}; {found['regret_mean']:.2f} | {needed} |"
    )


def table(title: str, some: list[Grid], found: Mapping[str, Any]) -> None:
    """What was found on some grids, in Markdown."""
    print(f"\n{title}: {len(some)} grids\n")
    for grid in some:
        attack = grid.task.victim.attacks[0].name
        print(
            f"- {grid.defense.name} on {grid.task.victim.dataset.name}, {attack}: "
            f"{len(grid.configs)} points, {grid.steps} steps, η {grid.etas[0]:.3f} "
            f"± {grid.slack:.3f}, {grid.near} points as good"
        )
    print("\n| search | n | within | by grid | regret, median; mean | steps needed, by grid |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, figures in found.items():
        print(line(name, figures))


def main() -> int:
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--seeds", type=int, default=40, help="searches on each grid")
    asked = parsed(words, seeds=1)
    with refusing("search"):
        if asked.seeds < 1:
            raise SpecError(f"--seeds must be at least 1, got {asked.seeds}.")
    every = grids()
    first = [grid for grid in every if grid.task == every[0].task]
    both = {"chosen on": (first, list(ways())), "judged on": (every[len(first) :], JUDGED)}
    figures: dict[str, Any] = {}
    for title, (some, names) in both.items():
        kept = some[:1] if asked.tiny else some
        figures[title] = dict(_rows(kept, names, asked.seeds))
        table(title, kept, figures[title])
    write("search", {"share": SHARE, "seeds": asked.seeds, **figures}, tiny=asked.tiny)
    return 0


def _rows(
    some: list[Grid], names: Iterable[str], seeds: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    known = ways()
    for name in names:
        yield name, row(_result(known[name], grid, seeds) for grid in some)


def _result(search: Search, grid: Grid, seeds: int) -> Result:
    return Result([search(grid, seed, SHARE) for seed in range(seeds)], grid)


if __name__ == "__main__":
    sys.exit(main())
