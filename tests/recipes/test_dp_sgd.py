"""DP-SGD: each image's gradient is clipped by itself, the noise is what the accountant asks for."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny_sweep
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sweep.execution import preflight
from trials import catalog
from trials.crafting import as_attacked
from trials.datasets import digits
from trials.metrics import accuracy
from trials.models import resnet18, small_cnn
from trials.spec import MethodConfig, SpecError
from trials.storage.blobs import LocalBlobStore
from trials.storage.checkpoint import Checkpointer
from trials.types import Images, Poisoning

pytest.importorskip("opacus")

from opacus.accountants import RDPAccountant

from trials.recipes import dp_sgd
from trials.recipes._private import Private, noise_multiplier

BASE: dict[str, Any] = {"epochs": 2, "batch": 16, "peak": 0.1}


def few(n: int = 48) -> Images:
    return digits.load("train", size=8).take(torch.arange(n))


def network(groups: int = 2) -> nn.Module:
    torch.manual_seed(0)
    model = small_cnn.build(10, 8, width=4, groups=groups)
    return model.to(memory_format=torch.channels_last)


def weights(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def fitted(data: Images, checkpointer: Checkpointer | None = None, **settings: Any) -> nn.Module:
    model, rng = network(), Generator().manual_seed(0)
    list(dp_sgd.fit(model, Poisoning(data), rng, checkpointer, **{**BASE, **settings}))
    return model


def images(n: int) -> tuple[Tensor, Tensor]:
    x = torch.rand(n, 3, 8, 8, generator=Generator().manual_seed(1))
    return x.contiguous(memory_format=torch.channels_last), torch.arange(n) % 10


def gradient(clip: float, n: int, noise: float = 0.0) -> Tensor:
    """The step's gradient for a batch of ``n`` images, of which 4 are expected."""
    model, rng = network(), Generator().manual_seed(0)
    private = Private(model, clip, 8.0, 1e-5, "rdp", 1)
    next(iter(private.batches(torch.arange(40), 4, rng)))
    private.noise = noise
    private.loss(model, *images(n), rng).backward()  # type: ignore[no-untyped-call]
    private.gradient(model, rng)
    private.close()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_the_gradient_is_the_sum_of_each_images_own_clipped_by_itself() -> None:
    model, (x, y) = network(), images(6)
    each = []
    for i in range(6):
        loss = F.cross_entropy(model(x[i : i + 1]), y[i : i + 1])
        parts = torch.autograd.grad(loss, list(model.parameters()))
        each.append(torch.cat([g.flatten() for g in parts]))
    norms = torch.stack([g.norm() for g in each])
    clip = float(norms.median())  # some are clipped, some are not
    for bound in (clip, 1e6):
        wanted = sum(g * min(1.0, bound / float(g.norm())) for g in each)
        torch.testing.assert_close(gradient(bound, 6), wanted / 4, rtol=1e-3, atol=1e-5)


def test_the_noise_is_as_wide_as_the_multiplier_says_and_stands_alone_in_an_empty_batch() -> None:
    alone = gradient(0.5, 0, noise=3.0)
    assert float(alone.std()) == pytest.approx(3.0 * 0.5 / 4, rel=0.2)
    both = gradient(0.5, 3, noise=3.0)
    torch.testing.assert_close(both - alone, gradient(0.5, 3), rtol=1e-3, atol=1e-5)


def test_the_accountant_confirms_the_privacy() -> None:
    found = noise_multiplier(0.1, 200, target_epsilon=4.0, target_delta=1e-5, accountant="rdp")
    counted = RDPAccountant()
    for _ in range(200):
        counted.step(noise_multiplier=found, sample_rate=0.1)
    assert 3.5 < counted.get_epsilon(delta=1e-5) <= 4.0 + 1e-6
    of = partial(noise_multiplier, 0.1, 200, target_delta=1e-5)
    assert of(target_epsilon=1.0, accountant="rdp") > found
    assert of(target_epsilon=4.0, accountant="prv") < found


def test_each_row_is_drawn_by_itself() -> None:
    private = Private(network(), 1.0, 8.0, 1e-5, "rdp", 3)
    drawn = private.batches(torch.arange(100), 20, Generator().manual_seed(0))
    batches = [next(drawn) for _ in range(200)]
    private.close()
    sizes = torch.tensor([len(b) for b in batches]).double()
    assert abs(float(sizes.mean()) - 20) < 2 and 3 < float(sizes.std()) < 5
    assert all(len(set(b.tolist())) == len(b) for b in batches)
    share = {"target_epsilon": 8.0, "target_delta": 1e-5, "accountant": "rdp"}
    assert private.noise == noise_multiplier(0.2, 15, **share)


