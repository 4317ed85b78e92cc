"""Filtering: a data filter scores a victim's training set, and the judge says what its scores find
and what is removed.

Source: the reports of BaDLoss (which rows of each attack are removed, and of which classes), and
the usual area under the ROC curve.
Deviation: rates count the rows that are not trusted, which are never removed. What is kept of a
class is counted on its clean rows, so that a class which loses only poison loses nothing. The model
that is trained on the rows that are kept is a victim of its own, of the game ``training``.
"""

from collections.abc import Generator as Steps

import torch
from torch import Tensor

from trials.filtering import FilteringContext, removed
from trials.metrics import auroc, tpr_at
from trials.spec import Point

FPRS = {"tpr_1": 0.01, "tpr_5": 0.05}


def play(ctx: FilteringContext, /) -> Steps[Point, None, dict[str, float]]:
    """Score the rows, remove the most suspicious, and keep both as an artifact.

    Of each attack ``auroc/NAME``, ``tpr_1/NAME`` and ``tpr_5/NAME`` (share of its rows found while
    1 and 5 % of the clean rows are flagged), and ``removed/NAME``; of each class ``kept/K``.
    """
    found = ctx.score(ctx.view, ctx.rng("filter"))
    if len(found.scores) != len(ctx.rows):
        raise ValueError(f"{len(found.scores)} scores for {len(ctx.rows)} rows")
    gone = removed(found, ctx.reject, ctx.rng("reject"))
    kept = torch.ones(len(ctx.poisoning.train), dtype=torch.bool)
    kept[ctx.rows[gone]] = False
    scores = found.scores.cpu()
    ctx.save({"scores": scores, "kept": kept, "rows": ctx.rows}, {"filter": dict(found.extra)})
    return {**found.extra, **_judged(ctx, scores, gone)}
    yield  # a game is a generator; this one has no curve


def _judged(ctx: FilteringContext, scores: Tensor, gone: Tensor) -> dict[str, float]:
    poisoned = torch.zeros(len(ctx.poisoning.train), dtype=torch.bool)
    poisoned[ctx.poisoning.places] = True
    clean = ~poisoned[ctx.rows]
    metrics = {
        "rows": float(len(ctx.rows)),
        "removed": _share(gone),
        "removed_clean": _share(gone[clean]),
        **_classes(ctx.poisoning.train.y.cpu()[ctx.rows][clean], gone[clean]),
    }
    if not bool((~clean).any()) or not bool(clean.any()):
        return metrics
    metrics |= _ranked(scores[~clean], scores[clean])
    metrics["removed_poisoned"] = _share(gone[~clean])
    for implant in ctx.poisoning.implants:
        mine = torch.isin(ctx.rows, implant.places.cpu())
        if not bool(mine.any()):
            continue
        own = _ranked(scores[mine], scores[clean])
        own |= {"removed": _share(gone[mine]), "m": float(mine.sum())}
        metrics |= {f"{key}/{implant.name}": value for key, value in own.items()}
    return metrics


def _ranked(positive: Tensor, negative: Tensor) -> dict[str, float]:
    rates = {name: tpr_at(positive, negative, fpr) for name, fpr in FPRS.items()}
    return {"auroc": auroc(positive, negative), **rates}


def _classes(labels: Tensor, gone: Tensor) -> dict[str, float]:
    """Share of each class's clean rows that is kept, and the least and the largest of these."""
    kept = {f"kept/{k}": 1 - _share(gone[labels == k]) for k in torch.unique(labels).tolist()}
    if not kept:
        return {}
    return {"kept_min": min(kept.values()), "kept_max": max(kept.values()), **kept}


def _share(mask: Tensor) -> float:
    return float(mask.double().mean()) if len(mask) else 0.0
