"""Whether copies predict: which settings are pairs, at which step, and how good the pairs are."""

import dataclasses
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import synthetic
from scipy.stats import kendalltau
from synthetic import tuned

from benchmarks.prediction import keep
from results.comparison.prediction import Pair, pairs
from results.comparison.prediction_quality import CONTROLS, by_victim, qualities, regret
from trials.spec import MethodConfig, Record, Scalar

Rows = Sequence[tuple[int, float, float]]
ON_COPIES = [(0, 0.95, 1.0), (50, 0.94, 0.4), (100, 0.94, 0.2), (150, 0.94, 0.1)]
# step, test CDA, η, CDA on held-out trusted images; the copies' best step costs too much here
REAL = [(0, 0.96, 0.99, 0.95), (50, 0.95, 0.7, 0.94), (100, 0.95, 0.5, 0.94), (150, 0.9, 0.3, 0.92)]

OWN_COUNTS = {"mask_share": 0.2, "n_reconstructed": 100.0}  # a reconstructed trigger, small enough


def on_copies(
    curve: Rows = ON_COPIES,
    extra: Mapping[int, Mapping[str, float]] | None = None,
    planted: Mapping[str, Scalar] | None = None,
    **kwargs: Any,
) -> Record:
    record = tuned(curve, "tuning", **kwargs)
    points = [dataclasses.replace(p, extra=(extra or {}).get(p.step, {})) for p in record.curve]
    config = MethodConfig("self_poison", dict(planted or {}))
    trial = dataclasses.replace(record.trial, self_poisoning=config)
    return dataclasses.replace(record, trial=trial, curve=tuple(points))


def on_the_victim(
    curve: Sequence[tuple[int, float, float, float]] = REAL, stop_at: int = 0, **kwargs: Any
) -> Record:
    plain = [(step, cda, asr) for step, cda, asr, _ in curve]
    record = synthetic.real(
        plain, [v for *_, v in curve], game_params={"stop_at": stop_at}, **kwargs
    )
    return dataclasses.replace(record, metrics={**record.metrics, "n_triggered": 9000.0})


def test_a_setting_on_copies_and_on_the_victim_is_a_pair() -> None:
    (pair,) = pairs([on_copies(params={"lr": 0.1}), on_the_victim(params={"lr": 0.1})])
    assert (pair.victim, pair.attack) == (synthetic.victim().id, "badnets (m = 500)")
    assert (pair.defense, pair.family) == ("weight_decay", "fine_tuning")
    assert (pair.settings, pair.scheme, pair.kinds) == ("lr = 0.1", "labels", "badnets")
    assert (pair.step, pair.n_real) == (100, 9000)
    assert (pair.eta_copy_worst, pair.eta_copy_mean, pair.eta_real) == (0.2, 0.2, 0.5)
    assert pair.cda_loss_copy == pytest.approx(0.01)
    assert pair.cda_loss_given == pytest.approx(0.01)
    assert pair.cda_loss_real == pytest.approx(0.01)
    assert pair.as_row()["eta_real"] == 0.5


def test_the_step_is_the_best_of_the_copies_that_the_given_model_can_afford() -> None:
    both = [on_copies(), on_the_victim()]
    assert [p.step for p in pairs(both, delta=0.03)] == [150]
    assert [p.step for p in pairs(both, delta=0.02)] == [100]
    assert [p.step for p in pairs(both, delta=0.001)] == [50]  # none: the cheapest


def test_the_worst_kind_of_the_copies_is_compared_with_the_real_attack() -> None:
    kinds = {s: {"asr/patch": 1 - s / 300, "asr/warp": s / 200} for s, *_ in ON_COPIES}
    copied = on_copies(extra=kinds, planted={"scheme": "late", "attack": "mixed"})
    (pair,) = pairs([copied, on_the_victim()])
    assert (pair.scheme, pair.kinds) == ("late", "patch+warp")
    assert (pair.step, pair.eta_copy_worst) == pytest.approx((100, 2 / 3))
    assert pair.eta_copy_mean == 0.2
    (mean,) = pairs([copied, on_the_victim()], "mean_within_delta")
    assert (mean.step, mean.eta_copy_worst) == pytest.approx((50, (5 / 6 + 1 / 4) / 2))


def test_the_copies_own_loss_is_told_where_the_cost_is_the_given_models() -> None:
    lost = {0: {"cda_copies": 0.9}, 50: {"cda_copies": 0.86}, 100: {"cda_copies": 0.84}}
    (pair,) = pairs([on_copies(ON_COPIES[:3], lost), on_the_victim()])
    assert pair.cda_loss_copy == pytest.approx(0.06)


