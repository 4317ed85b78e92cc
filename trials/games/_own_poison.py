"""What a filter makes of the defender's own poison, and how like it an attacker's is."""

import torch
from scipy.stats import ks_2samp
from torch import Tensor

from trials.filtering import FilteringContext
from trials.metrics import auroc
from trials.self_poisoning.own_rows import REACH


def told_of_own(ctx: FilteringContext, scores: Tensor, gone: Tensor) -> dict[str, float]:
    """The defender's numbers, which need no attacker's places, and ``ks/NAME``, which does: the
    largest difference of the distributions of the scores of the attacker's and the defender's rows.

    Args:
        ctx: with the rows of the defender's, or without.
        scores: of the training set's rows, then of the defender's, then of the held-back images.
        gone: bool, what is removed, or would be, of each.
    """
    own = ctx.own
    if own is None:
        return {}
    n, m = len(ctx.rows), len(own.rows)
    mine, held = scores[n : n + m], scores[n + m :]
    taken, asked = gone[n : n + m].double(), [asr >= REACH for asr in ctx.learned]
    metrics = {"own_fpr": float(gone[n + m :].double().mean()), "n_held": float(len(held))}
    recalls = [float(taken[own.number == j].mean()) for j in range(len(own.names))]
    counted = [r for r, a in zip(recalls, asked, strict=True) if a]
    metrics |= {f"own_recall/{k}": r for k, r in zip(own.names, recalls, strict=True)}
    metrics |= {f"own_learned/{k}": a for k, a in zip(own.names, ctx.learned, strict=True)}
    for j, name in enumerate(own.names):
        metrics[f"own_auroc/{name}"] = auroc(mine[own.number == j], held)
        metrics[f"own_m/{name}"] = float((own.number == j).sum())
        metrics[f"own_redrawn/{name}"] = float(own.redrawn[j])
        metrics[f"own_restamped/{name}"] = float(own.restamped[j])
    metrics["own_learned"] = float(sum(asked))
    metrics["own_recall"] = sum(counted or recalls) / len(counted or recalls)
    metrics["own_recall_min"] = min(counted or recalls)
    for implant in ctx.poisoning.implants:
        theirs = scores[:n][torch.isin(ctx.rows, implant.places.cpu())]
        if len(theirs):
            found = ks_2samp(theirs.double().numpy(), mine.double().numpy())
            metrics[f"ks/{implant.name}"] = float(found.statistic)
    return metrics
