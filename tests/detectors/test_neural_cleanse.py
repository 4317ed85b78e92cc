"""Neural Cleanse as a detector: what it says of trained suspects, and the anomaly index."""

import pytest
import torch
from suspects import TARGET, Suspect, digits, seeded, trusted
from torch import nn

from trials.detectors.neural_cleanse import score
from trials.mask_inversion import MOST, anomaly
from trials.spec import Scalar
from trials.types import Suspicion

MASK: dict[str, Scalar] = {"steps": 100, "batch": 16, "patience": 2, "lambda_n": 0.01}
ADDITIVE: dict[str, Scalar] = {
    "form": "additive",
    "steps": 50,
    "batch": 16,
    "lr": 0.1,
    "lambda_n": 0.02,
}
FORMS = pytest.mark.parametrize("form", [MASK, ADDITIVE], ids=["mask", "additive"])


def suspicion(suspect: Suspect, form: dict[str, Scalar], seed: int = 1) -> Suspicion:
    return score(suspect.model, suspect.repaired, trusted(), seeded(seed), **form)  # type: ignore[arg-type]


def stamped_rate(model: nn.Module, found: Suspicion, label: int) -> float:
    """Success rate of a found trigger on test images of other classes."""
    test = digits("test")
    x = test.x[test.y != label] / 255
    trigger = found.triggers[label]
    if found.masks is None:
        stamped = (x + trigger).clamp(0, 1)
    else:
        stamped = (1 - found.masks[label]) * x + found.masks[label] * trigger
    with torch.no_grad():
        return float((model(stamped).argmax(1) == label).double().mean())


# What it says of trained suspects.


def test_the_suspects_are_what_they_are_called(
    patched: Suspect, additive: Suspect, clean: list[Suspect]
) -> None:
    assert min(s.cda for s in (patched, additive, *clean)) > 0.9
    assert min(patched.asr, additive.asr) > 0.95
    assert max(s.asr for s in clean) < 0.5


@FORMS
def test_the_patchs_class_has_the_smallest_trigger_and_it_works_on_unseen_images(
    form: dict[str, Scalar], patched: Suspect
) -> None:
    found = suspicion(patched, form)
    assert int(found.norms.argmin()) == int(found.scores.argmax()) == TARGET
    assert stamped_rate(patched.model, found, TARGET) > 0.9


@FORMS
def test_backdoored_models_score_above_every_clean_one(
    form: dict[str, Scalar], patched: Suspect, additive: Suspect, clean: list[Suspect]
) -> None:
    highest = max(suspicion(s, form).score for s in clean)
    # scores are negative: a norm a tenth smaller
    assert suspicion(patched, form).score > 0.9 * highest
    assert suspicion(additive, form).score > 0.9 * highest


def test_the_mask_lies_on_the_patch(patched: Suspect) -> None:
    mask = suspicion(patched, MASK).masks
    assert mask is not None
    spot = mask[TARGET, 0]
    assert spot[:3, :3].sum() > 0.5 * spot.sum()  # the patch is 9 of 64 pixels


def test_a_heavier_norm_gives_smaller_triggers_in_either_form(patched: Suspect) -> None:
    for form in (MASK, ADDITIVE):
        light, heavy = (
            suspicion(patched, {**form, "lambda_n": w}).norms.mean() for w in (1e-4, 0.1)
        )
        assert heavy < 0.9 * light


def test_both_judges_have_their_score_from_the_same_norms(additive: Suspect) -> None:
    norm, odd = (
        suspicion(additive, {**MASK, "steps": 30, "judge": j}) for j in ("norm", "anomaly")
    )
    assert torch.equal(norm.norms, odd.norms)
    assert norm.score == -norm.extra["smallest"] == -float(norm.norms.min())
    assert odd.score == odd.extra["anomaly"] == norm.extra["anomaly"]
    assert odd.scores.argsort().tolist() == norm.scores.argsort().tolist()


def test_the_repaired_model_plays_no_part(additive: Suspect) -> None:
    a, b = (
        score(additive.model, m, trusted(), seeded(0), steps=5)
        for m in (additive.model, additive.repaired)
    )
    assert torch.equal(a.scores, b.scores)


# The anomaly index.


def test_the_anomaly_index_is_counted_in_median_deviations_below_the_median() -> None:
    # median 10.5, deviations .5 1.5 .5 1.5 8.5 2.5: 1.5
    norms = torch.tensor([10.0, 12.0, 11.0, 9.0, 2.0, 13.0])
    expected = [(10.5 - n) / (1.4826 * 1.5) for n in norms.tolist()]
    assert anomaly(norms).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("norms", "expected"),
    [([5.0, 5.0, 5.0, 5.0], [0, 0, 0, 0]), ([5.0, 5.0, 5.0, 1.0, 9.0], [0, 0, 0, MOST, -MOST])],
    ids=["all_equal", "one_apart"],
)
def test_without_any_deviation_the_index_is_nought_or_the_most(
    norms: list[float], expected: list[float]
) -> None:
    assert anomaly(torch.tensor(norms)).tolist() == expected
