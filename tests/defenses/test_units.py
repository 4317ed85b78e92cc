"""Pruning by channels: nested models, ranks, and which normalisation reads which convolution."""

from typing import Any

import pytest
import torch
from torch import Generator, nn

from trials.defenses._units import lipschitz, nested, pairs, ranking, z_scores
from trials.defenses.clp import repair
from trials.models.resnet18 import build
from trials.spec import SpecError
from trials.types import DefenderView

from .tiny import fresh_view, noise, run, state


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_the_lowest_scores_go_first_and_one_channel_of_a_layer_stays() -> None:
    scores = [torch.tensor([0.3, 0.1]), torch.tensor([0.2, 0.9, 0.1])]
    assert ranking(scores) == [(0, 1), (1, 2), (1, 0)]


@pytest.mark.parametrize("zero_bias", [False, True])
def test_models_are_nested_and_change_nothing_but_pruned_channels(zero_bias: bool) -> None:
    view = fresh_view()
    norms = [m for m in view.model.modules() if isinstance(m, nn.BatchNorm2d)]
    places = [i for i, m in enumerate(view.model.modules()) if m in norms]
    scores = [torch.rand(len(n.weight), generator=rng()) for n in norms]
    cut: set[tuple[str, int]] = set()
    given = state(view.model)
    names = {n for n, m in view.model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for step, weights in run(nested(view.model, places, scores, 0.5, zero_bias)):
        now = {
            (n, c)
            for n in names
            for c in range(len(given[f"{n}.weight"]))
            if weights[f"{n}.weight"][c] == 0
        }
        assert len(now) == step
        assert now > cut
        cut = now
        for key, value in weights.items():
            name, _, kind = key.rpartition(".")
            kept = torch.ones(len(value) if value.dim() else 1, dtype=torch.bool)
            if name in names and kind in ("weight", "bias")[: 1 + zero_bias]:
                gone = [c for n, c in now if n == name]
                assert not value[gone].any()
                kept[gone] = False
            assert torch.equal(
                value.reshape(len(kept), -1)[kept], given[key].reshape(len(kept), -1)[kept]
            )


def test_at_most_forty_points() -> None:
    model = build(10, 8, width=4).eval()
    norms = [(i, m) for i, m in enumerate(model.modules()) if isinstance(m, nn.BatchNorm2d)]
    scores = [torch.rand(len(m.weight), generator=rng()) for _, m in norms]
    steps = [s for s, _ in nested(model, [i for i, _ in norms], scores, 0.5, True)]
    assert 20 < len(steps) <= 40
    assert steps[-1] == round(0.5 * sum(len(s) for s in scores))


def test_a_forward_pass_pairs_shortcuts_with_their_own_normalisation() -> None:
    model = build(10, 8, width=4).eval()
    found = {(c, n) for c, n in pairs(model, torch.zeros(1, 3, 8, 8))}
    names = {m: name for name, m in model.named_modules()}
    paired = {(names[c], names[n]) for c, n in found}
    assert ("conv1", "bn1") in paired
    assert ("layer2.0.downsample.0", "layer2.0.downsample.1") in paired
    assert ("layer3.1.conv2", "layer3.1.bn2") in paired
    assert len(paired) == 20


def test_clp_scores_are_singular_values_times_the_scale_over_the_deviation() -> None:
    model: Any = fresh_view().model
    conv, norm = model.layer2.conv1, model.layer2.bn1
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2, generator=rng())
    found = lipschitz(conv, norm)
    for c in range(len(found)):
        matrix = conv.weight[c].detach().double().reshape(conv.in_channels, -1)
        scale = float(
            norm.weight[c].detach().double() / (norm.running_var[c].double() + norm.eps).sqrt()
        )
        assert float(found[c]) == pytest.approx(float(torch.linalg.svdvals(matrix)[0]) * abs(scale))


def test_clp_cuts_a_channel_that_shouts_and_makes_it_silent() -> None:
    view = fresh_view()
    model: Any = view.model
    with torch.no_grad():
        model.layer3.bn2.weight[5] *= 50
    step, first = run(repair(view, rng(), 50, most=0.05))[0]
    assert step == 1
    assert first["layer3.bn2.weight"][5] == 0
    assert first["layer3.bn2.bias"][5] == 0


def test_equal_channels_have_no_z_scores() -> None:
    assert not z_scores(torch.ones(4)).any()
    assert float(z_scores(torch.tensor([0.0, 0.0, 3.0])).max()) == pytest.approx(2 / 3**0.5)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
        nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 4)),
    ],
    ids=["no_norm", "norm_without_a_convolution"],
)
def test_clp_refuses_a_model_without_pairs(model: nn.Module) -> None:
    with pytest.raises(SpecError, match="clp needs"):
        next(repair(DefenderView(model.eval(), noise()), rng(), 1))
