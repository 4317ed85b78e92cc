"""Every defense on a small model of every kind: it runs, or it is refused in one line before it
computes anything. Every detector runs.
"""

import math

import pytest
import torch
from list_capabilities import CLASSES, FAMILIES, SIZE, built
from torch import Generator

from benchmarks.pairs import SHORT
from trials import catalog
from trials.classifier import Classifier
from trials.spec import SpecError
from trials.types import DefenderView, Images

SHAPE = (3, SIZE, SIZE)


def view_of(family: str) -> DefenderView:
    x = torch.randint(0, 256, (16, *SHAPE), dtype=torch.uint8, generator=Generator())
    return DefenderView(built(family), Images(x, torch.arange(16) % CLASSES, CLASSES))


@pytest.mark.parametrize("defense", catalog.names("defenses"))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_defense_runs_or_is_refused(family: str, defense: str) -> None:
    view, method = view_of(family), catalog.describe("defenses", defense)
    settings = {key: value for key, value in SHORT.items() if key in method.settings}
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
def test_a_detector_runs_on_a_model_of_every_kind(family: str, detector: str) -> None:
    view, method = view_of(family), catalog.describe("detectors", detector)
    assert Classifier(view.model, SHAPE).lacks(method.needs) == []
    before = {key: value.clone() for key, value in view.model.state_dict().items()}
    settings = {key: value for key, value in SHORT.items() if key in method.settings}
    inspect, rng = catalog.find("detectors", detector), Generator()
    found = inspect(view.model, built(family), view.trusted, rng, **settings)
    for numbers in (found.scores, found.norms):
        assert numbers.shape == (CLASSES,) and bool(torch.isfinite(numbers).all())
    assert all(torch.equal(v, before[k]) for k, v in view.model.state_dict().items())
