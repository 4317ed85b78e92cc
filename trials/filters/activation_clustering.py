"""Activation clustering: latents of each class in two clusters, of which the smaller may be poison.

Source: Chen et al. 2018, 'Detecting Backdoor Attacks on Deep Neural Networks by Activation
Clustering', arXiv:1811.03728: independent components of the latents, 2-means, and a class is
suspect by its silhouette or by the size of its smaller cluster. Three public codes of this name
differ in classes, reduction and rule, which are settings here.
Deviation: for a score of every row, the margin by which it lies nearer to the smaller cluster's
centre, in units of the centres' distance, times the class's silhouette. The silhouette is that of
at most 2,000 rows of a class.
"""

import warnings
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import FastICA, TruncatedSVD
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score
from torch import Generator

from trials.filters._passes import seen_by_trained
from trials.filters._tracking import drawn_seed
from trials.spec import Fraction, PositiveInt
from trials.views import DataView, SampleScores

NEEDS = frozenset({"head"})
REJECTS = True
REJECTS_BY = frozenset({"rule", "share", "silhouette"})
_MOST = 2000  # rows that a silhouette is taken of
_FEWEST = 4  # rows of a class; fewer are not clustered
_STARTS = 10  # of 2-means, of which the best counts


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    rule: Literal["silhouette", "share", "always"] = "silhouette",
    silhouette: Fraction = 0.15,
    share: Fraction = 0.35,
    classes: Literal["predicted", "label"] = "predicted",
    reduction: Literal["ica", "svd", "none"] = "ica",
    dimensions: PositiveInt = 10,
) -> SampleScores:
    """Margins towards the smaller cluster of the row's class.

    Args:
        view: the rows.
        rng: begins the reduction and the clusters.
        rule: its own rule suspects the smaller cluster of classes with a larger silhouette than
            ``silhouette`` (BaDLoss), with a smaller share than ``share`` in it (backdoor-toolbox),
            or of every class (Sleeper Agent).
        silhouette: above which a class is suspect.
        share: of the class, below which the smaller cluster is suspect.
        classes: rows are grouped by what the trained model predicts, or by their label.
        reduction: of the latents, before they are clustered.
        dimensions: that the reduction leaves.
    """
    seen, seed = seen_by_trained(view), drawn_seed(rng)
    groups = seen.predicted if classes == "predicted" else view.train.y.cpu()
    scores, suspects = torch.zeros(len(groups)), torch.zeros(len(groups), dtype=torch.bool)
    unconverged = 0  # classes whose components did not settle
    for label in torch.unique(groups).tolist():
        rows = (groups == label).nonzero().flatten()
        if len(rows) < _FEWEST:
            continue
        latents = seen.latents[rows].double().numpy()
        live = latents[:, np.ptp(latents, axis=0) > 0]
        with warnings.catch_warnings(record=True) as told:
            # of the fallback in _reduced, whose rank is known already
            warnings.filterwarnings("ignore", "There are some small singular values")
            warnings.simplefilter("always", ConvergenceWarning)
            points = _reduced(live, reduction, dimensions, seed)
        unconverged += any(w.category is ConvergenceWarning for w in told)
        small, margins, apart = _clusters(points, seed)
        scores[rows] = torch.from_numpy(margins * max(apart, 0.0)).float()
        suspect = {"silhouette": apart > silhouette, "share": float(small.mean()) < share}
        if suspect.get(rule, True):
            suspects[rows[torch.from_numpy(small)]] = True
    return SampleScores(scores, suspects, {"unconverged": float(unconverged)})


def _reduced(latents: NDArray[Any], reduction: str, dimensions: int, seed: int) -> NDArray[Any]:
    """(n, at most ``dimensions``); dead columns, which are the same in every row, are left out."""
    most = min(dimensions, len(latents) - 1, latents.shape[1])
    if reduction == "none" or most < 1:
        return latents
    centred = latents - latents.mean(0)
    if reduction == "svd":
        return np.asarray(TruncatedSVD(most, random_state=seed).fit_transform(centred))
    rank = int(np.linalg.matrix_rank(centred))  # whitening divides by every singular value
    ica = FastICA(max(1, min(most, rank)), whiten="unit-variance", max_iter=1000, random_state=seed)
    try:
        return np.asarray(ica.fit_transform(centred))
    except np.linalg.LinAlgError:  # on some processors the decomposition does not converge
        return np.asarray(ica.set_params(whiten_solver="eigh").fit_transform(centred))


def _clusters(points: NDArray[Any], seed: int) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Which rows lie in the smaller cluster, their margins in [-1, 1], and the silhouette."""
    nothing = np.zeros(len(points), dtype=bool)
    if points.shape[1] == 0 or len(np.unique(points, axis=0)) < 2:
        return nothing, nothing.astype(float), 0.0
    means = KMeans(2, n_init=_STARTS, random_state=seed).fit(points)
    smaller = int(np.bincount(means.labels_, minlength=2).argmin())
    distances = means.transform(points)
    between = float(np.linalg.norm(means.cluster_centers_[0] - means.cluster_centers_[1]))
    margins = (distances[:, 1 - smaller] - distances[:, smaller]) / between
    size = min(_MOST, len(points))
    apart = float(silhouette_score(points, means.labels_, sample_size=size, random_state=seed))
    return means.labels_ == smaller, margins, apart
