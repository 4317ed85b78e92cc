"""Copies of networks without batch normalisation: Adam plants where SGD at its rate ruins the copy,
and a ruined copy is none.
"""

import functools
from typing import Any

import live_objects
import pytest
import tiny_sweep
import torch
from torch import nn

from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.games import self_poison
from trials.run import run
from trials.runtime import DefenderContext, TrialRuntime, generator
from trials.spec import MethodConfig, Point
from trials.types import DefenderView


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A plain convolutional network that knows digits."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((3, 8), (8, 16), (16, 32)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(after, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    plain = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10))
    for layer in plain:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return live_objects.learned(plain).eval()


def poisoned(model: nn.Module, **settings: Any) -> list[Point]:
    """The curve of a copy at the settings that ``defend`` has, but for those given."""
    game = {"scheme": "distilled", "attack": "patch", "reach": 0.8, **settings}
    resolved = catalog.resolve("games", MethodConfig("self_poison", game))
    images = live_objects.digits().take(torch.arange(600))
    ctx = DefenderContext(
        view=DefenderView(model, images),
        repair=None,
        inspect=None,
        copy=lambda i: pytest.fail("no copy is loaded"),
        reconstructed=lambda _: pytest.fail("nothing is reconstructed"),
        once=lambda words, measure: measure(),
        rng=functools.partial(generator, 0),
        save=lambda model, facts: None,
        checkpointer=None,
    )
    params: dict[str, Any] = dict(resolved.params)
    return list(self_poison.play(ctx, **params))


@pytest.mark.slow
def test_adam_at_its_defaults_poisons_a_copy_that_knows_what_the_model_knew(
    network: nn.Module,
) -> None:
    curve = poisoned(network, optimizer="adam")
    assert curve[0].asr < 0.3 and curve[-1].asr >= 0.8
    assert curve[0].cda > 0.8 and curve[-1].cda > curve[0].cda - 0.05


def test_a_copy_that_gives_the_target_to_all_images_has_learned_nothing(
    sweep: Sweep, runtime: TrialRuntime
) -> None:
    """As all images of each batch but one are stamped, and none is shown without the target."""
    record = run(tiny_sweep.copy_trial(sweep, share=1.0, reach=0.8), runtime)
    assert record.status == "failed" and record.curve[-1].asr > 0.9
    assert record.curve[-1].cda < 0.5 * record.curve[0].cda
    assert record.error is not None
    assert "poisoning ruined the copy: after" in record.error and "adam" in record.error
