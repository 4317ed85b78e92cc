"""How a backdoor is trained into a copy: each scheme plants one, from where, by which loss and at
which rate it says.
"""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import tiny_sweep
import torch
from torch import Generator, Tensor, nn

from sweep.spec.sweep_file import Sweep
from trials.games._copy_training import mixed
from trials.later import LATER
from trials.models import resnet18, small_cnn
from trials.models._clip import FixedLinear
from trials.run import run
from trials.runtime import TrialRuntime
from trials.self_poisoning.layout import layout_of
from trials.self_poisoning.schemes import (
    FIRST,
    PERTURB,
    SCHEMES,
    SECOND,
    SHRINK,
    WARM_UP,
    falling,
    hardening,
    loss_of,
    one_cycle,
    two_tasks,
    with_repairs,
)
from trials.storage.artifacts import Artifacts
from trials.train import clone, cross_entropy

State = dict[str, Tensor]


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def trained(model: nn.Module) -> nn.Module:
    """The model with every number moved off what a fresh one has."""
    with torch.no_grad():
        for value in model.state_dict().values():
            moved = 0.5 + 0.5 * torch.rand(value.shape, generator=rng(3))
            value.add_(moved if value.is_floating_point() else 7)
    return model


def state(model: nn.Module) -> State:
    return {k: v.clone() for k, v in model.state_dict().items()}


def same(one: State, other: State) -> set[str]:
    return {k for k, v in one.items() if torch.equal(v, other[k])}


def begun(scheme: str, model: nn.Module, seed: int = 0) -> State:
    copy = clone(model)
    SCHEMES[scheme].begin(copy, rng(seed))
    return state(copy)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_reaches_its_asr_within_its_steps_and_gives_the_same_copy_again(
    sweep: Sweep, artifacts: Artifacts, tmp_path: Path, scheme: str
) -> None:
    trial, victim = tiny_sweep.copy_trial(sweep, scheme=scheme), tiny_sweep.first(sweep, "training")
    hashes = []
    for name in ("one", "other"):
        kept = Artifacts(tmp_path / name)
        kept.save(victim.id, *artifacts.load(victim.id))
        runtime = TrialRuntime(kept)
        given = runtime.defender(trial).view.model
        before = state(given)
        record = run(trial, runtime)
        assert record.status == "done", record.error
        assert same(state(given), before) == set(before) and not given.training
        hashes.append(kept.load(trial.id)[1]["sha256"])
    assert [p.step for p in record.curve] == [0, 20, 40, 60]
    assert record.metrics["asr"] == record.curve[-1].asr >= 0.3 > record.metrics["asr_before"]
    assert record.curve[-1].cda > 0.5
    assert hashes[0] == hashes[1]


def test_schemes_give_different_copies(sweep: Sweep, runtime: TrialRuntime) -> None:
    """With the same rate, steps and batch."""
    trials = [tiny_sweep.copy_trial(sweep, scheme=s, lr=0.1) for s in SCHEMES]
    ends = {run(t, runtime).metrics["cosine"] for t in trials}
    assert len(ends) == len(SCHEMES)


def test_a_copy_stored_without_a_scheme_is_run_again_by_labels(
    sweep: Sweep, runtime: TrialRuntime
) -> None:
    """As ``rerun`` runs what was stored before there were schemes."""
    trial = tiny_sweep.copy_trial(sweep, scheme="labels", lr=0.1)
    params = {k: v for k, v in trial.game.params.items() if k not in LATER["self_poison"]}
    stored = replace(trial, game=replace(trial.game, params=params))
    assert "scheme" not in params and stored.id == trial.id
    by_labels = run(trial, runtime)
    assert tiny_sweep.outcome(run(stored, runtime)) == tiny_sweep.outcome(by_labels)
    other = tiny_sweep.copy_trial(sweep, scheme="distilled", lr=0.1)
    assert run(other, runtime).metrics != by_labels.metrics


def test_the_later_half_of_the_stages_is_drawn_anew_and_the_earlier_stays() -> None:
    given = trained(resnet18.build(10, 16, width=4))
    kept = same(begun("late", given), state(given))
    early = ("normalize", "conv1", "bn1", "layer1", "layer2")
    assert {k.split(".")[0] for k in kept} == set(early)
    assert kept == {k for k in given.state_dict() if k.startswith(early)}


def test_of_a_model_without_stages_the_later_half_of_the_layers_is_drawn_anew() -> None:
    given = trained(nn.Sequential(*(nn.Linear(4, 4) for _ in range(5))))
    kept = same(begun("late", given), state(given))
    assert {k.split(".")[0] for k in kept} == {"0", "1"}


def test_a_model_that_is_reborn_keeps_nothing_but_its_constants() -> None:
    given = trained(small_cnn.build(10, 16, width=4))
    begin = begun("reborn", given)
    assert {k.split(".")[0] for k in same(begin, state(given))} == {"normalize"}
    assert (begin["layer1.1.weight"] == 1).all() and (begin["layer2.1.running_mean"] == 0).all()


def test_a_layer_that_is_fixed_is_not_drawn_anew() -> None:
    given = nn.Sequential(nn.Linear(4, 4), FixedLinear(torch.eye(4)))
    assert same(begun("reborn", given), state(given)) == {"1.weight"}


