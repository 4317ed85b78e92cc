"""Success along the axes of a sweep: which vary, what is held, what was published beside it."""

from dataclasses import replace

import pytest
from synthetic import victim

from results.comparison.targeted_axes import AXES, BUDGET, NOISE, along
from results.comparison.targeted_success import targeted_success
from results.figures import targeted_budget, targeted_noise
from results.reference.gradient_matching import published
from results.report.page import render
from results.tables import targeted, targeted_axes
from trials import catalog
from trials.spec import Filtering, MethodConfig, Record, Scalar, Trial, Victim

PLAIN = MethodConfig("fast", {"epochs": 24, "peak": 0.4})
# settings of the attack that a published number is of the default of
TURNED: dict[str, Scalar] = {
    "poisons": "any",
    "iterations": 1,
    "rate": 3.2,
    "schedule": False,
    "start": "zero",
    "optimizer": "pgd",
    "loss": "untargeted",
    "match": "squared",
    "layers": 1,
    "shift": 0.25,
    "restarts": 1,
    "ensemble": 2,
    "augment": False,
}


def brewed(key: int, model: MethodConfig | None = None, **settings: Scalar) -> Victim:
    """A resolved victim, on the whole of CIFAR-10 with the ResNet-18 of the papers."""
    attack = catalog.resolve("attacks", MethodConfig("witches_brew", {"key": key, **settings}))
    own = catalog.resolve("models", model or MethodConfig("resnet18"))
    whole = MethodConfig("cifar10", {"subset": 0, "size": 32})
    recipe = catalog.resolve("recipes", PLAIN)
    of = replace(victim(), dataset=whole, model=own, attacks=(attack,), training=recipe)
    return replace(of, seed=0, reserve=0.0)


def shaped(key: int, name: str = "gradient_shaping", **settings: float) -> Victim:
    given = MethodConfig(name, {**PLAIN.params, **settings})
    return replace(brewed(key), training=catalog.resolve("recipes", given))


def unmoved(key: int, **settings: int) -> Victim:
    """Of a recipe that leaves images as they are."""
    given = catalog.resolve("recipes", MethodConfig("fast", {**PLAIN.params, "augment": False}))
    return replace(brewed(key, None, **settings), training=given)


def measured(of: Victim, success: float, cda: float = 0.9) -> Record:
    trial = Trial(game=MethodConfig("targeted"), victim=of, method=None, trusted=0.0, seed=of.seed)
    found = {"success": success, "success_control": 0.0, "cda": cda, "cda_control": 0.92}
    found |= {"wanted": success, "wanted_control": 0.1, "m": 500.0, "n_targeted": 1.0}
    return Record(trial=trial, status="done", metrics=found)


def swept() -> list[Record]:
    """Each axis with two points, four keys; of the first k keys the attack succeeds."""
    found = []
    for key in range(4):
        found += [measured(brewed(key), float(key < 3))]
        found += [measured(brewed(key, epsilon=8), float(key < 2))]
        found += [measured(brewed(key, epsilon=8, budget=0.005), float(key < 1))]
        found += [measured(brewed(key, restarts=1), float(key < 2))]
        found += [measured(brewed(key, augment=False), 0.0)]
        vgg = MethodConfig("torchvision", {"arch": "vgg11_bn"})
        found += [measured(brewed(key, vgg, arch="resnet18", epsilon=8), float(key < 1))]
        found += [measured(shaped(key, noise=0.01), 0.0, cda=0.7)]
        found += [measured(shaped(key, noise=0.001), float(key < 1), cda=0.8)]
    return found


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return swept()


def test_a_table_for_each_axis_that_varies_and_for_no_other(records: list[Record]) -> None:
    made = targeted_axes.table(records)
    counts = made["by"].value_counts(sort=False).to_dict()
    assert counts == {
        "ε and budget": 3,
        "restarts and ensemble": 2,
        "augmentation": 2,
        "architecture": 2,
        "noise in the training": 3,
    }
    few = [r for r in records if r.trial.victim.attacks[0].params["epsilon"] == 16]
    assert "ε and budget" not in set(targeted_axes.table(few)["by"])
    assert not len(targeted_axes.table(records[:1])) and not len(targeted_axes.table([]))


