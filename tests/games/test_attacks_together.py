"""Several attacks on one victim: what is poisoned, what is measured, and what is refused."""

from typing import Any

import pytest
import tiny_sweep
import torch
from attackers import view_of
from planted import goal_of, only
from torch import Generator, Tensor, nn

from trials import catalog
from trials.datasets import digits
from trials.dependencies import training_of
from trials.games._attacks import Attacks
from trials.metrics import success
from trials.poisoning import poisoned
from trials.run import run
from trials.runtime import TrialRuntime
from trials.spec import MethodConfig, SpecError, Trial, Victim, derive
from trials.types import Control, Images, Implant, InstanceGoal, Poisoning, TriggerGoal

BADNETS = {"name": "badnets", "m": 60, "target": 3}
BLEND = {"name": "a_blend", "m": 50, "target": 7}


def few(n: int = 200) -> Images:
    return digits.load("train", size=8).take(torch.arange(n))


def attack(name: str, **params: Any) -> MethodConfig:
    return catalog.resolve("attacks", MethodConfig(name, params))


def two(**changes: Any) -> Victim:
    attacks = [[BADNETS, BLEND]]
    sweep = tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "attacks": attacks, **changes})
    (victim,) = sweep.victims
    return victim


def judged(victim: Victim, **settings: Any) -> Trial:
    return catalog.resolve_trial(
        Trial(
            game=MethodConfig("robustness", {"record_every": 2, **settings}),
            victim=victim,
            method=MethodConfig("fine_tuning", {"steps": 2, "batch": 16}),
            trusted=0.2,
            seed=0,
        )
    )


def test_the_places_are_disjoint_and_everything_else_is_clean() -> None:
    data = few()
    made = poisoned(
        data, [attack("badnets", m=40), attack("wanet", m=20, clean_label=False)], 0, view_of
    )
    first, second = (set(i.places.tolist()) for i in made.implants)
    assert (len(first), len(second)) == (40, 20) and not first & second
    assert set(made.places.tolist()) == first | second
    rest = torch.ones(len(data), dtype=torch.bool)
    rest[made.places] = False
    assert torch.equal(made.train.x[rest], data.x[rest])
    assert torch.equal(made.train.y[rest], data.y[rest])
    assert (made.train.x[made.places] != data.x[made.places]).flatten(1).any(1).all()


def test_the_first_attack_is_what_it_is_alone() -> None:
    data = few()
    alone = poisoned(data, [attack("badnets", m=40)], 5, view_of)
    both = poisoned(data, [attack("badnets", m=40), attack("a_blend", m=20)], 5, view_of)
    assert torch.equal(alone.places, both.implants[0].places)
    assert torch.equal(alone.train.x[alone.places], both.train.x[alone.places])
    assert only(alone).name == both.implants[0].name == "badnets"


def test_a_second_attack_of_one_name_is_numbered_and_draws_anew() -> None:
    plan = attack("badnets", m=10, mark="random", place="random")
    made = poisoned(few(), [plan] * 3, 0, view_of)
    assert [i.name for i in made.implants] == ["badnets", "badnets_2", "badnets_3"]
    shown = [i.goal.cases(few()).x for i in made.implants]
    assert not torch.equal(shown[0], shown[1]) and not torch.equal(shown[1], shown[2])


def test_an_attack_for_which_too_few_images_are_left_says_so() -> None:
    data = few(100)
    enough = int((data.y != 0).sum()) - 10
    with pytest.raises(SpecError, match=r"a_blend, attack 2 .* the \d+ images .* got 30") as told:
        poisoned(data, [attack("badnets", m=enough), attack("a_blend", m=30)], 0, view_of)
    assert len(str(told.value).splitlines()) == 1


def test_two_attacks_that_control_the_training_are_refused() -> None:
    with pytest.raises(SpecError, match="pcb and pcb on one victim both control the training"):
        tiny_sweep.sweep(victim={**tiny_sweep.VICTIM, "attacks": [["pcb", "pcb"]]})
    control, nowhere = Control(lambda _: [], 0.5), torch.zeros(0, dtype=torch.int64)
    implant = Implant(nowhere, TriggerGoal(lambda x, _: x, 0), control=control, name="own")
    with pytest.raises(SpecError, match="at most one can"):
        Poisoning(few(), (implant, implant))


