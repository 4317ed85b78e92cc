"""What a filter makes of the defender's own poison, and how like it an attacker's is."""

import torch
from scipy.stats import ks_2samp
from torch import Tensor

from trials.filtering import FilteringContext
from trials.metrics import auroc
from trials.rejection import promised
from trials.self_poisoning.own_rows import OwnRows
from trials.spec import LEARNED, RECALL


def which_set(ctx: FilteringContext, own: OwnRows) -> list[Tensor]:
    """Of each of the defender's attacks that were learned, of each if none was, the places, among
    their rows, of those that set the threshold of the rule recall: one of each image.
    """
    groups = [(own.first & (own.number == j)).nonzero().flatten() for j in range(len(own.names))]
    counted = [g for g, asr in zip(groups, ctx.learned, strict=True) if asr >= LEARNED]
    return counted or groups


def told_of_own(
    ctx: FilteringContext, scores: Tensor, gone: Tensor, found: Tensor, beta: float
) -> dict[str, float]:
    """The defender's numbers, which need no attacker's places, and ``ks/NAME``, which does: the
    largest difference of the distributions of the scores of the attacker's and the defender's rows.

    Args:
        ctx: with rows of the defender's.
        scores: of the training set's rows, then of the defender's, then of the held-back images.
        gone: bool, what is removed, or would be, of each.
        found: bool (p,), of the defender's rows, what would be of new ones; an image counts once.
        beta: of the rule recall.
    """
    own = ctx.own
    assert own is not None
    n, m = len(ctx.rows), len(own.rows)
    mine, held = scores[n : n + m], scores[n + m :]
    asked = [asr >= LEARNED for asr in ctx.learned]
    metrics = {"own_fpr": float(gone[n + m :].double().mean()), "n_held": float(len(held))}
    firsts = [own.first & (own.number == j) for j in range(len(own.names))]
    recalls = [float(found[first].double().mean()) for first in firsts]
    counted = [r for r, a in zip(recalls, asked, strict=True) if a]
    metrics |= {f"own_recall/{k}": r for k, r in zip(own.names, recalls, strict=True)}
    metrics |= {f"own_learned/{k}": a for k, a in zip(own.names, ctx.learned, strict=True)}
    for j, name in enumerate(own.names):
        metrics[f"own_auroc/{name}"] = auroc(mine[own.number == j], held)
        metrics[f"own_m/{name}"] = float((own.number == j).sum())
        metrics[f"own_images/{name}"] = float(firsts[j].sum())
        metrics[f"own_redrawn/{name}"] = float(own.redrawn[j])
        metrics[f"own_restamped/{name}"] = float(own.restamped[j])
    metrics["own_learned"] = float(sum(asked))
    metrics["own_recall"] = sum(counted or recalls) / len(counted or recalls)
    metrics["own_recall_min"] = min(counted or recalls)
    if ctx.reject == RECALL:
        metrics["own_promised"] = min(promised(beta, len(g)) for g in which_set(ctx, own))
        for name, first in zip(own.names, firsts, strict=True):
            metrics[f"own_promised/{name}"] = promised(beta, int(first.sum()))
    for implant in ctx.poisoning.implants:
        theirs = scores[:n][torch.isin(ctx.rows, implant.places.cpu())]
        if len(theirs):
            alike = ks_2samp(theirs.double().numpy(), mine.double().numpy())
            metrics[f"ks/{implant.name}"] = float(alike.statistic)
    return metrics
