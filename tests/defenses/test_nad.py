"""NAD: the attention distance, and what one step costs."""

import pytest
import torch
from torch import Generator, nn

from trials.classifier import Classifier, with_features
from trials.defenses.fine_tuning import repair as fine_tune
from trials.defenses.nad import attention, attention_distance, repair
from trials.models import small_cnn
from trials.spec import SpecError
from trials.types import DefenderView, Images

from .tiny import Calls, fresh_view, noise, run, same


def rng() -> Generator:
    return Generator().manual_seed(0)


def test_is_zero_where_student_and_teacher_are_the_same() -> None:
    view = fresh_view()
    features, _ = with_features(
        view.model, list(Classifier(view.model).stages().values()), view.trusted.x.float() / 255
    )
    assert len(features) == 4
    assert attention_distance(features, features, 2) == 0


@pytest.mark.parametrize("power", [1, 2, 3, 4])
def test_does_not_see_the_scale_of_the_features(power: int) -> None:
    features = torch.randn(3, 5, 4, 4, generator=rng(), dtype=torch.float64)
    assert torch.allclose(attention(features, power), attention(-3 * features, power), atol=1e-6)


def test_is_the_sum_over_channels_of_unit_length() -> None:
    features = torch.randn(3, 5, 4, 4, generator=rng(), dtype=torch.float64)
    found = attention(features, 3)
    for n in range(3):
        expected = sum(features[n, c].abs() ** 3 for c in range(5))
        assert isinstance(expected, torch.Tensor)
        assert torch.allclose(
            found[n].view(4, 4), expected / expected.square().sum().sqrt(), atol=1e-6
        )


@pytest.mark.parametrize("power", [1, 2, 4])
def test_dead_maps_give_no_nan(power: int) -> None:
    dead = torch.zeros(2, 3, 4, 4, requires_grad=True)
    alive = torch.rand(2, 3, 4, 4, generator=rng())
    attention_distance([dead], [alive], power).backward()  # type: ignore[no-untyped-call]
    assert dead.grad is not None
    assert torch.isfinite(dead.grad).all()


def test_one_forward_of_the_student_and_one_of_the_teacher_a_step() -> None:
    view = fresh_view()
    assert Classifier(
        view.model, view.trusted.x.shape[1:]
    ).stages()  # found once, in a pass of its own
    with Calls() as calls:
        run(repair(view, rng(), 9, steps=3, batch=16, teacher_steps=5))
    assert (calls.train, calls.eval) == (3 + 5, 3)


def test_without_attention_it_goes_on_as_plain_fine_tuning() -> None:
    """One batch holds all images here, so that the teacher's batches before do not matter but for
    their order.
    """
    view = fresh_view()
    bare = run(repair(view, rng(), 1, steps=3, lr=0.001, batch=40, teacher_steps=1, lambda_at=0.0))
    plain = run(fine_tune(view, rng(), 1, steps=3, lr=0.001, batch=40))
    for (_, a), (_, b) in zip(bare, plain, strict=True):
        assert all(torch.allclose(a[k].float(), b[k].float(), atol=1e-5) for k in a)


def test_the_teacher_starts_from_the_given_model_not_from_the_student() -> None:
    view = fresh_view()
    short, long = (run(repair(view, rng(), 2, steps=n, batch=16, teacher_steps=3)) for n in (2, 4))
    assert same(short[0][1], long[0][1])


def test_distils_the_stages_of_two_convolutions() -> None:
    torch.manual_seed(0)
    images = noise()
    view = DefenderView(
        small_cnn.build(4, 8, width=4).eval(), Images(images.x.expand(-1, 3, -1, -1), images.y, 4)
    )
    (_, with_it), (_, without) = (
        run(repair(view, rng(), 3, steps=3, batch=16, teacher_steps=3, lambda_at=at))[-1]
        for at in (1000.0, 0.0)
    )
    assert not same(with_it, without)


def test_refuses_a_model_without_stages() -> None:
    with pytest.raises(SpecError, match="at least two stages, as layer1"):
        next(repair(DefenderView(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), noise()), rng(), 1))
