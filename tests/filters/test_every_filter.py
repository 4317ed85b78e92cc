"""What all filters share: a score a row, in the rows' order; each setting changes something."""

import pytest
import torch
from scored_rows import Attacked

from trials import catalog
from trials.spec import Scalar
from trials.views import SampleScores

# a filter, and the least area under the ROC curve for a patch with flipped labels; chance is 0.5;
# confident learning, which has to be blind to it, has a file of its own, and so have cognitive
# distillation and CBD, which do not find this patch on digits
FINDS = {
    "abl": 0.8,
    "activation_clustering": 0.8,
    "badloss": 0.65,
    "confusion_training": 0.8,
    "deep_knn": 0.9,
    "frequency": 0.9,
    "psbd": 0.6,
    "scan": 0.9,
    "spectre": 0.9,
    "spectral_signatures": 0.7,
    "strip": 0.65,
}
OWN_FILE = ("cbd", "cognitive_distillation", "confident_learning")
NAMES = sorted([*FINDS, *OWN_FILE])
QUICK: dict[str, dict[str, Scalar]] = {
    "abl": {"tracked_epochs": 2, "epochs": 2},
    "activation_clustering": {"reduction": "svd"},  # independent components do not settle here
    "badloss": {"tracked_epochs": 3, "epochs": 3},
    "cbd": {"early": 1, "epochs": 1},
    "cognitive_distillation": {"steps": 3},
    "confident_learning": {"folds": 2},
    "confusion_training": {"rounds": 1, "epochs": 1, "steps": 4},
    "frequency": {"epochs": 1},
}
# enough to find the cluster; independent components that do not settle end otherwise by processor
SHORT: dict[str, dict[str, Scalar]] = {
    "activation_clustering": {"reduction": "svd"},
    "frequency": {"epochs": 2},
}
# independent components that do not settle depend on the rows' order
SETTLED: dict[str, dict[str, Scalar]] = {
    "activation_clustering": {"reduction": "none"},
    "spectre": {"covariance": "trusted"},  # the robust one begins in some of the rows
}
# a filter's setting, and another value of it
OTHERS: list[tuple[str, str, Scalar]] = [
    *[("badloss", key, value) for key, value in {"k": 3, "probes": 50, "epochs": 2}.items()],
    ("badloss", "metric", "probability"),
    ("badloss", "seen", "in_training"),
    ("badloss", "augmented", True),
    ("badloss", "lr", 3e-3),
    ("badloss", "weight_decay", 0.5),
    ("badloss", "batch", 32),
    ("psbd", "quantile", 0.5),
    ("psbd", "shifted", 0.05),
    ("psbd", "passes", 5),
    ("psbd", "dropped", "last_stage"),
    ("spectral_signatures", "rule", "count_in_each_class"),
    ("spectral_signatures", "rule", "percentile"),
    ("spectral_signatures", "assumed", 0.2),
    ("spectral_signatures", "scale", "class"),
    ("activation_clustering", "rule", "share"),
    ("activation_clustering", "silhouette", 0.9),
    ("activation_clustering", "reduction", "ica"),
    ("activation_clustering", "reduction", "none"),
    ("activation_clustering", "dimensions", 3),
    ("abl", "isolated", 0.1),
    ("abl", "epochs", 1),
    ("abl", "flooded", "row"),
    ("abl", "floor", 1.5),
    ("abl", "augmented", True),
    ("abl", "lr", 0.05),
    ("abl", "weight_decay", 0.1),
    ("abl", "batch", 32),
    ("strip", "quantile", 0.5),
    ("strip", "form", "sum"),
    ("strip", "alpha", 0.5),
    ("strip", "overlays", 4),
    ("deep_knn", "rule", "plurality"),
    ("deep_knn", "assumed", 0.05),
    ("deep_knn", "factor", 4.0),
    ("scan", "dimensions", 4),
    ("scan", "variation", "rows"),
    ("scan", "flagged", 0.01),
    ("spectre", "assumed", 0.2),
    ("spectre", "dimensions", 2),
    ("spectre", "covariance", "trusted"),
    ("spectre", "alpha", 1.0),
    ("confusion_training", "rounds", 2),
    ("confusion_training", "epochs", 2),
    ("confusion_training", "steps", 8),
    ("confusion_training", "batch", 64),
    ("confusion_training", "confused", 16),
    ("frequency", "corruptions", "all"),
    ("frequency", "epochs", 2),
    ("frequency", "copies", 2),
    ("frequency", "lr", 0.5),
    ("frequency", "batch", 32),
    ("frequency", "probability", 0.01),
    *[("cognitive_distillation", key, 1.0) for key in ("gamma", "beta", "lr", "removed")],
    ("cognitive_distillation", "fill", "mean"),
    ("cognitive_distillation", "steps", 5),
    ("cbd", "early", 2),
    ("cbd", "epochs", 2),
    ("cbd", "critic", 1.0),
    ("cbd", "lr", 0.05),
    ("cbd", "weight_decay", 0.1),
    ("cbd", "batch", 128),
    ("confident_learning", "form", "margin"),
    ("confident_learning", "folds", 3),
]
SHOWN_BY_ANOTHER = {  # settings whose liveness another test shows
    ("badloss", "spikes"),
    ("badloss", "tracked_epochs"),
    ("abl", "tracked_epochs"),
    ("activation_clustering", "share"),
    ("activation_clustering", "classes"),
    ("confusion_training", "ratio"),
    ("spectre", "chosen"),
}