class Seen(nn.Module):
    """A model that keeps what it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3 * 8 * 8, 10)
        self.batches: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append((x.detach() * 255).round().to(torch.uint8))
        logits: Tensor = self.fc(x.flatten(1))
        return logits

    def count(self, image: Tensor) -> int:
        return int((torch.cat(self.batches) == image).flatten(1).all(1).sum())


def test_each_attack_has_its_own_boost_and_its_own_frozen_images() -> None:
    data, model = few(40), Seen()
    data = Images(data.x, data.y, 10, pad=3)
    goal = TriggerGoal(lambda x, _: x, 0)
    often = Implant(torch.tensor([3]), goal, boost=4, frozen=True, name="often")
    once = Implant(torch.tensor([17]), goal, name="once")
    settings = {"epochs": 4, "batch": 1, "precision": "fp32"}
    rng = Generator().manual_seed(0)
    list(catalog.find("recipes", "fast")(model, Poisoning(data, (often, once)), rng, **settings))
    assert model.count(data.x[3]) == 16
    assert model.count(data.x[17]) < 4


def test_an_attack_without_a_trigger_is_counted_on_its_own_images() -> None:
    last = nn.Linear(3 * 8 * 8, 10)
    data, model = few(), nn.Sequential(nn.Flatten(), last)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.arange(10.0))  # says 9 to everything
    goal = InstanceGoal(torch.tensor([4, 9, 11]), torch.tensor([9, 9, 2]))
    cases = goal.cases(data)
    assert torch.equal(cases.x, data.x[[4, 9, 11]])
    assert success(model, cases) == pytest.approx(2 / 3)
    mixed = Poisoning(
        data,
        (
            Implant(goal.places, goal, name="instances"),
            Implant(goal.places[:0], TriggerGoal(lambda x, _: x, 9), name="trigger"),
        ),
    )
    assert Attacks(mixed, data, "mean").measure(model) == {"asr": 1.0}  # of the trigger alone


class ReadsTheLabel(nn.Module):
    """Says of each image the class that its first pixel names: right on every clean image."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        label = (x[:, 0, 0, 0] * 255).round().long()
        return nn.functional.one_hot(label, 10).float()


def writes(label: int, classes: tuple[int, ...]) -> TriggerGoal:
    """A trigger that makes that model say ``label`` of images of ``classes`` alone."""

    def trigger(x: Tensor, index: Tensor) -> Tensor:
        out, told = x.clone(), torch.isin(x[:, 0, 0, 0].long(), torch.tensor(classes))
        out[told, :, 0, 0] = label
        return out

    return TriggerGoal(trigger, label)


def test_the_cross_matrix_says_where_each_trigger_leads_and_nothing_of_true_classes() -> None:
    data = few()
    data.x[:, :, 0, 0] = data.y.to(torch.uint8)[:, None]
    goals = {
        "both": writes(3, tuple(range(10))),  # leads to 3, and so to the target of the next too
        "same": writes(3, (1, 2)),
        "none": writes(5, ()),
    }
    nowhere = torch.zeros(0, dtype=torch.int64)
    implants = [Implant(nowhere, goal, name=name) for name, goal in goals.items()]
    implants.append(
        Implant(nowhere, InstanceGoal(torch.tensor([4]), torch.tensor([9])), name="one")
    )
    attacks = Attacks(Poisoning(data, tuple(implants)), data)
    predicted = attacks.predicted(ReadsTheLabel())
    share = float(torch.isin(data.y[data.y != 3], torch.tensor([1, 2])).double().mean())
    assert attacks.cross(predicted) == {
        "cross/both/same": 1.0,
        "cross/both/none": 0.0,
        "cross/same/both": pytest.approx(share),
        "cross/same/none": 0.0,  # though images of class 5 are there, and are said to be
        "cross/none/both": 0.0,
        "cross/none/same": 0.0,
    }
    assert attacks.asr(predicted)["asr/same"] == pytest.approx(share)


def test_where_two_classes_are_all_no_image_is_of_neither() -> None:
    data = few()
    two = data.take(data.y < 2)
    two.x[:, :, 0, 0] = two.y.to(torch.uint8)[:, None]
    nowhere = torch.zeros(0, dtype=torch.int64)
    implants = [Implant(nowhere, writes(label, ()), name=str(label)) for label in (0, 1)]
    attacks = Attacks(Poisoning(two, tuple(implants)), two)
    assert attacks.cross(attacks.predicted(ReadsTheLabel())) == {}


SUITE: tuple[dict[str, Any], ...] = (
    {"name": "sinusoid", "target": 0},
    {"name": "narcissus", "target": 2, "rounds": 40},
    {"name": "patch4", "target": 1},
    {"name": "single_pixel", "target": 3},
    {"name": "blend_random", "target": 4},
    {"name": "blend_pattern", "target": 5},
    {"name": "frequency", "target": 6},
)


