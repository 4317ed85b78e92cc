"""Masks for all classes at once: the schedule of a mask's weight, which mask is kept, and the loop
as a whole.
"""

import pytest
import torch
import torch.nn.functional as F
from suspects import seeded
from torch import Tensor, nn

from trials.mask_inversion import BestMasks, Weights, invert_masks
from trials.types import Images


def strategy(rounds: str, patience: int = 2) -> list[float]:
    """A class's weight after each round, + for a good one."""
    weights, values = Weights(torch.zeros(1, dtype=torch.float64), 1.0, patience), []
    for sign in rounds:
        weights.look(torch.tensor([sign == "+"]))
        values.append(float(weights.value))
    return values


def test_the_weight_waits_for_good_rounds_in_a_row_then_doubles_or_falls() -> None:
    assert strategy("-+-++") == [0, 0, 0, 0, 1]
    assert strategy("++++++") == [0, 1, 1, 2, 2, 4]
    assert strategy("++---+-") == pytest.approx([0, 1, 1, 2**-1.5, 2**-1.5, 2**-1.5, 2**-1.5])
    assert strategy("++----") == pytest.approx([0, 1, 1, 2**-1.5, 2**-1.5, 2**-3])
    assert strategy("+++", patience=1) == [1, 2, 4]
    assert strategy("----") == [0, 0, 0, 0]


def test_each_class_has_a_weight_of_its_own() -> None:
    weights = Weights(torch.zeros(3), 1.0, 1)
    for reached in ([True, False, True], [True, True, False]):
        weights.look(torch.tensor(reached))
    assert weights.value.tolist() == pytest.approx([2, 1, 2**-1.5])


def test_the_smallest_mask_of_a_good_round_is_kept_and_until_there_is_one_the_last() -> None:
    def mask(*sizes: float) -> Tensor:
        return torch.tensor(sizes)[:, None, None, None]

    kept = BestMasks(mask(9, 9, 9), mask(0, 0, 0), torch.zeros(3), torch.zeros(3, dtype=torch.bool))
    rounds = [
        ((5, 5, 5), (1, 0, 0)),
        ((7, 7, 7), (1, 1, 0)),
        ((3, 6, 8), (0, 1, 0)),
        ((4, 5, 6), (1, 0, 0)),
    ]
    for at, (sizes, good) in enumerate(rounds):
        kept.offer(
            mask(*sizes), mask(at, at, at), torch.full((3,), float(at)), torch.tensor(good).bool()
        )
    assert kept.masks.flatten().tolist() == [4, 6, 6]
    assert kept.patterns.flatten().tolist() == kept.rates.tolist() == [3, 2, 3]
    assert kept.reached.tolist() == [True, True, False]


def toy() -> tuple[nn.Module, Images]:
    """A linear net in float64 and random images."""
    rng = seeded(3)
    model = nn.Sequential(nn.Flatten(), nn.Linear(27, 3)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) / 3)
    return model, Images(
        torch.randint(0, 256, (30, 3, 3, 3), generator=rng, dtype=torch.uint8),
        torch.arange(30) % 3,
        3,
    )


def test_masks_equal_a_loop_over_classes_written_out() -> None:
    model, images = toy()
    steps, per_round, threshold, patience, first = 60, 4, 0.9, 2, 0.05
    kept = invert_masks(
        model,
        images,
        seeded(0),
        steps=steps,
        lr=0.1,
        batch=8,
        first_weight=first,
        threshold=threshold,
        patience=patience,
        round_steps=per_round,
    )
    seeds, weights_met = torch.randint(2**62, (3,), generator=seeded(0)).tolist(), set()
    for label in range(3):
        own = seeded(seeds[label])
        raw = torch.atanh(
            (torch.rand(4, 3, 3, generator=own, dtype=torch.float64) * 2 - 1) * (1 - 1e-7)
        )
        m, p = raw[:1].clone().requires_grad_(True), raw[1:].clone().requires_grad_(True)
        others = (images.y != label).nonzero().flatten()
        draws = torch.randint(len(others), (steps, 8), generator=own)
        adam = torch.optim.Adam([m, p], 0.1, (0.5, 0.9))
        weight, good, bad, hits, best = 0.0, 0, 0, [], None
        for step, places in enumerate(draws, 1):
            x = (images.x[others[places]].float() / 255).double()
            mask, pattern = (m.tanh() + 1) / 2, (p.tanh() + 1) / 2
            logits = model((1 - mask) * x + mask * pattern)
            adam.zero_grad()
            (F.cross_entropy(logits, torch.full((8,), label)) + weight * mask.sum()).backward()  # type: ignore[no-untyped-call]
            adam.step()
            hits.append(float((logits.argmax(1) == label).double().mean()))
            if step % per_round:
                continue
            reached, hits = sum(hits) / per_round >= threshold, []
            if best is None or not best[2] or (reached and mask.sum() < best[0].sum()):
                best = (mask.detach(), pattern.detach(), reached)
            good, bad = (good + 1, 0) if reached else (0, bad + 1)
            if good == patience:
                weight, good = (weight * 2 if weight else first), 0
            elif bad == patience:
                weight, bad = weight / 2**1.5, 0
            weights_met.add(weight)
        assert best is not None
        assert torch.allclose(kept.masks[label], best[0], atol=1e-9)
        assert torch.allclose(kept.patterns[label], best[1], atol=1e-9)
        assert bool(kept.reached[label]) == best[2]
    assert len(weights_met) > 4  # the schedule went up and down, or this has shown little


def test_a_round_cut_short_by_the_last_step_counts_too() -> None:
    model, images = toy()
    settings = {
        "lr": 0.1,
        "batch": 8,
        "first_weight": 0.05,
        "threshold": 1.0,
        "patience": 9,
        "round_steps": 10,
    }
    few = invert_masks(model, images, seeded(0), steps=3, **settings)  # type: ignore[arg-type]
    assert few.masks.min() > 0 and few.masks.max() < 1
    assert ((few.rates * 24).round() - few.rates * 24).abs().max() < 1e-9


def test_a_kept_mask_of_a_round_of_one_step_has_the_rate_that_was_measured() -> None:
    model, images = toy()
    kept = invert_masks(
        model,
        images,
        seeded(0),
        steps=80,
        lr=0.1,
        batch=64,
        first_weight=0.02,
        threshold=0.9,
        patience=2,
        round_steps=1,
    )
    assert kept.reached.all() and (kept.rates >= 0.9).all()
    for label in range(3):
        x = (images.x[images.y != label] / 255).double()
        stamped = (1 - kept.masks[label]) * x + kept.masks[label] * kept.patterns[label]
        assert float((model(stamped).argmax(1) == label).double().mean()) > 0.75
