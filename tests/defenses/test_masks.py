"""ANP and RNP: masks in [0, 1], the channel that carries a trigger goes first, and unlearning that
does not end.
"""

import math

import pytest
import torch
from torch import Generator, Tensor, nn

from trials.classifier import Classifier
from trials.defenses import anp, rnp
from trials.defenses._unlearning import unlearn
from trials.spec import SpecError
from trials.train import clone, make_optimizer, stream, tune
from trials.types import DefenderView, Images

from .tiny import fresh_view, noise, run, state


def rng() -> Generator:
    return Generator().manual_seed(0)


class Gate(nn.Module):
    """Sixteen channels that see the whole image and lead to its class, and a last one that a bright
    corner opens.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 17, 8, bias=False)
        self.bn = nn.BatchNorm2d(17)
        self.fc = nn.Linear(17, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(torch.relu(self.bn(self.conv(x))).flatten(1))
        return out


def gated() -> tuple[Gate, Images]:
    """A net that tells four kinds of images apart, into which a corner's channel was then set by
    hand.
    """
    torch.manual_seed(0)
    y = torch.arange(80) % 4
    x = torch.zeros(80, 1, 8, 8)
    for i, label in enumerate(y.tolist()):
        x[i, 0, 2 * label : 2 * label + 2, :6] = 180
    x = (x + 20 * torch.rand(x.shape, generator=rng())).to(torch.uint8)
    images, model = Images(x, y, 4), Gate()
    with torch.no_grad():
        model.conv.weight[16] = 0
        model.fc.weight[:, 16] = 0
    for _ in tune(model, stream(images, 20, rng()), make_optimizer(model, "sgd", 0.05), 100, 100):
        pass
    with torch.no_grad():
        model.conv.weight[16] = 0
        model.conv.weight[16, 0, -2:, -2:] = 1
        mean, variance = model.bn.running_mean, model.bn.running_var
        assert mean is not None
        assert variance is not None
        mean[16], variance[16] = 0.5, 0.01
        model.bn.weight[16], model.bn.bias[16] = 1, -0.5
        model.fc.weight[:, 16] = torch.tensor([20.0, -20.0, -20.0, -20.0])
    return model.eval(), images


def test_the_trigger_of_the_gate_works() -> None:
    model, images = gated()
    x = images.x.float() / 255
    assert float((model(x).argmax(1) == images.y).float().mean()) == 1
    x[..., -2:, -2:] = 1
    assert not model(x).argmax(1).any()


def test_anp_gives_the_channel_that_carries_the_trigger_the_lowest_mask() -> None:
    model, images = gated()
    copy = clone(model).requires_grad_(False)
    (mask,) = anp.learnt(
        copy, Classifier(copy).scales(), stream(images, 20, rng()), rng(), 60, 0.2, 0.4, 0.2
    )
    assert int(mask.argmin()) == 16
    assert float(mask[16]) < float(mask[:16].median())


@pytest.mark.parametrize("lr", [0.2, 5.0])
def test_masks_stay_between_zero_and_one(lr: float) -> None:
    view = fresh_view()
    copy = clone(view.model).requires_grad_(False)
    norms = Classifier(copy).scales()
    found = anp.learnt(copy, norms, stream(view.trusted, 16, rng()), rng(), 5, lr, 0.4, 0.2)
    found += rnp.recover(copy, norms, stream(view.trusted, 16, rng()), lr, 5)
    assert all(bool(((m >= 0) & (m <= 1)).all()) for m in found)
    assert any(bool((m < 1).any()) for m in found)


def test_without_perturbations_a_model_that_fits_perfectly_keeps_its_masks() -> None:
    model, images = gated()
    with torch.no_grad():
        model.fc.weight[:, :16] *= 1000  # no gradient is left
    copy = clone(model).requires_grad_(False)
    (mask,) = anp.learnt(
        copy, Classifier(copy).scales(), stream(images, 80, rng()), rng(), 5, 0.2, 0.0, 1.0
    )
    assert torch.equal(mask[:16], torch.ones(16))


def test_unlearning_ends_at_the_accuracy_asked_for() -> None:
    model, images = gated()
    assert unlearn("rnp", clone(model), stream(images, 20, rng()), 0.01, 0.5, 500) <= 0.5


def test_unlearning_that_does_not_get_there_fails() -> None:
    model, images = gated()
    with pytest.raises(RuntimeError, match="raise unlearn_lr or stop"):
        unlearn("rnp", clone(model), stream(images, 20, rng()), 1e-6, 0.2, 10)


@pytest.mark.parametrize("name", ["anp", "rnp"])
def test_the_cut_model_is_the_given_one_but_for_scales_of_zero(name: str) -> None:
    view = fresh_view()
    usual = {"iterations": 8} if name == "anp" else {"stop": 1.0, "recover_steps": 8}
    given = state(view.model)
    for step, weights in run(
        {"anp": anp, "rnp": rnp}[name].repair(view, rng(), 50, batch=16, **usual)
    ):
        changed = sum(int((weights[k] != given[k]).sum()) for k in given)
        assert changed == step
        assert all(not weights[k][weights[k] != given[k]].any() for k in given)


@pytest.mark.parametrize("defense", [anp, rnp])
def test_refuses_a_model_without_normalisation(defense: object) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(SpecError, match="needs a model with normalisation layers"):
        next(defense.repair(DefenderView(plain, noise()), rng(), 1))  # type: ignore[attr-defined]


def test_rnp_says_the_accuracy_that_it_reached() -> None:
    model, images = gated()
    reached = unlearn("rnp", clone(model), stream(images, 20, rng()), 0.01, 0.9, 500)
    assert math.isfinite(reached)
    assert 0 <= reached <= 0.9