def test_a_row_has_its_axis_and_what_was_measured(records: list[Record]) -> None:
    made = targeted_axes.table(records)
    rows = made[made["by"] == "ε and budget"].to_dict("records")
    assert [(r["epsilon"], r["budget"]) for r in rows] == [(8, 0.005), (8, 0.01), (16, 0.01)]
    assert [r["success (%)"] for r in rows] == [25.0, 50.0, 75.0]
    assert {(r["keys"], r["victims"], r["control (%)"], r["CDA (%)"]) for r in rows} == {
        (4, 4, 0.0, 90.0)
    }
    low, high = map(float, str(rows[1]["95 % interval (%)"]).split(" – "))
    assert low < 50 < high
    there = made[made["by"] == "architecture"].to_dict("records")
    assert [(r["model"], r["surrogate"]) for r in there] == [
        ("resnet18", "resnet18"),
        ("torchvision:vgg11_bn", "resnet18"),
    ]


def test_the_victims_augmentation_is_on_the_axis_of_the_poisons() -> None:
    found = [brewed(0), brewed(0, augment=False), unmoved(0), unmoved(0, augment=False)]
    rows = targeted_axes.table([measured(v, 1.0) for v in found])
    assert set(rows["by"]) == {"augmentation"}
    points = {(r["augment"], r["training's augment"]) for r in rows.to_dict("records")}
    assert points == {(True, True), (False, True), (True, False), (False, False)}


def test_other_settings_that_differ_are_held_and_said() -> None:
    both = [(e, a) for e in (8, 16) for a in (True, False)]
    records = [measured(brewed(key, epsilon=e, augment=a), 1.0) for key in (0, 1) for e, a in both]
    rows = along(targeted_success(records), BUDGET)
    assert [c.held for c in rows] == ["augment = False"] * 2 + ["augment = True"] * 2
    assert [c.at["epsilon"] for c in rows] == [8, 16, 8, 16] and len({c.line for c in rows}) == 2


def test_what_was_published_stands_beside_its_like_alone(records: list[Record]) -> None:
    made = targeted_axes.table(records)
    rows = made[made["by"] == "ε and budget"].to_dict("records")
    assert [r["published success (%)"] for r in rows] == [None, 45.0, 90.0]
    assert "Schwarzschild" in rows[1]["published in"] and "Geiping" in rows[2]["published in"]
    vgg = made[(made["by"] == "architecture") & (made["model"] == "torchvision:vgg11_bn")]
    assert vgg["published success (%)"].tolist() == [8.0]
    assert set(targeted.table(records)["published success (%)"]) == {None, 8.0, 45.0, 90.0}


def test_other_cases_have_no_published_number() -> None:
    like = brewed(0, epsilon=8)
    assert published(like) is not None
    filtering = Filtering(method=MethodConfig("deep_knn"), reject=0.1, trusted=0.05, seed=0)
    narrow = catalog.resolve("models", MethodConfig("resnet18", {"width": 16}))
    for other in (
        replace(like, dataset=MethodConfig("cifar10", {"subset": 10_000})),
        replace(like, dataset=MethodConfig("cifar10", {"size": 16})),
        replace(like, dataset=MethodConfig("cifar10", {"imbalance": 0.1})),
        replace(like, reserve=0.1),
        replace(like, model=narrow),
        replace(like, filter=filtering),
        replace(like, training=shaped(0).training),
        unmoved(0, epsilon=8),
        brewed(0, epsilon=8, budget=0.02),
        brewed(0, epsilon=16, restarts=1),
        brewed(0, epsilon=8, arch="resnet18:width=16"),
        replace(like, attacks=(MethodConfig("badnets", {"m": 500}),)),
        *(replace(like, training=trained(name, 23)) for name in ("fast", "paper")),
        replace(like, training=MethodConfig("fast", {"epochs": 24, "start": "other.safetensors"})),
    ):
        assert published(other) is None, other


