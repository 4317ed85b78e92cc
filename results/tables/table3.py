"""η, the ASR that each defense leaves of each attack with r trusted data, beside the paper's Table
III.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, Table III.
Deviation: means over victims with intervals; the paper's are single runs and count as exact. The
paper took the lowest test ASR of each run, which is the rule ``oracle``; with another rule, ours
has to be higher than that.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from results.comparison.residual_asr import ResidualAsr, residual_asrs
from results.reference import paper
from results.selection.disambiguation import labels
from results.selection.grouping import names
from results.tables._columns import frame, points
from results.tables._ranges import ATTACK_COLUMNS, beside, columns, mean, of_attack, over_victims
from trials.spec import Record

COLUMNS = (
    *(*ATTACK_COLUMNS, "defense", "r (%)", *columns("η")),
    *("ASR before (%)", "CDA (%)", "CDA lost (pp)", "victims", "refused", "failed", "rule"),
)


def table(records: Sequence[Record], /, *, rule: str | None = None) -> pd.DataFrame:
    """One row an attack, defense and r; the paper's number stands where m and boost are those of
    its Table II.

    Args:
        records: of the robustness game; others are passed over.
        rule: how η is chosen; None for the settings frozen by tuning where there are any, else
            ``last_before_delta``.

    Raises:
        SpecError: unknown rule.
    """
    found = residual_asrs(records, rule)
    called = names(x.victim for x in found)
    rows = []
    for name, x in _labelled(found):
        lost = {k: x.cda0[k] - x.cda[k] for k in x.cda}
        rows.append(
            {
                **of_attack(x.victim, called[x.attack_config]),
                "defense": name,
                "r (%)": 100 * x.trusted,
                **beside(
                    "η",
                    mean(x.eta),
                    over_victims(x.eta),
                    paper.left(x.victim, x.defense.name, x.trusted),
                ),
                "ASR before (%)": points(mean(x.asr0)),
                "CDA (%)": points(mean(x.cda)),
                "CDA lost (pp)": points(mean(lost)),
                "victims": len(x.eta),
                "refused": x.refused,
                "failed": x.failed,
                "rule": x.rule,
            }
        )
    return frame(sorted(rows, key=_order), COLUMNS)


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    attack = (row["attack"].split(" (")[0], row["m"] or 0, row["attack"])
    return row["dataset"], row["model"], attack, row["defense"], row["r (%)"]


def wide(long: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``table`` as the paper lays them out: a row an attack and defense, a column an r,
    'η (paper's)'.
    """
    keys = [*ATTACK_COLUMNS[:3], "defense"]
    shares = sorted({float(r) for r in long["r (%)"]})
    tasks: dict[tuple[str, ...], dict[float, str]] = defaultdict(dict)
    for seen in long.to_dict("records"):
        ours, theirs = seen["η (%)"], seen["paper's η (%)"]
        text = "–" if ours is None else f"{ours:.1f}"
        tasks[tuple(seen[k] for k in keys)][seen["r (%)"]] = (
            text if theirs is None else f"{text} ({theirs:.0f})"
        )
    rows: list[dict[str, Any]] = [dict(zip(keys, k, strict=True)) for k in tasks]
    for row, by_share in zip(rows, tasks.values(), strict=True):
        row.update({f"r = {s:g} %": text for s, text in by_share.items()})
    return frame(rows, [*keys, *(f"r = {s:g} %" for s in shares)])


def _labelled(found: Iterable[ResidualAsr]) -> Iterable[tuple[str, ResidualAsr]]:
    benchmarks: dict[tuple[str, float], list[ResidualAsr]] = defaultdict(list)
    for x in found:
        benchmarks[x.attack_config.benchmark, x.trusted].append(x)
    for group in benchmarks.values():
        for name, panel in labels(group, lambda x: (x.defense,)).items():
            for x in panel:
                yield name, x
