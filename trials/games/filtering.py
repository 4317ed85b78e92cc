"""Filtering: a data filter scores a victim's training set, and the judge says what its scores find
and what is removed.

Source: the reports of BaDLoss (which rows of each attack are removed, and of which classes), and
the usual area under the ROC curve.
Deviation: rates count the rows that are not trusted, which are never removed. What is kept of a
class is counted on its clean rows, so that a class which loses only poison loses nothing. The model
that is trained on the rows that are kept is a victim of its own, of the game ``training``.
"""

from collections.abc import Generator as Steps
from typing import Literal

import torch
from torch import Tensor

from trials.filtering import OWN_FOUND, FilteringContext
from trials.games._own_poison import told_of_own, which_set
from trials.games._retraining import share_within
from trials.games._trajectories import CLEAN, trajectories
from trials.metrics import auroc, tpr_at
from trials.rejection import Ranked, finds_all, from_level, ranked, two_normals, without_itself
from trials.spec import (
    BUDGET,
    MIXTURE,
    OWN,
    RECALL,
    NonNegativeFloat,
    Point,
    PositiveFraction,
    SpecError,
)
from trials.views import SampleScores

FPRS = {"tpr_1": 0.01, "tpr_5": 0.05}


def play(
    ctx: FilteringContext,
    /,
    *,
    beta: PositiveFraction = 0.1,
    quota: Literal["global", "within", "capped"] = "global",
    cap: PositiveFraction = 0.5,
    delta: NonNegativeFloat = 0.02,
) -> Steps[Point, None, dict[str, float]]:
    """Score the rows, remove the most suspicious, and keep both as an artifact.

    Of each attack ``auroc/NAME``, ``tpr_1/NAME`` and ``tpr_5/NAME`` (share of its rows found while
    1 and 5 % of the clean rows are flagged), and ``removed/NAME``; of each class ``kept/K``. Where
    the filter tracks losses, ``loss/NAME/E`` is the median over an attack's rows after epoch E, and
    ``loss/clean/E`` that of the clean rows. Where the defender has put in poison of their own, what
    is found of it is ``own_recall/NAME``, and what would be removed of the trusted images that were
    held back ``own_fpr``. A row that has a part in the threshold of the rule recall is judged by
    the one that the others set.

    Args:
        beta: of each of the defender's attacks the threshold of the rule recall may miss so much,
            and of others like it.
        quota: global, the rows are ranked together; within, each class apart, and of none more than
            ``cap``; capped, together, and of no class more than ``cap``.
        cap: share of a class's rows that may be removed, also while the rule budget tries shares;
            not used where ``quota`` is global.
        delta: clean accuracy that the rule budget may cost.
    """
    n, others = len(ctx.rows), 0 if ctx.own is None else len(ctx.own.rows) + len(ctx.own.held)
    found = ctx.score(ctx.view, ctx.rng("filter"))
    if len(found.scores) != n + others:
        raise ValueError(f"{len(found.scores)} scores for {n + others} rows")
    scores = found.scores.cpu()
    gone = removed(ctx, found, beta, quota, cap, delta)
    kept = torch.ones(len(ctx.poisoning.train), dtype=torch.bool)
    kept[ctx.rows[gone[:n]]] = False
    mine = {} if ctx.own is None else {OWN_FOUND: gone[n : n + len(ctx.own.rows)]}
    ctx.save(
        {"scores": scores, "kept": kept, "rows": ctx.rows, **mine}, {"filter": dict(found.extra)}
    )
    own = _found(ctx, found, gone, beta, quota, cap)
    told = told_of_own(ctx, scores, gone, own, beta) if own is not None else {}
    tracks = _tracked(ctx, found.losses)
    return {**found.extra, **_judged(ctx, scores[:n], gone[:n]), **tracks, **told}
    yield  # a game is a generator; this one has no curve


def removed(
    ctx: FilteringContext, found: SampleScores, beta: float, quota: str, cap: float, delta: float
) -> Tensor:
    """Bool, one for each row of the view: what is removed by ``ctx.reject`` and these settings of
    the game.
    """
    if ctx.reject == OWN:
        return own_rule(found)
    rows, most = _rows(ctx, found, quota), _most(quota, cap)
    return from_level(rows, _level(ctx, rows, found.scores.cpu(), beta, most, delta), most)


def _rows(ctx: FilteringContext, found: SampleScores, quota: str) -> Ranked:
    labels = ctx.view.train.y.cpu()
    return ranked(found.scores.cpu(), labels, len(ctx.rows), ctx.rng("reject"), quota)


def _most(quota: str, cap: float) -> float:
    return 1.0 if quota == "global" else cap


def own_rule(found: SampleScores) -> Tensor:
    """Bool (n,): what the filter itself would remove.

    Raises:
        SpecError: it has no such rule.
    """
    if found.suspects is None:
        raise SpecError('reject = "own": the filter has no rule of its own. Write a share.')
    return found.suspects.cpu().clone()


def _level(
    ctx: FilteringContext, rows: Ranked, scores: Tensor, beta: float, most: float, delta: float
) -> int:
    """The level from which on rows are removed, by the rule of ``ctx.reject``."""
    if ctx.reject == MIXTURE:
        return rows.top(two_normals(scores[: rows.n]))
    if not isinstance(ctx.reject, str):
        return rows.top(round(ctx.reject * rows.n))
    own = ctx.own
    if own is None:
        raise SpecError(f'reject = "{ctx.reject}" needs [self_poisoning]: add that table.')
    if ctx.reject == BUDGET:
        return rows.top(round(share_within(ctx, own, rows, most, delta) * rows.n))
    if ctx.reject != RECALL:
        raise SpecError(f"reject = {ctx.reject!r} is no rule.")
    return finds_all([rows.levels[rows.n :][places] for places in which_set(ctx, own)], beta)


def _found(
    ctx: FilteringContext, found: SampleScores, gone: Tensor, beta: float, quota: str, cap: float
) -> Tensor | None:
    """Bool (p,), for each of the defender's rows: whether a new row like it would be found."""
    own, n = ctx.own, len(ctx.rows)
    if own is None:
        return None
    is_found = gone[n : n + len(own.rows)].clone()
    if ctx.reject != RECALL:
        return is_found
    rows, setting = _rows(ctx, found, quota), which_set(ctx, own)
    each = without_itself([rows.levels[n:][places] for places in setting], beta)
    places, levels = torch.cat(setting), torch.cat(each)
    for level in torch.unique(levels).tolist():
        mine = places[levels == level]
        is_found[mine] = from_level(rows, level, _most(quota, cap))[n:][mine]
    return is_found


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


def _tracked(ctx: FilteringContext, losses: Tensor | None) -> dict[str, float]:
    """Medians of what the filter tracked, of the rows that are not trusted; none of a set without
    poison, or where nothing was tracked.
    """
    clean = ~torch.isin(ctx.rows, ctx.poisoning.places.cpu())
    if losses is None or bool(clean.all()) or not bool(clean.any()):
        return {}
    each = {i.name: torch.isin(ctx.rows, i.places.cpu()) for i in ctx.poisoning.implants}
    some = {name: rows for name, rows in each.items() if bool(rows.any())}
    return trajectories(losses[: len(ctx.rows)].cpu(), {CLEAN: clean, **some})


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
