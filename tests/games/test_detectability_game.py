"""The detectability game: what a detector is handed, and how near its trigger is to the truth."""

from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor, nn

from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.dependencies import dependencies, training_of
from trials.games import detector_tuning
from trials.games._recovery import rank_of, recovery
from trials.games.detectability import play
from trials.run import run
from trials.runtime import EvaluatorContext, TrialRuntime
from trials.spec import MethodConfig, Trial
from trials.trial_run import Steps
from trials.types import Images, Suspicion

CLEAN = torch.randint(0, 200, (40, 3, 8, 8), generator=Generator().manual_seed(1)).to(torch.uint8)


def patched(x: Tensor) -> Tensor:
    out = x.clone()
    out[:, :, 5:, 5:] = 255
    return out


def suspicion(trigger: Tensor, mask: Tensor | None = None) -> Suspicion:
    triggers = torch.zeros(4, 3, 8, 8)
    triggers[2] = trigger
    masks = None if mask is None else mask.expand(4, 1, 8, 8)
    return Suspicion(0.5, torch.zeros(4), torch.ones(4), triggers, masks)


def square() -> Tensor:
    mask = torch.zeros(1, 8, 8)
    mask[:, 5:, 5:] = 1
    return mask


def test_the_true_trigger_is_recovered_wholly_in_both_forms() -> None:
    for found in (suspicion(square().expand(3, 8, 8)), suspicion(torch.ones(3, 8, 8), square())):
        facts = recovery(CLEAN, patched(CLEAN), found, 2)
        assert facts["iou"] == 1
        assert facts["cosine"] == pytest.approx(1, abs=1e-4)


def test_a_trigger_elsewhere_is_not_recovered() -> None:
    facts = recovery(CLEAN, patched(CLEAN), suspicion(square().flip(1, 2).expand(3, 8, 8)), 2)
    assert facts == {"iou": 0, "cosine": pytest.approx(0, abs=1e-6)}


def test_half_of_the_place_is_an_iou_of_a_half() -> None:
    half = square().clone()
    half[:, 5:, 5:] = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]])
    facts = recovery(CLEAN, patched(CLEAN), suspicion(half.expand(3, 8, 8)), 2)
    assert facts["iou"] == pytest.approx(4 / 9)
    assert 0.5 < facts["cosine"] < 0.8


def test_a_trigger_over_the_whole_image_has_no_place() -> None:
    facts = recovery(CLEAN, CLEAN + 30, suspicion(torch.full((3, 8, 8), 0.2)), 2)
    assert set(facts) == {"cosine"}
    assert facts["cosine"] > 0.95


def test_nothing_found_has_no_direction() -> None:
    assert "cosine" not in recovery(CLEAN, patched(CLEAN), suspicion(torch.zeros(3, 8, 8)), 2)


def test_ranks_count_from_the_most_suspicious_and_ties_share() -> None:
    scores = torch.tensor([0.1, 0.9, 0.5, 0.5])
    assert [rank_of(scores, k) for k in range(4)] == [4, 1, 2.5, 2.5]


@pytest.fixture
def trial(sweep: Sweep) -> Trial:
    return catalog.resolve_trial(
        Trial(
            game=MethodConfig("detectability", {"stop_at": 4, "record_every": 2}),
            victim=sweep.victims[0],
            method=MethodConfig("fine_tuning", {"steps": 8, "batch": 16}),
            trusted=0.2,
            seed=0,
            detector=MethodConfig("calibrated_inversion", {"steps": 3, "batch": 8}),
        )
    )


def test_a_model_is_scored_and_the_true_target_ranked(trial: Trial, runtime: TrialRuntime) -> None:
    record = run(trial, runtime)
    assert record.status == "done", record.error
    classes = int(record.metrics["classes"])
    scores = [record.metrics[f"score_{k}"] for k in range(classes)]
    assert classes == 10 and record.metrics["score"] == max(scores)
    target = int(trial.victim.attacks[0].params["target"])
    above, level = sum(s > scores[target] for s in scores), scores.count(scores[target])
    assert record.metrics["target_rank"] == above + (level + 1) / 2
    assert -1 <= record.metrics["cosine"] <= 1 and 0 <= record.metrics["iou"] <= 1
    assert run(trial, runtime).metrics == record.metrics


class Listener:
    """A detector that keeps what it is handed."""

    def __call__(
        self, suspect: nn.Module, repaired: nn.Module, trusted: Images, rng: Generator, /
    ) -> Suspicion:
        self.suspect, self.repaired, self.trusted = suspect, repaired, trusted
        weights = next(repaired.parameters()).detach().flatten()[:3]
        self.seen, self.modes = weights.clone(), (suspect.training, repaired.training)
        return Suspicion(0.0, torch.zeros(10), torch.zeros(10), torch.zeros(10, 3, 16, 16))


def heard(ctx: EvaluatorContext, stop_at: int) -> Listener:
    listener = Listener()
    list(play(replace(ctx, inspect=listener), stop_at=stop_at, record_every=2))
    return listener


def test_the_detector_gets_the_model_repaired_up_to_the_step(
    trial: Trial, runtime: TrialRuntime
) -> None:
    ctx = runtime.evaluator(trial)
    early, lease_lost = heard(ctx, 2), heard(ctx, 8)
    assert early.suspect is ctx.view().model and early.modes == (False, False)
    assert not torch.equal(early.seen, lease_lost.seen)
    assert torch.equal(heard(ctx, 0).seen, lease_lost.seen)  # 0 runs to the end
    assert len(early.trusted) == len(runtime.trusted(trial))


def test_without_a_repair_the_model_is_compared_with_itself(
    trial: Trial, runtime: TrialRuntime
) -> None:
    ctx = runtime.evaluator(replace(trial, method=None))
    assert heard(ctx, 0).repaired is ctx.view().model


def test_it_needs_the_victim_and_no_copies(trial: Trial) -> None:
    assert list(dependencies(trial)) == [training_of(trial.victim)]
    assert trial.id != replace(trial, detector=None).id


def test_a_detector_is_tuned_on_the_planted_target_without_the_attack(
    trial: Trial, runtime: TrialRuntime, sweep: Sweep
) -> None:
    self_poisoning = catalog.resolve("games", MethodConfig("self_poison", sweep.self_poisoning[0]))
    game = MethodConfig("detector_tuning", {"copies": 1, "stop_at": 4, "record_every": 2})
    tuning = catalog.resolve_trial(replace(trial, game=game, self_poisoning=self_poisoning))
    record = run(tuning, runtime)
    assert record.status == "done", record.error
    assert 0 <= record.metrics["auc"] == record.metrics["auc_0"] <= 1
    assert len(dependencies(tuning)) == 2
    target = runtime.copy(tuning, 0).goal.target

    class Sure(Listener):
        def __call__(self, *handed: object) -> Suspicion:
            return replace(super().__call__(*handed), scores=torch.eye(10)[target])  # type: ignore[arg-type]

    ctx = replace(runtime.defender(tuning), inspect=Sure())
    steps = Steps(detector_tuning.play(ctx, copies=1, stop_at=4, record_every=2))
    assert not list(steps)
    assert steps.result == {"auc": 1.0, "margin": 1.0, "copies": 1.0, "auc_0": 1.0}
