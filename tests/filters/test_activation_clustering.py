"""Activation clustering: two clusters a class, dead columns, tiny classes, and its three rules."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scored_rows import Attacked

from trials.filters.activation_clustering import _clusters, _reduced
from trials.spec import Scalar
from trials.views import DataView, SampleScores


def scored(attacked: Attacked, view: DataView | None = None, /, **settings: Scalar) -> SampleScores:
    """On principal components: independent ones do not settle on digits, and take long."""
    return attacked.scored("activation_clustering", view, reduction="svd", **settings)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_smaller_cluster_is_the_planted_one() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(size=(100, 5))
    points[:20, 2] += 12
    points[:, 4] = 3.0  # a dead column
    live = points[:, np.ptp(points, axis=0) > 0]
    for reduction in ("ica", "svd", "none"):
        small, margins, apart = _clusters(_reduced(live, reduction, 10, 0), 0)
        assert small[:20].all() and not small[20:].any()
        assert margins[:20].min() > 0 > margins[20:].max() and apart > 0.1


def test_what_is_all_alike_has_no_clusters() -> None:
    small, margins, apart = _clusters(np.ones((9, 3)), 0)
    assert not small.any() and not margins.any() and apart == 0


def test_a_class_of_three_rows_is_left_alone(attacked: Attacked) -> None:
    train = attacked.view.train
    wanted = (train.y != 5) | (torch.cumsum((train.y == 5).int(), 0) <= 3)
    view = replace(attacked.view, train=train.take(wanted), keep=lambda _, make: make())
    found = scored(attacked, view, classes="label", rule="always")
    assert found.suspects is not None
    mine = view.train.y == 5
    assert int(mine.sum()) == 3 and not found.suspects[mine].any()
    assert not found.scores[mine].any()


def test_rows_are_grouped_by_label_or_by_prediction(attacked: Attacked) -> None:
    """The model has learned every label, so that the two differ where labels are changed alone."""
    train = attacked.view.train
    y = torch.where(torch.arange(len(train)) % 10 == 0, (train.y + 1) % 10, train.y)
    view = replace(attacked.view, train=replace(train, y=y))
    of = {c: scored(attacked, view, classes=c) for c in ("predicted", "label")}
    assert not torch.equal(of["predicted"].scores, of["label"].scores)
    plain = scored(attacked, classes="predicted")
    assert torch.equal(of["predicted"].scores, plain.scores)


def test_rules_take_what_their_thresholds_say(attacked: Attacked) -> None:
    def suspects(**settings: Scalar) -> int:
        found = scored(attacked, None, classes="label", **settings).suspects
        assert found is not None
        return int(found.sum())

    every = suspects(rule="always")
    assert 0 < suspects(rule="share", share=0.35) <= suspects(rule="share", share=1.0) == every
    assert suspects(rule="share", share=0.0) == suspects(rule="silhouette", silhouette=1.0) == 0
    assert suspects(rule="silhouette", silhouette=0.05) > 0


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_where_the_decomposition_does_not_converge_eigenvalues_whiten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never(*_: object, **__: object) -> None:
        raise np.linalg.LinAlgError("SVD did not converge")

    points = np.random.default_rng(0).uniform(size=(60, 6))
    whole = _reduced(points, "ica", 3, 0)
    monkeypatch.setattr("scipy.linalg.svd", never)
    monkeypatch.setattr("sklearn.decomposition._fastica.linalg.svd", never)
    other = _reduced(points, "ica", 3, 0)
    assert other.shape == whole.shape
    assert np.allclose(other.T @ other, whole.T @ whole, atol=1e-6 * len(points))
