"""Calibrated trigger inversion: its loss, its halves, its scores, and what it says of real
suspects.
"""

import pytest
import torch
import torch.nn.functional as F
from suspects import TARGET, Suspect, digits, pattern, seeded, trusted
from torch import nn

from trials.detectors.calibrated_inversion import halves, score, shares
from trials.inversion import invert
from trials.spec import Scalar, SpecError
from trials.types import Images, Suspicion

SMALL: dict[str, Scalar] = {"steps": 40, "batch": 16}


def suspicion(suspect: Suspect, **changed: Scalar) -> Suspicion:
    return score(suspect.model, suspect.repaired, trusted(), seeded(1), **{**SMALL, **changed})  # type: ignore[arg-type]


# What it says of trained suspects.


def test_backdoored_models_score_above_every_clean_one(
    patched: Suspect, additive: Suspect, clean: list[Suspect]
) -> None:
    assert max(additive.asr_repaired, patched.asr_repaired) < 0.2
    strong, weak = suspicion(additive), suspicion(patched)
    assert int(strong.scores.argmax()) == int(weak.scores.argmax()) == TARGET
    highest = max(suspicion(s).score for s in clean)
    assert strong.score > max(0.9, highest + 0.2)
    assert weak.score > highest


def test_the_found_trigger_points_the_planted_ones_way(additive: Suspect) -> None:
    found = suspicion(additive).triggers
    alike = F.cosine_similarity(found.flatten(1), pattern().flatten()[None])
    assert int(alike.argmax()) == TARGET
    assert alike[TARGET] > 0.15
    assert alike[torch.arange(5) != TARGET].max() < 0.1


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_a_repair_that_changed_nothing_leaves_no_suspicion(
    weight: float, additive: Suspect
) -> None:
    found = score(
        additive.model, additive.model, trusted(), seeded(1), steps=20, batch=16, weight=weight
    )
    assert found.scores.tolist() == [0.0] * 5
    assert found.score == 0


def test_the_printed_rule_takes_the_repaired_backdoor_for_clean(additive: Suspect) -> None:
    """The sign error in numbers: success before 1, accuracy after 1, difference nought."""
    found = suspicion(additive, rule="printed")
    assert found.scores[TARGET] < 0.15
    assert suspicion(additive).scores[TARGET] > 0.9
    assert suspicion(additive, rule="sum").scores[TARGET] > 0.9


def test_the_three_rules_are_made_of_the_three_shares(patched: Suspect) -> None:
    difference, total, printed = (
        suspicion(patched, rule=r) for r in ("difference", "sum", "printed")
    )
    assert torch.equal(difference.triggers, total.triggers)
    seen = (total.scores + printed.scores + 1) / 2
    left, kept = seen - difference.scores, seen - printed.scores
    top = int(difference.scores.argmax())
    expected = {
        "asr": float(seen[top]),
        "asr_repaired": float(left[top]),
        "cda_repaired": float(kept[top]),
    }
    assert dict(difference.extra) == pytest.approx(expected)
    assert ((left + kept) <= 1 + 1e-9).all()  # a stamped image is not seen as both


def test_the_repaired_models_term_keeps_triggers_from_working_on_it(additive: Suspect) -> None:
    """Otherwise the weight would do nothing of use."""
    left = [suspicion(additive, weight=w) for w in (0.0, 1.0)]
    fit, held = halves(trusted(), seeded(1))
    rates = [
        torch.stack(
            [
                shares(additive.model, additive.repaired, held, c, t)[1]
                for c, t in enumerate(s.triggers)
            ]
        ).mean()
        for s in left
    ]
    assert rates[1] < rates[0] - 0.1
    assert len(fit) + len(held) == len(trusted())


# The parts.