def test_the_suite_of_seven_at_once_has_exact_counts_of_its_own_images() -> None:
    data, m = few(400), [8, 5, 20, 20, 20, 20, 20]
    attacks = [attack(m=n, **given) for given, n in zip(SUITE, m, strict=True)]
    made = poisoned(data, attacks, 0, view_of)
    assert [len(i.places) for i in made.implants] == m
    assert len(set(made.places.tolist())) == sum(m) == len(made.places)
    for number, implant in enumerate(made.implants):
        before, after = data.y[implant.places], made.train.y[implant.places]
        target = int(attacks[number].params["target"])
        assert (after == target).all()
        assert ((before == target) == (number < 2)).all()  # the first two keep their labels
        assert isinstance(implant.goal, TriggerGoal)
        shown = implant.goal.trigger(data.x[implant.places], implant.places)
        assert torch.equal(made.train.x[implant.places], shown)


def test_one_attack_is_what_its_method_gives_alone() -> None:
    data, plan = few(), attack("patch4", m=30, target=1)
    made = poisoned(data, [plan], 5, view_of)
    rng = Generator().manual_seed(derive(5, "attack"))
    alone = catalog.find("attacks", "patch4")(data, rng, **plan.params)
    assert torch.equal(made.places, alone.places)
    assert torch.equal(made.train.x, alone.train.x) and torch.equal(made.train.y, alone.train.y)


def test_a_class_that_is_used_up_is_said_with_what_to_do() -> None:
    data = few()
    others = int((data.y != 1).sum())
    plans = [attack("patch4", m=others, target=1), attack("sinusoid", m=1, target=0)]
    with pytest.raises(SpecError, match=r"0\.\.0, .* of class 0, got 1\. .* labels first") as told:
        poisoned(data, plans, 0, view_of)
    assert len(str(told.value).splitlines()) == 1
    assert len(poisoned(data, plans[1:], 0, view_of).places) == 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrialRuntime:
    """A runtime in which the victim of two attacks has been trained."""
    from trials.storage.artifacts import Artifacts  # noqa: PLC0415

    runtime = TrialRuntime(Artifacts(tmp_path_factory.mktemp("two")))
    record = run(training_of(two()), runtime)
    assert record.status == "done", record.error
    each = {k: v for k, v in record.metrics.items() if k.startswith("asr/")}
    assert set(each) == {"asr/badnets", "asr/a_blend"}
    assert record.metrics["asr"] == max(each.values())
    assert {"cross/badnets/a_blend", "cross/a_blend/badnets"} <= set(record.metrics)
    assert record.metrics["m"] == 110
    return runtime


@pytest.mark.parametrize("rule", ["max", "mean", "min"])
def test_every_point_has_each_attacks_asr_and_one_by_the_rule(
    trained: TrialRuntime, rule: str
) -> None:
    record = run(judged(two(), asr_of=rule), trained)
    assert record.status == "done", record.error
    assert len(record.curve) == 2
    for point in record.curve:
        each = [point.extra["asr/badnets"], point.extra["asr/a_blend"]]
        wanted = {"max": max(each), "mean": sum(each) / 2, "min": min(each)}[rule]
        assert point.asr == pytest.approx(wanted)
    sizes = [record.metrics[f"n_triggered/{name}"] for name in ("badnets", "a_blend")]
    assert record.metrics["n_triggered"] == min(sizes)


def test_trusted_images_are_of_neither_attack(trained: TrialRuntime) -> None:
    made = trained.poisoning(two())
    shown = {bytes(x.numpy()) for x in made.train.x[made.places]}
    assert not shown & {bytes(x.numpy()) for x in trained.trusted(judged(two())).x}


def test_a_detector_is_asked_about_each_target(trained: TrialRuntime) -> None:
    trial = catalog.resolve_trial(
        Trial(
            game=MethodConfig("detectability"),
            victim=two(),
            method=None,
            trusted=0.2,
            seed=0,
            detector=MethodConfig("neural_cleanse", {"steps": 4}),
        )
    )
    metrics = run(trial, trained).metrics
    ranks = [metrics["target_rank/badnets"], metrics["target_rank/a_blend"]]
    assert metrics["target_rank"] == min(ranks)
    assert {"cosine", "cosine/badnets", "cosine/a_blend"} <= set(metrics)


def test_a_victim_of_one_attack_has_no_more_keys_than_before(runtime: TrialRuntime) -> None:
    victim = tiny_sweep.sweep().victims[0]
    assert goal_of(runtime.poisoning(victim)).target == 0
    record = run(judged(victim), runtime)
    assert record.status == "done", record.error
    assert all(set(p.extra) == {"val_cda"} for p in record.curve)
    assert not [k for k in record.metrics if "/" in k]
