"""Overlay soup: what lies over an image, the members' average, and the statistics taken anew."""

import pytest
import torch
from torch import Generator, nn

from trials.defenses._units import outliers_cut
from trials.defenses.overlay_soup import overlaid, renewed, repair
from trials.spec import SpecError
from trials.train import clone
from trials.types import DefenderView

from .tiny import fresh_view, noise, run, state


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def test_the_share_asked_for_is_overlaid_and_the_rest_is_as_it_was() -> None:
    x = torch.rand(10, 3, 8, 8, generator=rng(9))
    usual = x.clone()
    found = overlaid(x, rng(), 0.6, 0.4, False)
    assert torch.equal(x, usual)
    assert torch.equal(found[6:], x[6:])
    assert all(not torch.equal(a, b) for a, b in zip(found[:6], x[:6], strict=True))
    assert torch.equal(overlaid(x, rng(), 0.0, 0.4, False), x)


@pytest.mark.parametrize("opacity", [0.2, 0.8])
def test_pixels_stay_in_range_and_move_by_the_opacity_at_most(opacity: float) -> None:
    x = torch.rand(200, 3, 8, 8, generator=rng(9))
    found = overlaid(x, rng(), 1.0, opacity, False)
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    moved = (found - x).abs().amax((1, 2, 3))
    assert float(moved.max()) <= opacity
    assert float(moved.max()) > 0.7 * opacity


def test_in_cells_half_of_the_images_show_half_of_the_cells() -> None:
    x = torch.rand(400, 1, 8, 8, generator=rng(9))
    moved = overlaid(x, rng(), 1.0, 0.4, True) != x
    shares = moved.float().mean((1, 2, 3))
    assert float((shares < 0.6).float().mean()) == pytest.approx(0.5, abs=0.08)
    assert float(shares[shares < 0.6].mean()) == pytest.approx(0.5, abs=0.03)


def test_a_step_is_the_members_share_in_per_cent_on_the_line_between_two_models() -> None:
    found = run(repair(fresh_view(), rng(), 1, steps=3, batch=16, members=2, u=9.0, refresh=0))
    assert [step for step, _ in found] == list(range(10, 101, 10))
    given, members = state(fresh_view().model), found[-1][1]
    for step, weights in found:
        for key in ("stem.weight", "head.weight", "bn.running_mean"):
            assert torch.allclose(
                weights[key], given[key] + step / 100 * (members[key] - given[key]), atol=1e-6
            )


def test_members_start_from_the_pruned_model() -> None:
    view = fresh_view()
    pruned = clone(view.model)
    assert outliers_cut(pruned, view.trusted.x[:1], 1.5) > 0
    still = run(repair(view, rng(), 1, steps=1, lr=1e-12, batch=16, members=2, u=1.5, refresh=0))[
        -1
    ][1]
    assert torch.allclose(still["layer4.bn2.weight"], state(pruned)["layer4.bn2.weight"], atol=1e-6)


def test_statistics_are_the_means_over_the_batches() -> None:
    view = fresh_view()
    model, x = clone(view.model), view.trusted.x.float() / 255
    renewed(model, [x[:20], x[20:]])
    seen = view.model.stem(x)  # type: ignore[operator]
    assert torch.allclose(model.bn.running_mean, seen.detach().mean((0, 2, 3)), atol=1e-6)  # type: ignore[union-attr, arg-type]
    assert model.bn.momentum == 0.1  # type: ignore[union-attr]


def test_refuses_a_model_that_it_cannot_prune() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(SpecError, match="overlay_soup needs"):
        next(repair(DefenderView(plain, noise()), rng(), 1))