@pytest.mark.parametrize(
    "real",
    [
        on_the_victim(stop_at=100),  # not run to its end
        on_the_victim(params={"lr": 0.2}),
        on_the_victim(trusted=0.5),
        on_the_victim(of=synthetic.victim(seed=1)),
        on_the_victim([REAL[0], (70, *REAL[1][1:])]),  # no step in common
        dataclasses.replace(on_the_victim(), status="failed", metrics={}, error="no"),
    ],
)
def test_what_was_not_measured_on_both_is_no_pair(real: Record) -> None:
    assert pairs([on_copies(), real]) == []


def test_a_pair_is_the_mean_over_seeds() -> None:
    other = [(s, cda, asr / 2) for s, cda, asr in ON_COPIES]
    harder = [(s, cda, asr / 2, seen) for s, cda, asr, seen in REAL]
    records = [
        on_copies(),
        on_copies(other, seed=1),
        on_the_victim(),
        on_the_victim(harder, seed=1),
    ]
    (pair,) = pairs(records)
    assert pair.eta_copy_worst == pytest.approx(0.15)
    assert pair.eta_real == pytest.approx(0.375)


def pair(victim: str, copy: float, real: float, cost: float = 0.01, **changes: Any) -> Pair:
    given: dict[str, Any] = {
        "victim": victim,
        "attack": "badnets",
        "victim_seed": 0,
        "trusted": 0.01,
        "scheme": "late",
        "kinds": "patch",
        "defense": "weight_decay",
        "family": "fine_tuning",
        "settings": f"copy = {copy}",
        "step": 100,
        "eta_copy_worst": copy,
        "eta_copy_mean": copy,
        "eta_real": real,
        "cda_loss_copy": cost,
        "cda_loss_given": cost,
        "cda_loss_real": cost,
        "n_real": 9000,
    }
    return Pair(**{**given, **changes})


def test_each_share_of_trusted_images_has_its_own_pairs(tmp_path: Path) -> None:
    left = {s: {"asr_reconstructed": asr, "val_cda": 0.95} for s, _, asr in ON_COPIES}
    records = []
    for r in (0.01, 0.05):
        for record in (on_copies(extra=left, trusted=r), on_the_victim(trusted=r)):
            records.append(dataclasses.replace(record, metrics={**record.metrics, **OWN_COUNTS}))
    found = pairs(records)
    assert sorted((p.scheme, p.trusted) for p in found) == [
        ("labels", 0.01),
        ("labels", 0.05),
        ("reconstructed", 0.01),
        ("reconstructed", 0.05),
    ]
    for _ in range(2):  # the second time in place of the first
        assert keep(found, tmp_path / "pairs.csv") == 4


@pytest.mark.parametrize(("metric", "kind"), [("mask_share", "mask"), ("odds_share", "smooth")])
def test_pairs_of_masks_and_of_smooth_triggers_are_apart(metric: str, kind: str) -> None:
    left = {s: {"asr_reconstructed": asr, "val_cda": 0.95} for s, _, asr in ON_COPIES}
    each = (on_copies(extra=left), on_the_victim())
    records = [dataclasses.replace(r, metrics={**r.metrics, metric: 0.1}) for r in each]
    assert [p.kinds for p in pairs(records) if p.scheme == "reconstructed"] == [kind]


def test_a_mask_and_a_smooth_trigger_of_one_setting_are_two_pairs() -> None:
    left = {s: {"asr_reconstructed": asr, "val_cda": 0.95} for s, _, asr in ON_COPIES}
    records = []
    for metric, planted in (("mask_share", {}), ("odds_share", {"lr": 0.2})):
        record = on_copies(extra=left, planted=planted)
        records.append(dataclasses.replace(record, metrics={**record.metrics, metric: 0.1}))
    found = [p for p in pairs([*records, on_the_victim()]) if p.scheme == "reconstructed"]
    assert sorted(p.kinds for p in found) == ["mask", "smooth"]
    assert qualities(found)[0].regret is not None


def test_seeds_whose_triggers_differ_in_form_make_no_pair() -> None:
    left = {s: {"asr_reconstructed": asr, "val_cda": 0.95} for s, _, asr in ON_COPIES}
    records = []
    for seed, metric in enumerate(("mask_share", "odds_share")):
        record = on_copies(extra=left, seed=seed)
        records.append(dataclasses.replace(record, metrics={**record.metrics, metric: 0.1}))
    assert {p.scheme for p in pairs([*records, on_the_victim()])} == {"labels"}


def test_settings_are_chosen_among_those_of_one_share_of_trusted_images() -> None:
    one = [pair("a", 0.1, 0.4), pair("a", 0.2, 0.3)]
    other = [dataclasses.replace(p, trusted=0.05, eta_real=0.0) for p in one]
    (found,) = qualities(one + other)
    assert (found.victims, found.n) == (1, 4)
    assert (found.regret, found.worst_regret) == pytest.approx((0.05, 0.1))