def test_shares_are_those_of_held_images_of_other_classes() -> None:
    class Fixed(nn.Module):
        """Predicts the class that the first pixel holds, in fives."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.one_hot((x[:, 0, 0, 0] * 51).round().long(), 5).float()

    x = torch.zeros(6, 1, 2, 2, dtype=torch.uint8)
    x[:, 0, 0, 0] = torch.tensor([0, 5, 10, 10, 15, 15])
    images, none, up = (
        Images(x, torch.tensor([0, 1, 2, 3, 3, 2]), 5),
        torch.zeros(1, 2, 2),
        torch.zeros(1, 2, 2),
    )
    up[0, 0, 0] = 5 / 255
    # of other classes than 2, the pixel says 0, 1, 2 and 3, and the labels are 0, 1, 3 and 3
    assert shares(Fixed(), Fixed(), images, 2, none).tolist() == [0.25, 0.25, 0.75]
    assert shares(Fixed(), Fixed(), images, 2, up).tolist() == [0.25, 0.25, 0.25]
    assert shares(Fixed(), Fixed(), images, 1, up).tolist() == [0.2, 0.2, 0.2]


def test_halves_are_disjoint_and_stratified() -> None:
    y = torch.arange(100) % 10
    x = torch.arange(100, dtype=torch.uint8)[:, None, None, None]
    fit, held = halves(Images(x, y, 10), seeded(0))
    assert sorted([*fit.x.flatten().tolist(), *held.x.flatten().tolist()]) == list(range(100))
    assert fit.y.bincount().tolist() == held.y.bincount().tolist() == [5] * 10
    other, _ = halves(Images(x, y, 10), seeded(1))
    assert sorted(other.x.flatten().tolist()) != sorted(fit.x.flatten().tolist())


def test_an_odd_image_is_inverted_on() -> None:
    data = digits("train").take(torch.arange(11))
    fit, held = halves(data, seeded(0))
    assert (len(fit), len(held)) == (6, 5)


def test_refuses_halves_of_a_single_class() -> None:
    data = Images(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 1]), 2)
    with pytest.raises(
        SpecError, match="two classes or more in each half .* got 3 images of 2 classes"
    ):
        halves(data, seeded(0))


def test_equals_a_loop_over_classes_written_out() -> None:
    rng = seeded(3)
    models = [nn.Sequential(nn.Flatten(), nn.Linear(27, 3)).double() for _ in range(2)]
    with torch.no_grad():
        for parameter in (p for m in models for p in m.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=rng) / 3)
    x = torch.randint(0, 256, (30, 3, 3, 3), generator=rng, dtype=torch.uint8)
    images = Images(x, torch.arange(30) % 3, 3)
    found = invert(
        models[0],
        images,
        seeded(0),
        steps=20,
        lr=0.05,
        batch=8,
        norm_weight=0.02,
        first=(0.0, 0.01),
        repaired=models[1],
        repaired_weight=0.5,
    )
    seeds = torch.randint(2**62, (3,), generator=seeded(0)).tolist()
    for label in range(3):
        own = seeded(seeds[label])
        trigger = (torch.rand(3, 3, 3, generator=own, dtype=torch.float64) / 100).requires_grad_(
            True
        )
        others = (images.y != label).nonzero().flatten()
        adam = torch.optim.Adam([trigger], 0.05, (0.5, 0.9))
        for draw in torch.randint(len(others), (20, 8), generator=own):
            shown, truth = (images.x[others[draw]].float() / 255).double(), images.y[others[draw]]
            stamped = (shown + trigger).clip(0, 1)
            attack = F.cross_entropy(models[0](stamped), torch.full((8,), label))
            calm = F.cross_entropy(models[1](stamped), truth)
            adam.zero_grad()
            (attack + 0.5 * calm + 0.02 * (stamped - shown).abs().sum((1, 2, 3)).mean()).backward()  # type: ignore[no-untyped-call]
            adam.step()
        assert torch.allclose(trigger.detach().clip(-1, 1), found[label], atol=1e-9)


def test_triggers_start_small_and_positive() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(27, 3))
    images = Images(torch.zeros(12, 3, 3, 3, dtype=torch.uint8), torch.arange(12) % 3, 3)
    found = score(model, model, images, seeded(0), steps=1, lr=1e-9, batch=2).triggers
    assert 0 <= found.min() < 0.002
    assert 0.008 < found.max() <= 0.0101
