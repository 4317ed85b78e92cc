"""Attacks before any defense: CDA, ASR and detectability, beside the paper's Table II.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, Table II.
Deviation: means over victims with intervals. The paper's CDA and ASR are single runs and count as
exact; its ρ rests on ten models a side (three on ImageNet), so the interval of the difference has
that part too. Its models were fed poisoned images without normalisation (preliminary code): a
reference, not a target.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import pandas as pd

from results.comparison.detectability import detections
from results.comparison.detector_scores import Detection
from results.comparison.filtered_sets import trained_on_all
from results.reference import paper
from results.selection.disambiguation import labels
from results.selection.grouping import AttackConfig, attack_config_of, names
from results.stats.roc import newcombe
from results.tables._columns import frame
from results.tables._ranges import (
    ATTACK_COLUMNS,
    beside,
    columns,
    less,
    mean,
    of_attack,
    over_victims,
    share,
    span,
)
from trials.spec import Record

COLUMNS = (
    *(*ATTACK_COLUMNS, "victims", *columns("CDA"), *columns("ASR"), "r (%)", "detector"),
    *("ρ (AUC)", "ρ 95 % interval", "paper's ρ", "ρ difference", "ρ difference 95 % interval"),
    *("poisoned models", "clean models", "few models"),
)
_THEIR_DETECTOR = "calibrated_inversion"


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row an attack and detector, clean victims first; the paper's numbers stand where m and
    boost are its own.
    """
    groups: dict[AttackConfig, list[Record]] = defaultdict(list)
    for r in trained_on_all(records):
        if r.status == "done":
            groups[attack_config_of(r.trial.victim)].append(r)
    seen = _detected(detections(records))
    called = names(r.trial.victim for r in chain.from_iterable(groups.values()))
    rows = []
    for attack_config, group in groups.items():
        v = min((r.trial.victim for r in group), key=lambda v: v.seed)
        known = paper.attacked(v)
        cda, asr = _by_victim(group, "cda"), _by_victim(group, "asr")
        first = {
            **of_attack(v, called[attack_config]),
            "victims": len(group),
            **beside("CDA", mean(cda), over_victims(cda), known.cda if known else None),
            **beside(
                "ASR", mean(asr), over_victims(asr), known.asr if known and v.attacks else None
            ),
        }
        rows += [first | _rho(name, d, known) for name, d in seen.get(attack_config, [("", None)])]
    return frame(sorted(rows, key=_order), COLUMNS)


def _by_victim(group: Sequence[Record], metric: str) -> dict[str, float]:
    return {r.trial.victim.id: r.metrics[metric] for r in group if metric in r.metrics}


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    """By dataset and model, clean first, then by attack and m."""
    clean = row["attack"] == "clean"
    return (
        row["dataset"],
        row["model"],
        not clean,
        row["attack"].split(" (")[0],
        row["m"] or 0,
        row["attack"],
    )


def _detected(found: Iterable[Detection]) -> dict[AttackConfig, list[tuple[str, Detection | None]]]:
    """Detections by attack, under the detectors' labels."""
    benchmarks: dict[tuple[str, float], list[Detection]] = defaultdict(list)
    for d in found:
        benchmarks[d.attack_config.benchmark, d.trusted].append(d)
    by_attack: dict[AttackConfig, list[tuple[str, Detection | None]]] = defaultdict(list)
    for _, group in sorted(benchmarks.items()):
        for name, panel in labels(group, lambda d: (d.detector, d.method)).items():
            for d in panel:
                by_attack[d.attack_config].append((name, d))
    return by_attack


def _rho(name: str, d: Detection | None, known: paper.Attacked | None) -> dict[str, Any]:
    if d is None:
        return {}
    theirs = known.rho if known and d.detector.name == _THEIR_DETECTOR else None
    sure = newcombe(theirs, known.models, known.models) if known and theirs is not None else None
    ours, mine = d.rho, d.rho_interval()
    return {
        "r (%)": 100 * d.trusted,
        "detector": name,
        "ρ (AUC)": share(ours),
        "ρ 95 % interval": span(mine),
        "paper's ρ": share(theirs),
        "ρ difference": None if ours is None or theirs is None else share(ours - theirs),
        "ρ difference 95 % interval": span(less(ours, theirs, mine, sure)),
        "poisoned models": len(d.poisoned),
        "clean models": len(d.clean),
        "few models": d.few,
    }