def test_regret_is_what_the_choice_on_copies_gives_away() -> None:
    group = [pair("a", 0.1, 0.4), pair("a", 0.2, 0.3), pair("a", 0.0, 0.0, cost=0.05)]
    assert regret(group, 0.02) == pytest.approx(0.1)
    assert regret(group, 0.05) == 0
    assert regret(group, 0.001) is None
    tied = [pair("a", 0.1, 0.4, cost=0.02), pair("a", 0.1, 0.2, cost=0.0)]
    assert regret(tied, 0.02) == 0  # of equals the cheaper


def test_the_quality_of_a_scheme_by_hand() -> None:
    one = [pair("a", 0.1, 0.2), pair("a", 0.2, 0.1), pair("a", 0.6, 0.9), pair("a", 0.8, 0.7)]
    two = [pair("b", 0.3, 0.5), pair("b", 0.1, 0.1), pair("b", 0.5, 0.8)]
    (found,) = qualities(one + two)
    assert (found.scheme, found.victims, found.n) == ("late", 2, 7)
    assert found.error == pytest.approx((0.1 + 0.1 + 0.3 + 0.1 + 0.2 + 0.0 + 0.3) / 7)
    assert found.bias == pytest.approx((-0.1 + 0.1 - 0.3 + 0.1 - 0.2 + 0.0 - 0.3) / 7)
    tau = kendalltau([0.1, 0.2, 0.6, 0.8], [0.2, 0.1, 0.9, 0.7]).statistic
    assert found.tau == pytest.approx((tau + 1) / 2)
    assert (found.regret, found.worst_regret) == pytest.approx((0.05, 0.1))
    assert found.covered is None  # no interval from so few


def test_controls_and_other_families_are_left_out() -> None:
    some = [pair("a", 0.1, 0.2), pair("a", 1.0, 1.0, family="control")]
    other = pair("a", 0.1, 0.9, family="pruning")
    assert [q.n for q in qualities(some)] == [1]
    assert [q.error for q in qualities([*some, other], families=["pruning"])] == pytest.approx(
        [0.8]
    )
    assert qualities([some[1]]) == []


def test_schemes_are_told_apart_in_order_of_error() -> None:
    some = [pair("a", 0.1, 0.9, scheme="labels"), pair("a", 0.1, 0.2), pair("b", 0.1, 0.1)]
    assert [(q.scheme, q.victims, q.n) for q in qualities(some)] == [
        ("late", 2, 2),
        ("labels", 1, 1),
    ]


def ordered(victims: int, settings: int, seed: int = 0) -> list[Pair]:
    """Copies that order each victim's settings as the real attack does."""
    rng = random.Random(seed)
    etas = [[rng.random() for _ in range(settings)] for _ in range(victims)]
    named = [(f"v{i}", eta) for i, row in enumerate(etas) for eta in row]
    return [pair(name, eta, eta**2) for name, eta in named]


def test_shuffled_copies_order_nothing() -> None:
    (found,) = qualities(ordered(5, 8))
    assert found.tau == pytest.approx(1.0) and found.tau_interval == pytest.approx((1.0, 1.0))
    assert found.shuffled is not None and abs(found.shuffled) < 0.05


def test_coverage_leaves_the_victim_itself_out() -> None:
    """One victim is unlike all others: with its own pairs its interval would hold them."""
    alike = [pair(f"v{i // 10}", 0.3, 0.3 + 0.001 * (i % 10)) for i in range(40)]
    odd = [pair("odd", 0.3, 0.9) for _ in range(10)]
    (found,) = qualities(alike + odd)
    assert found.covered == pytest.approx(40 / 50)
    (sure,) = qualities(alike)
    assert sure.covered == 1
    other = [dataclasses.replace(p, kinds="warp", eta_real=0.9) for p in alike]
    (apart,) = qualities(alike + other)  # copies with other kinds have intervals of their own
    assert apart.covered == 1
    (alone,) = qualities([pair("v", 0.3, 0.3) for _ in range(40)])
    assert alone.covered is None
    assert CONTROLS not in {p.family for p in alike}


def test_each_victim_is_told_by_itself() -> None:
    """The order of one is right, that of the other wrong, and the interval spans both."""
    right = [pair("a", eta, eta) for eta in (0.1, 0.5, 0.9)]
    wrong = [pair("b", eta, 1 - eta) for eta in (0.1, 0.5, 0.9)]
    controls = [pair("a", 1.0, 1.0, family="control")]
    first, second = by_victim([*wrong, *right, *controls])
    assert [(o.victim, o.n, o.scheme) for o in (first, second)] == [
        ("a", 3, "late"),
        ("b", 3, "late"),
    ]
    assert (first.tau, first.regret, first.error) == pytest.approx((1.0, 0.0, 0.0))
    assert (second.tau, second.regret) == pytest.approx((-1.0, 0.8))
    (both,) = qualities([*right, *wrong])
    assert both.tau == pytest.approx(0.0) and both.tau_interval == pytest.approx((-1.0, 1.0))
