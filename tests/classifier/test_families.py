"""Every defense on a small model of every kind: it runs, or it is refused in one line before it
computes anything.
"""

import math
from typing import Any

import pytest
import torch
from list_capabilities import CLASSES, FAMILIES, SIZE, built
from torch import Generator

from trials import catalog
from trials.classifier import Classifier
from trials.spec import SpecError
from trials.types import DefenderView, Images

FEW: dict[str, Any] = {
    "steps": 1, "steps_per_class": 1, "batch": 8, "teacher_steps": 1, "members": 1,
    "iterations": 1, "recover_steps": 1, "rounds": 1, "inner_steps": 1, "ranking_batches": 1,
    "refresh": 8, "stop": 1.0, "most": 0.05,
}  # fmt: skip
SHAPE = (3, SIZE, SIZE)


def view_of(family: str) -> DefenderView:
    x = torch.randint(0, 256, (16, *SHAPE), dtype=torch.uint8, generator=Generator())
    return DefenderView(built(family), Images(x, torch.arange(16) % CLASSES, CLASSES))


@pytest.mark.parametrize("defense", catalog.names("defenses"))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_defense_runs_or_is_refused(family: str, defense: str) -> None:
    view, method = view_of(family), catalog.describe("defenses", defense)
    settings = {key: value for key, value in FEW.items() if key in method.settings}
    before = {key: value.clone() for key, value in view.model.state_dict().items()}
    found = catalog.find("defenses", defense)(view, Generator(), 1, **settings)
    if Classifier(view.model, SHAPE).lacks(method.needs):
        with pytest.raises(SpecError) as told:
            next(found)
        assert str(told.value).startswith(f"{defense} needs ") and "\n" not in str(told.value)
        return
    steps = 0
    for _, model in found:
        steps += 1
        with torch.no_grad():
            logits = model.eval()(view.trusted.x.float() / 255)
        assert logits.shape == (16, CLASSES) and math.isfinite(float(logits.abs().sum()))
        assert model.state_dict().keys() == before.keys()
    assert steps or defense == "none"
    assert all(torch.equal(v, before[k]) for k, v in view.model.state_dict().items())


@pytest.mark.parametrize("detector", catalog.names("detectors"))
@pytest.mark.parametrize("family", FAMILIES)
def test_no_detector_needs_what_a_kind_of_model_has_not(family: str, detector: str) -> None:
    needs = catalog.describe("detectors", detector).needs
    assert Classifier(built(family), SHAPE).lacks(needs) == []