def differ(one: SampleScores, other: SampleScores) -> bool:
    same = [torch.equal(one.scores, other.scores)]
    if one.suspects is not None and other.suspects is not None:
        same.append(torch.equal(one.suspects, other.suspects))
    return not all(same)


def test_all_filters_and_settings_are_looked_at() -> None:
    assert set(NAMES) == set(catalog.names("filters"))
    looked = {(name, key) for name, key, _ in OTHERS} | SHOWN_BY_ANOTHER
    for name in catalog.names("filters"):
        assert {(name, key) for key in catalog.describe("filters", name).settings} <= looked


@pytest.mark.parametrize("name", FINDS)
def test_a_planted_cluster_is_found(name: str, attacked: Attacked) -> None:
    found = attacked.scored(name, **SHORT.get(name, {}))
    assert found.scores.shape == attacked.poisoned.shape
    assert attacked.auroc(found) > FINDS[name]
    assert (found.suspects is not None) == catalog.describe("filters", name).rejects


@pytest.mark.parametrize("name", NAMES)
def test_rows_in_another_order_have_the_same_scores_in_that_order(
    name: str, attacked: Attacked
) -> None:
    settings = {**QUICK.get(name, {}), **SETTLED.get(name, {})}
    before = attacked.scored(name, **settings)
    order = torch.randperm(len(before.scores), generator=torch.Generator().manual_seed(1))
    after = attacked.scored(name, attacked.permuted(order), **settings)
    both = torch.stack([after.scores, before.scores[order]])
    if name == "activation_clustering":  # 2-means begins in other rows, and may end otherwise
        assert torch.corrcoef(both)[0, 1] > 0.95
        return
    assert torch.allclose(both[0], both[1], atol=1e-4, rtol=1e-3)
    if before.suspects is not None and after.suspects is not None:
        assert (after.suspects != before.suspects[order]).double().mean() < 0.01


@pytest.mark.parametrize(("name", "key", "value"), OTHERS)
def test_each_setting_changes_what_is_said(
    name: str, key: str, value: Scalar, attacked: Attacked
) -> None:
    plain = attacked.scored(name, **QUICK.get(name, {}))
    other = attacked.scored(name, **{**QUICK.get(name, {}), key: value})
    assert differ(plain, other)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [*OTHERS, ("activation_clustering", "share", 0.01), ("confusion_training", "ratio", 1.01)],
)
def test_scores_are_another_unless_the_own_rule_alone_reads_a_setting(
    name: str, key: str, value: Scalar, attacked: Attacked
) -> None:
    plain = attacked.scored(name, **QUICK.get(name, {}))
    other = attacked.scored(name, **{**QUICK.get(name, {}), key: value})
    alone = key in catalog.describe("filters", name).rejects_by
    assert torch.equal(plain.scores, other.scores) == alone


@pytest.mark.parametrize("name", NAMES)
def test_a_filter_leaves_what_it_sees_alone(name: str, attacked: Attacked) -> None:
    x, y = attacked.view.train.x.clone(), attacked.view.train.y.clone()
    weights = {k: v.clone() for k, v in attacked.view.trained().state_dict().items()}
    attacked.scored(name, attacked.view, **QUICK.get(name, {}))
    assert torch.equal(attacked.view.train.x, x) and torch.equal(attacked.view.train.y, y)
    after = attacked.view.trained().state_dict()
    assert all(torch.equal(after[key], value) for key, value in weights.items())