def test_it_learns_the_digits_and_leaves_a_plain_model() -> None:
    data = digits.load("train", size=8)
    model = fitted(data, epochs=8, batch=64, epsilon=50.0, peak=0.3)
    assert accuracy(model, digits.load("test", size=8)) > 0.4 and not model.training
    assert not any(m._forward_hooks for m in model.modules())
    assert math.isfinite(float(weights(model).sum()))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epsilon", 1.0),
        ("delta", 0.01),
        pytest.param("accountant", "prv", marks=pytest.mark.slow),
        ("clip", 0.1),
        ("epochs", 3),
        ("peak", 0.01),
        ("weight_decay", 0.1),
        ("batch", 8),
    ],
)
def test_every_setting_is_alive(key: str, value: float | str) -> None:
    assert key in catalog.describe("recipes", "dp_sgd").settings
    given: dict[str, Any] = {key: value}
    assert not torch.equal(weights(fitted(few())), weights(fitted(few(), **given)))


def test_one_that_was_cut_short_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    def checkpointer() -> Checkpointer:
        return Checkpointer(LocalBlobStore(tmp_path), "trial", 0, {})

    whole, half = fitted(few(), epochs=4), network()
    rng = Generator().manual_seed(0)
    given = {**BASE, "epochs": 4}
    steps = dp_sgd.fit(half, Poisoning(few()), rng, checkpointer(), **given)
    next(steps), next(steps)
    steps.close()  # type: ignore[attr-defined]
    second = checkpointer()
    again = fitted(few(), second, epochs=4)
    assert torch.equal(weights(whole), weights(again)) and "resumed" in second.notes


def test_a_model_with_batch_normalisation_is_refused_before_anything_runs(tmp_path: Path) -> None:
    says = "dp_sgd needs a model without batch normalisation"
    with pytest.raises(SpecError, match=says):
        list(dp_sgd.fit(network(groups=0), Poisoning(few()), Generator(), **BASE))
    given = {**tiny_sweep.VICTIM, "training": {"name": "dp_sgd", "epochs": 2}}
    config = tiny_sweep.worker_config(tmp_path / "artifacts")
    with pytest.raises(SpecError, match=says):
        preflight.check(tiny_sweep.sweep(victim=given, game="training"), config)
    given["model"] = {"name": "small_cnn", "width": 8, "groups": 4}
    preflight.check(tiny_sweep.sweep(victim=given, game="training"), config)


@pytest.mark.parametrize(
    ("changed", "says"),
    [({"epsilon": 0.1}, "Raise epsilon"), ({"delta": 0.1}, "delta must be below one over")],
)
def test_a_privacy_that_cannot_be_is_refused_before_anything_runs(
    tmp_path: Path, changed: dict[str, float], says: str
) -> None:
    given = {**tiny_sweep.VICTIM, "training": {"name": "dp_sgd", "epochs": 2, **changed}}
    given["model"] = {"name": "small_cnn", "width": 8, "groups": 4}
    config = tiny_sweep.worker_config(tmp_path / "artifacts")
    with pytest.raises(SpecError, match=says) as told:
        preflight.check(tiny_sweep.sweep(victim=given, game="training"), config)
    assert "\n" not in str(told.value)


def test_a_privacy_is_refused_as_a_training_begins_on_the_rows_that_a_filter_left() -> None:
    left = few(20)
    with pytest.raises(SpecError, match="below one over the number of rows, 0.05 for 20; got 0.1"):
        fitted(left, delta=0.1)
    with pytest.raises(SpecError, match="no noise gives epsilon = 0.01"):
        fitted(left, epsilon=0.01)


def test_an_attacker_trains_as_without_it() -> None:
    resolved = catalog.resolve("recipes", MethodConfig("dp_sgd", {"epochs": 7, "batch": 64}))
    plain = catalog.resolve("recipes", MethodConfig("fast", {"epochs": 7, "batch": 64}))
    assert as_attacked(resolved) == plain


def test_group_normalisation_looks_at_one_image_alone() -> None:
    for build in (small_cnn.build, resnet18.build):
        model = build(10, 8, width=4, groups=2)
        x, _ = images(5)
        torch.testing.assert_close(model(x)[:1], model(x[:1]), rtol=1e-4, atol=1e-5)
        assert not [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        with pytest.raises(SpecError, match="groups must divide width, 4, or be 0; got 3"):
            build(10, 8, width=4, groups=3)