def trained(name: str, epochs: int) -> MethodConfig:
    return catalog.resolve("recipes", MethodConfig(name, {"epochs": epochs}))


@pytest.mark.parametrize("key", sorted(TURNED))
@pytest.mark.parametrize("epsilon", [8, 16])
def test_a_published_number_is_of_the_attack_as_it_was_published(epsilon: int, key: str) -> None:
    assert published(brewed(0, None, **{"epsilon": epsilon, key: TURNED[key]})) is None


def test_other_draws_and_rounding_have_the_same_published_number() -> None:
    others: list[dict[str, Scalar]] = [{"instance": "3-5-17"}, {"surrogate": 1}, {"batch": 128}]
    for settings in others:
        assert published(brewed(7, None, epsilon=8, precision="bf16", **settings))
    assert published(replace(brewed(0), training=trained("paper", 24)))


def test_noise_stands_beside_the_training_without_it(records: list[Record]) -> None:
    rows = along(targeted_success(records), NOISE)
    assert [(c.at["training"], c.at.get("noise")) for c in rows] == [
        ("fast", None),
        ("gradient_shaping", 0.001),
        ("gradient_shaping", 0.01),
    ]
    private = [measured(shaped(k, "dp_sgd", epsilon=e), 0.0) for k in range(2) for e in (2.0, 8.0)]
    found = along(targeted_success([*records, *private]), NOISE)
    assert [c.at["privacy ε"] for c in found if c.at["training"] == "dp_sgd"] == [2.0, 8.0]
    chart = targeted_noise.figure([*records, *private])
    assert len(chart.data) == 4  # two recipes, success and CDA of each
    assert list(chart.data[0].x) == [0.001, 0.01] and list(chart.data[0].y) == [25.0, 0.0]
    assert list(chart.data[1].y) == [80.0, 70.0] and list(chart.data[2].x) == [2.0, 8.0]
    assert len(chart.layout.shapes) == 4  # the plain training in each panel
    assert not targeted_noise.figure(records[:6]).data


def test_the_figure_of_budgets_has_a_line_an_epsilon(records: list[Record]) -> None:
    chart = targeted_budget.figure(records)
    lines = {t.name: (list(t.x), list(t.y)) for t in chart.data}
    assert lines["ε = 8"] == ([0.5, 1.0], [25.0, 50.0]) and lines["ε = 16"] == ([1.0], [75.0])
    assert lines["published"] == ([1.0, 1.0], [45.0, 90.0])
    assert not targeted_budget.figure(records[:2]).data


def test_the_page_has_a_table_for_each_axis(records: list[Record]) -> None:
    page = render(records, title="brew")
    assert [axis.name for axis in AXES if f"Success by {axis.name}" not in page] == []
    assert "nothing was published of its like" in page
    plain = render(records[:1], title="brew")
    assert [axis.name for axis in AXES if f"Success by {axis.name}" in plain] == []


def test_an_attacks_setting_has_one_name_beside_every_training() -> None:
    """Also where only some of the trainings have a setting of that name, as precision."""
    trainings = [brewed(0), *(shaped(0, "dp_sgd", epsilon=e) for e in (2.0, 8.0))]
    for precision in ("fp32", "bf16"):
        attack = brewed(0, precision=precision).attacks
        records = [measured(replace(of, attacks=attack), 1.0) for of in trainings]
        assert len(along(targeted_success(records), NOISE)) == 3


def test_the_epsilon_of_adversarial_training_is_no_privacy() -> None:
    robust = catalog.resolve("recipes", MethodConfig("adversarial_training"))
    every = [brewed(0, epsilon=e) for e in (8, 16)]
    every += [replace(of, training=robust) for of in every]
    rows = along(targeted_success([measured(of, 1.0) for of in every]), BUDGET)
    assert [c.at["epsilon"] for c in rows] == [8, 16, 8, 16]
    held = [c.held for c in rows if c.found.victim.training.name == robust.name]
    assert all("training's epsilon" in h and "privacy" not in h for h in held)