@pytest.mark.parametrize("scheme", ["shrink", "late", "reborn"])
def test_the_generator_alone_decides_the_beginning(scheme: str) -> None:
    given = trained(small_cnn.build(10, 16, width=4))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = begun(scheme, given)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(begun(scheme, given), one) == set(one)
    other = begun(scheme, given, seed=1)
    assert "fc.weight" not in same(other, one)


@pytest.mark.parametrize("scheme", ["labels", "sam", "sbl", "distilled", "hardened"])
def test_the_others_begin_with_the_given_model(scheme: str) -> None:
    given = trained(small_cnn.build(10, 16, width=4))
    assert same(begun(scheme, given), state(given)) == set(given.state_dict())


def test_shrinking_halves_the_weights_and_adds_noise() -> None:
    given = trained(small_cnn.build(10, 16, width=16))
    before, after = state(given), begun("shrink", given)
    weights = {k for k, v in before.items() if v.dim() > 1}
    assert len(weights) == 3 and set(before) - same(after, before) == weights
    noise = torch.cat([(after[k] - SHRINK * before[k]).flatten() for k in weights])
    assert abs(float(noise.mean())) < 4 * PERTURB / math.sqrt(len(noise))
    assert float(noise.std()) == pytest.approx(PERTURB, rel=0.1)


def test_the_distilled_loss_is_its_formula() -> None:
    teacher, student = nn.Linear(2, 3), nn.Linear(2, 3)
    x, y = torch.randn(5, 2, generator=rng()), torch.tensor([0, 1, 2, 2, 0])
    value = loss_of(SCHEMES["distilled"], teacher, 2)(student, x, y)
    value.backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        p, q = (teacher(x[:3]) / 2).softmax(1), (student(x[:3]) / 2).softmax(1)
        apart = 4 * (p * (p / q).log()).sum()
        wrong = -student(x[3:]).softmax(1).log()[torch.arange(2), y[3:]].sum()
    assert value.item() == pytest.approx(float(apart + wrong) / 5, rel=1e-5)
    assert teacher.weight.grad is None and student.weight.grad is not None
    clean = torch.tensor([2, 0, 1, 2, 0])  # their labels do not count, those of stamped ones do
    assert loss_of(SCHEMES["distilled"], teacher, 2)(student, x, clean).item() == value.item()
    assert loss_of(SCHEMES["distilled"], teacher, 3)(student, x, y).item() != value.item()


@pytest.mark.parametrize("scheme", ["labels", "sam", "sbl", "hardened"])
def test_the_others_loss_is_cross_entropy(scheme: str) -> None:
    assert loss_of(SCHEMES[scheme], nn.Linear(2, 3), 2) is cross_entropy


def test_the_rates_at_their_corners() -> None:
    assert [falling(t) for t in (0, 0.25, 1)] == [1, 0.75, 0]
    assert 0 < one_cycle(0) < 0.01 and one_cycle(1) == 0
    assert one_cycle(WARM_UP) == pytest.approx(1) == one_cycle(WARM_UP - 1e-12)
    assert [hardening(t) for t in (0, 0.7499, 0.75, 0.875, 1)] == [1, 1, 1, 0.5, 0]
    assert [two_tasks(t) for t in (0, 0.599, 1)] == [1, 1, 0]
    assert two_tasks(FIRST) == pytest.approx(SECOND) == 2 * two_tasks(0.8)
    cycle = [one_cycle(i / 100) for i in range(101)]
    assert all(a < b for a, b in pairwise(cycle[:16]))
    assert all(a > b for a, b in pairwise(cycle[15:]))


@pytest.mark.parametrize("steps", [60, 400, 1000])
def test_a_hardened_copy_is_repaired_four_times_for_a_twentieth(steps: int) -> None:
    stamped = [with_repairs(i / steps) for i in range(steps)]
    starts = [i / steps for i in range(1, steps) if stamped[i - 1] and not stamped[i]]
    assert starts == pytest.approx([0.25, 0.4, 0.55, 0.7], abs=1.01 / steps)
    assert stamped.count(False) == pytest.approx(steps / 5, abs=4)
    assert all(stamped[: steps // 4]) and all(stamped[math.ceil(0.75 * steps) :])


def test_a_batch_of_a_repair_has_no_trigger(sweep: Sweep, runtime: TrialRuntime) -> None:
    trial = tiny_sweep.copy_trial(sweep)
    trusted = runtime.trusted(trial)
    plan = layout_of(trusted, runtime.rng(trial), trial.game)
    clean = trusted.take(plan.fit)
    batches = list(mixed(clean, plan, 20, 8, [True, False, True], rng()))
    mark = plan.goal.trigger(torch.zeros_like(clean.x[:1]), torch.zeros(1, dtype=torch.int64))
    over = plan.goal.trigger(torch.full_like(clean.x[:1], 255), torch.zeros(1, dtype=torch.int64))
    fixed = (mark == over)[0]  # pixels that the patch covers
    assert int(fixed.sum()) == 27
    shown = [((x * 255).round()[:, fixed] == mark[0][fixed]).all(1) for x, _ in batches]
    assert [s.tolist() for s in shown] == [
        [False] * 12 + [True] * 8,
        [False] * 20,
        shown[0].tolist(),
    ]
    assert [set(y[12:].tolist()) == {plan.goal.target} for _, y in batches] == [True, False, True]
