"""ρ, detectability: how well a detector's score tells an attack's victims from clean models, with
its interval.

Source: Lukas and Kerschbaum 2023, arXiv:2305.09671, Algorithm 2 (the detection game) and section
V-D.
Deviation: all attacks share one pool of clean models, so that they can be compared in pairs; a
model scored with several seeds counts once, by its mean; fewer than 20 models a side are marked.
The paper had ten a side.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

import numpy as np

from results.comparison.detector_scores import Detection
from results.selection.configurations import of_game
from results.selection.disambiguation import panels
from results.selection.grouping import attack_config_of, benchmark_of
from results.stats import delong, roc
from trials.spec import Record, Trial


def detections(records: Iterable[Record]) -> list[Detection]:
    """Every attack under every detector, against the clean victims of the same dataset, model and
    training.

    Clean ones must have met the same detector with the same settings, r and repair; where there are
    none, ρ is None.
    """
    seen = [r for r in of_game(records, "detectability") if r.trial.detector is not None]
    of = panels([r.trial for r in seen], _coarse, lambda t: t.game.identity())
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for r in seen:
        groups[of[r.trial.id], attack_config_of(r.trial.victim).attack].append(r)
    found = []
    for (panel, attack), group in groups.items():
        if attack != "clean":
            found.append(_detection(panel, group, groups.get((panel, "clean"), [])))
    return sorted(
        found,
        key=lambda d: (
            d.attack_config.benchmark,
            d.trusted,
            d.panel,
            d.victim.attacks[0].name,
            d.m or 0,
            d.attack_config,
        ),
    )


def difference(
    first: Detection, second: Detection, draws: int = roc.DRAWS, seed: int = 0
) -> delong.Paired | None:
    """ρ of the first detector minus the second's, on the models that both have scored; None below
    two a side.
    """
    ids = [
        sorted(a.keys() & b.keys())
        for a, b in ((first.poisoned, second.poisoned), (first.clean, second.clean))
    ]
    if min(map(len, ids)) < 2:
        return None
    both = (first, second)
    poisoned = [_in_order(d.poisoned, ids[0]) for d in both]
    clean = [_in_order(d.clean, ids[1]) for d in both]
    return delong.compared(poisoned, clean, draws, seed)


def _in_order(scores: Mapping[str, float], ids: Sequence[str]) -> list[float]:
    return [scores[victim] for victim in ids]


def _coarse(t: Trial) -> object:
    """The step at which a repair ends may have been chosen for each victim apart."""
    parts = [c.identity() if c else None for c in (t.detector, t.method)]
    game = {k: v for k, v in t.game.params.items() if k != "stop_at"}
    return [benchmark_of(t.victim), t.trusted, parts, t.game.name, game]


def _detection(panel: str, group: list[Record], pool: list[Record]) -> Detection:
    trial = min((r.trial for r in group), key=lambda t: (t.victim.seed, t.id))
    both = [*group, *pool]
    assert trial.detector is not None
    return Detection(
        attack_config=attack_config_of(trial.victim),
        victim=trial.victim,
        detector=trial.detector,
        method=trial.method,
        trusted=trial.trusted,
        panel=panel,
        poisoned={k: _mean_score(rows) for k, rows in _models(group).items()},
        clean={k: _mean_score(rows) for k, rows in _models(pool).items()},
        refused=sum(r.status == "done" and not _scored(r) for r in both),
        failed=sum(r.status != "done" for r in both),
        facts={k: _facts(rows) for k, rows in _models(group).items()},
    )


def _scored(record: Record) -> bool:
    return record.status == "done" and bool(np.isfinite(record.metrics.get("score", np.nan)))


def _models(group: list[Record]) -> dict[str, list[Record]]:
    rows: dict[str, list[Record]] = defaultdict(list)
    for r in group:
        if _scored(r):
            rows[r.trial.victim.id].append(r)
    return rows


def _mean_score(rows: Sequence[Record]) -> float:
    return fmean(r.metrics["score"] for r in rows)


def _facts(rows: list[Record]) -> dict[str, float]:
    ranked = [r for r in rows if "target_rank" in r.metrics]
    seen = {"located": [float(r.metrics["target_rank"] == 1) for r in ranked]}
    for k in ("cosine", "iou"):
        seen[k] = [r.metrics[k] for r in rows if np.isfinite(r.metrics.get(k, np.nan))]
    return {k: fmean(v) for k, v in seen.items() if v}
