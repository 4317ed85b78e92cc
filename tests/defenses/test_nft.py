"""NFT: masks between their floors and 1 that stay in the model, and what images are mixed of."""

import math

import pytest
import torch
from torch import Generator, nn

from trials.classifier import Classifier
from trials.defenses.nft import Masked, mixture, repair
from trials.spec import SpecError
from trials.train import clone
from trials.types import DefenderView

from .tiny import fresh_view, noise, run, state


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_a_mixture_is_its_share_of_each_image_and_the_rest_of_another() -> None:
    x, y = torch.rand(16, 1, 2, 2, generator=rng()), torch.arange(16)
    mixed, other, share = mixture(x, y, rng())
    assert sorted(other.tolist()) == y.tolist() and 0 < share < 1
    assert torch.allclose(mixed, share * x + (1 - share) * x[other])
    shares = torch.tensor([mixture(x, y, Generator().manual_seed(i))[2] for i in range(400)])
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.06)  # 4 standard errors of U(0, 1)


def test_the_model_is_the_given_one_with_its_scales_times_the_masks() -> None:
    model = clone(fresh_view().model).eval().requires_grad_(False)
    norms = Classifier(model).scales()
    masked, before = Masked(model, norms, 0.5), state(model)
    x = torch.rand(4, 1, 8, 8, generator=rng())
    assert torch.allclose(masked(x), model(x))
    with torch.no_grad():
        for mask in masked.masks:
            mask.copy_(torch.linspace(-1, 2, len(mask)))
    masked.settle(model)
    assert torch.allclose(masked(x), model(x))
    changed = {k for k, v in state(model).items() if not torch.equal(v, before[k])}
    assert changed == {key for key in before if key in masked._keys}
    for i, (mask, floor) in enumerate(zip(masked.masks, masked.floors, strict=True)):
        assert floor == pytest.approx(0.5 * math.exp(-0.5 * i))
        assert float(mask.detach().min()) == pytest.approx(floor)
        assert float(mask.detach().max()) == 1


def test_only_scales_and_running_statistics_change() -> None:
    view = fresh_view()
    given = state(view.model)
    (_, end) = run(repair(view, rng(), 50, steps=8, batch=16, lr=0.5))[-1]
    moved = {k for k in given if not torch.equal(given[k], end[k])}
    norms = {name for name, m in view.model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    own = ("weight", "running_mean", "running_var", "num_batches_tracked")
    assert moved == {f"{n}.{what}" for n in norms for what in own}


def test_a_strong_pull_toward_masks_of_one_leaves_the_scales() -> None:
    view = fresh_view()
    (_, held) = run(repair(view, rng(), 50, steps=8, batch=16, lr=0.5, sparsity=1e6))[-1]
    name = next(n for n, m in view.model.named_modules() if isinstance(m, nn.BatchNorm2d))
    assert torch.equal(held[f"{name}.weight"], state(view.model)[f"{name}.weight"])


def test_refuses_a_model_without_normalisation() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(SpecError, match="needs a model with normalisation layers"):
        next(repair(DefenderView(plain, noise()), rng(), 1))
