"""Does poisoning more make an attack harder to repair (η) and easier to detect (ρ)?

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, sections V-D1 and V-E1 (over- and
under-poisoning).
Deviation: a rank correlation with m over models instead of a look at two curves. A model's own
detectability is the share of clean models that score below it; over the models of one budget its
mean is ρ.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from results.comparison.detectability import detections
from results.comparison.detector_scores import Detection, resampled
from results.comparison.residual_asr import ResidualAsr, residual_asrs
from results.selection.disambiguation import labels
from results.selection.grouping import AttackConfig, family_of
from results.stats import roc
from results.stats.correlation import Correlation, around, coefficients, correlation
from trials.spec import Record, Victim

LOOPED = 500  # resamples of ρ's trend: each has its own clean models, so its own ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One attack along its budgets, under one defense (η) or one detector (ρ)."""

    of: Literal["η", "ρ"]
    victim: Victim  # one of them
    trusted: float
    method: str
    budgets: tuple[int, ...]
    means: tuple[float, ...]  # η or ρ at each budget
    models: Correlation  # Spearman's, m against the models' own η or placement
    budgets_only: float | None  # Spearman's over the budgets' means: coarse where budgets are few


def trends(records: Iterable[Record], rule: str | None = None, seed: int = 0) -> list[Trend]:
    """For every attack with at least two budgets, η under each defense and ρ under each detector.

    Raises:
        SpecError: unknown rule.
    """
    records = list(records)
    left = [x for x in residual_asrs(records, rule) if x.eta]
    found = [d for d in detections(records) if d.rho is not None]
    return [
        *(_eta(name, group, seed) for name, group in _along(left, lambda x: (x.defense,))),
        *(
            _rho(name, group, seed)
            for name, group in _along(found, lambda d: (d.detector, d.method))
        ),
    ]


T = TypeVar("T", ResidualAsr, Detection)


def _along(
    rows: Sequence[T], configs: Callable[[T], tuple[object, ...]]
) -> Iterable[tuple[str, list[T]]]:
    """Rows of one attack, benchmark, r and method that differ in m, by rising m."""
    benchmarks: dict[tuple[str, float], list[T]] = defaultdict(list)
    for row in rows:
        benchmarks[row.attack_config.benchmark, row.trusted].append(row)
    for _, group in sorted(benchmarks.items()):
        for name, panel in labels(group, configs).items():  # type: ignore[arg-type]
            families: dict[AttackConfig, list[T]] = defaultdict(list)
            for row in panel:
                if row.m is not None:
                    families[family_of(row.victim)].append(row)
            for family in families.values():
                if len({row.m for row in family}) > 1:
                    yield name, sorted(family, key=lambda row: row.m or 0)


def _eta(name: str, group: list[ResidualAsr], seed: int) -> Trend:
    m: list[int] = []
    values: list[float] = []
    for row in group:
        m += [row.m or 0] * len(row.eta)
        values += [row.eta[victim] for victim in sorted(row.eta)]
    means = [float(np.mean(list(row.eta.values()))) for row in group]
    return _trend("η", name, group, means, correlation(m, values, strata=m, seed=seed))


def _rho(name: str, group: list[Detection], seed: int) -> Trend:
    """Clean models are resampled too, so every resample has placements of its own."""
    m = np.repeat([float(row.m or 0) for row in group], [len(row.poisoned) for row in group])
    won = np.vstack([roc.wins(*row.sides) for row in group])
    whole = correlation(m, won.mean(axis=1), seed=seed)
    if whole.value is not None:
        clean = resampled(group[0].clean, LOOPED, seed) / won.shape[1]
        counts = np.hstack([resampled(row.poisoned, LOOPED, seed) for row in group])
        drawn = np.array(
            [
                coefficients("spearman", m, won @ c, w[None])[0]
                for c, w in zip(clean, counts, strict=True)
            ]
        )
        whole = whole._replace(interval=around(whole.value, drawn[np.isfinite(drawn)]))
    return _trend("ρ", name, group, [row.rho or 0.0 for row in group], whole)


def _trend(
    of: Literal["η", "ρ"],
    name: str,
    group: Sequence[ResidualAsr | Detection],
    means: list[float],
    models: Correlation,
) -> Trend:
    budgets = tuple(row.m or 0 for row in group)
    return Trend(
        of=of,
        victim=group[0].victim,
        trusted=group[0].trusted,
        method=name,
        budgets=budgets,
        means=tuple(means),
        models=models,
        budgets_only=correlation(budgets, means, draws=1).value,
    )
