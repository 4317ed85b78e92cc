"""Every attack under every detector: ρ, what it rests on, and whether the trigger itself was found.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, section V-D. Deviation: ρ has its interval over
models, and finding the target class and the trigger stand apart from telling models apart.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.comparison.detectability import detections
from results.comparison.detector_scores import Detection
from results.selection.grouping import names
from results.selection.labels import percents, settings
from results.stats.roc import hanley_mcneil
from results.tables._columns import frame, points
from results.tables._ranges import ATTACK_COLUMNS, of_attack, share, span
from trials.spec import Record

COLUMNS = (
    *(
        *ATTACK_COLUMNS,
        "r (%)",
        "detector",
        "compared with",
        "ρ (AUC)",
        "ρ 95 % interval",
        "ρ standard error",
    ),
    *("TPR at 5 % FPR (%)", "poisoned models", "clean models", "few models"),
    *("target found (%)", "target found 95 % interval (%)", "cosine", "cosine sd", "IoU", "IoU sd"),
    *("refused", "failed", "detector's settings"),
)


def table(records: Sequence[Record], /) -> pd.DataFrame:
    """One row an attack and detector.

    ``compared with`` is the repair whose model the detector was given.
    """
    found = detections(records)
    called = names(d.victim for d in found)
    return frame([_row(d, called[d.attack_config]) for d in found], COLUMNS)


def _row(d: Detection, name: str) -> dict[str, Any]:
    rho, cosine, iou = d.rho, d.spread("cosine"), d.spread("iou")
    return {
        **of_attack(d.victim, name),
        "r (%)": 100 * d.trusted,
        "detector": d.detector.name,
        "compared with": d.method.name if d.method else None,
        "ρ (AUC)": share(rho),
        "ρ 95 % interval": span(d.rho_interval()),
        "ρ standard error": None
        if rho in (None, 0.0, 1.0)
        else share(hanley_mcneil(rho, len(d.poisoned), len(d.clean))),
        "TPR at 5 % FPR (%)": points(d.tpr()),
        "poisoned models": len(d.poisoned),
        "clean models": len(d.clean),
        "few models": d.few,
        "target found (%)": points(d.located),
        "target found 95 % interval (%)": percents(d.located_interval),
        "cosine": share(cosine.mean) if cosine else None,
        "cosine sd": share(cosine.sd) if cosine else None,
        "IoU": share(iou.mean) if iou else None,
        "IoU sd": share(iou.sd) if iou else None,
        "refused": d.refused,
        "failed": d.failed,
        "detector's settings": settings(d.detector),
    }
