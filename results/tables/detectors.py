"""Two detectors on the same models: which tells an attack better from clean models, and how sure
that is.

Source: DeLong, DeLong and Clarke-Pearson 1988; Efron 1979.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

import pandas as pd

from results.comparison.detectability import detections, difference
from results.comparison.detector_scores import FEW, Detection
from results.selection.disambiguation import labels
from results.selection.grouping import AttackConfig, names
from results.tables._columns import frame
from results.tables._ranges import ATTACK_COLUMNS, of_attack, share, span
from trials.spec import Record

COLUMNS = (
    *(*ATTACK_COLUMNS, "r (%)", "first", "second", "first ρ (AUC)", "second ρ (AUC)", "difference"),
    *(
        "95 % interval (DeLong)",
        "p (DeLong)",
        "95 % interval (bootstrap)",
        "poisoned models",
        "clean models",
    ),
    "few models",
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row an attack and two detectors; numbers are of the models that both have scored."""
    found = [d for d in detections(records) if d.rho is not None]
    called = names(d.victim for d in found)
    rows = []
    for one, other, first, second in _pairs(found):
        seen = difference(first, second)
        if seen is None:
            continue
        rows.append(
            {
                **of_attack(first.victim, called[first.attack_config]),
                "r (%)": 100 * first.trusted,
                "first": one,
                "second": other,
                "first ρ (AUC)": share(first.rho),
                "second ρ (AUC)": share(second.rho),
                "difference": share(seen.delong.value),
                "95 % interval (DeLong)": span(seen.delong.interval),
                "p (DeLong)": share(seen.delong.p),
                "95 % interval (bootstrap)": span(seen.bootstrap.interval),
                "poisoned models": seen.n_poisoned,
                "clean models": seen.n_clean,
                "few models": min(seen.n_poisoned, seen.n_clean) < FEW,
            }
        )
    return frame(rows, COLUMNS)


def _pairs(found: list[Detection]) -> Iterable[tuple[str, str, Detection, Detection]]:
    benchmarks: dict[tuple[str, float], list[Detection]] = defaultdict(list)
    for d in found:
        benchmarks[d.attack_config.benchmark, d.trusted].append(d)
    for _, group in sorted(benchmarks.items()):
        by_attack: dict[AttackConfig, list[tuple[str, Detection]]] = defaultdict(list)
        for name, panel in labels(group, lambda d: (d.detector, d.method)).items():
            for d in panel:
                by_attack[d.attack_config].append((name, d))
        for several in by_attack.values():
            for (one, first), (other, second) in combinations(several, 2):
                yield one, other, first, second
