"""Neural Cleanse: the inversion of all classes at once, and unlearning what it found."""

from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from trials import inversion, inverted
from trials.defenses import neural_cleanse
from trials.inversion import invert
from trials.metrics import predictions
from trials.spec import SpecError
from trials.types import DefenderView

from .tiny import TARGET, Calls, digits, fresh_view, measure, noise, run, same, state, true_trigger


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def found(
    view: DefenderView, seed: int = 0, norm_weight: float = 0.02, steps: int = 8, lr: float = 0.05
) -> Tensor:
    return invert(
        view.model, view.trusted, rng(seed), steps=steps, lr=lr, batch=8, norm_weight=norm_weight
    )


def test_all_classes_at_once_equal_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    view = fresh_view()
    view.model.double()
    together = found(view)
    monkeypatch.setattr(inversion, "_PASS", {"cpu": 1})
    assert together.dtype == torch.float64
    assert torch.allclose(together, found(view), atol=1e-12, rtol=0)


def test_equals_a_loop_over_classes_written_out() -> None:
    view = fresh_view()
    view.model.double()
    seeds = torch.randint(2**62, (4,), generator=rng()).tolist()
    for label, expected in enumerate(found(view)):
        own = rng(seeds[label])
        trigger = (torch.rand(1, 8, 8, generator=own, dtype=torch.float64) - 0.5) / 100
        trigger.requires_grad_(True)
        others = (view.trusted.y != label).nonzero().flatten()
        draws = torch.randint(len(others), (8, 8), generator=own)
        adam = torch.optim.Adam([trigger], 0.05, (0.5, 0.9))
        for draw in draws:
            x = (view.trusted.x[others[draw]].float() / 255).double()
            stamped = (x + trigger).clip(0, 1)
            fit = nn.functional.cross_entropy(view.model(stamped), torch.full((8,), label))
            adam.zero_grad()
            (fit + 0.02 * (stamped - x).abs().sum((1, 2, 3)).mean()).backward()  # type: ignore[no-untyped-call]
            adam.step()
        assert torch.allclose(trigger.detach().clip(-1, 1), expected, atol=1e-9)


def test_inversion_leaves_the_model_alone_and_keeps_triggers_in_range() -> None:
    view = fresh_view()
    before = state(view.model.train())
    triggers = found(view, lr=1.0)
    assert triggers.shape == (4, 1, 8, 8)
    assert triggers.abs().max() == 1
    assert view.model.training
    assert all(torch.equal(before[k], v) for k, v in state(view.model).items())
    assert all(p.requires_grad and p.grad is None for p in view.model.parameters())


def test_a_heavier_norm_gives_smaller_triggers() -> None:
    norms = [
        float(found(fresh_view(), norm_weight=w, steps=40).abs().sum()) for w in (0.0, 0.1, 10.0)
    ]
    assert norms == sorted(norms, reverse=True)


def test_never_shows_a_class_its_own_images() -> None:
    images = noise()
    _, draws = inversion._start(images, [0, 3], [1, 2, 3, 4], 10, 16)
    assert draws.shape == (2, 10, 16)
    assert not (images.y[draws[0]] == 0).any()
    assert not (images.y[draws[1]] == 3).any()


def test_refuses_trusted_images_of_a_single_class() -> None:
    view = fresh_view()
    with pytest.raises(SpecError, match="class 1 cannot be inverted"):
        found(DefenderView(view.model, view.trusted.take(view.trusted.y == 1)))


def test_the_planted_class_has_the_smallest_trigger_and_it_works(victim: nn.Module) -> None:
    _, trusted, test = digits()
    triggers = invert(victim, trusted, rng(), steps=60, lr=0.1, batch=32, norm_weight=0.02)
    assert int(triggers.abs().sum((1, 2, 3)).argmin()) == TARGET
    others = test.take(test.y != TARGET)
    stamped = (others.x / 255 + triggers[TARGET]).clamp(0, 1).mul(255).round().to(torch.uint8)
    assert float((predictions(victim, stamped) == TARGET).double().mean()) > 0.9


@pytest.mark.parametrize("stamp", ["smallest", "all"])
def test_every_second_batch_is_stamped_and_keeps_its_labels(stamp: str) -> None:
    given = iter([(torch.full((6, 1, 2, 2), 0.5), torch.arange(6)) for _ in range(4)])
    triggers = (
        torch.tensor([0.1, 0.2] if stamp == "all" else [0.1]).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    )
    mixed = neural_cleanse.in_turn(given, triggers, rng())
    batches = [next(mixed) for _ in range(4)]
    assert all(torch.equal(y, torch.arange(6)) for _, y in batches)
    assert [bool((x == 0.5).all()) for x, _ in batches] == [False, True, False, True]
    assert len(batches[0][0].unique()) == len(triggers)  # type: ignore[no-untyped-call]


@pytest.fixture
def nothing_kept() -> None:
    inverted.forget()


class Scaled(nn.Module):
    """A model whose images are scaled by a number that no state dict has."""

    scale: Tensor

    def __init__(self, model: nn.Module, scale: float) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("scale", torch.tensor(scale), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x * self.scale)
        return logits


@pytest.mark.usefixtures("nothing_kept")
def test_models_of_the_same_weights_that_read_images_in_other_ways_share_no_trigger() -> None:
    view = fresh_view()

    def asked(scale: float) -> Tensor:
        model = Scaled(view.model, scale).eval()
        few = {"steps": 4, "lr": 0.1, "batch": 8, "norm_weight": 0.02}
        return inverted.inverted(model, view.trusted, rng(), **few)  # type: ignore[arg-type]

    first = asked(1.0)
    assert not torch.equal(asked(3.0), first)
    assert torch.equal(asked(1.0), first)


@pytest.mark.usefixtures("nothing_kept")
def test_inverts_once_and_then_takes_one_forward_a_step() -> None:
    view = fresh_view()
    with Calls() as calls:
        run(neural_cleanse.repair(view, rng(), 9, steps=4, batch=16, steps_per_class=7))
    assert (calls.train, calls.eval) == (4, 7)


@pytest.mark.usefixtures("nothing_kept")
def test_settings_of_the_unlearning_share_the_triggers() -> None:
    def repaired(view: DefenderView, calls: int, **settings: Any) -> dict[str, Tensor]:
        with Calls() as made:
            fixed: dict[str, Any] = {"steps": 2, "batch": 16, "steps_per_class": 7}
            ((_, last),) = run(neural_cleanse.repair(view, rng(), 9, **fixed, **settings))
        assert made.eval == calls
        return last

    view = fresh_view()
    repaired(view, 7, lr=0.1)
    again = repaired(view, 0, lr=0.01)
    inverted.forget()
    assert same(again, repaired(view, 7, lr=0.01)), "the batches after them are the same, too"
    repaired(view, 7, lr=0.01, inversion_lr=0.02)
    repaired(fresh_view(seed=1), 7, lr=0.01)
    repaired(fresh_view(n=39), 7, lr=0.01)
    with torch.no_grad():
        view.model.get_parameter("head.weight").mul_(2)
    repaired(view, 7, lr=0.01)


def test_unlearns_the_true_trigger_when_it_is_supplied(
    victim: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The upper bound on what inversion can do."""
    _, trusted, test = digits()
    monkeypatch.setattr(neural_cleanse, "inverted", lambda *_, **__: true_trigger()[None])
    repaired = neural_cleanse.repair(
        DefenderView(victim, trusted), rng(), 999, steps=150, lr=0.03, batch=32
    )
    cda, asr = measure(next(repaired)[1], test)
    assert asr < 0.05
    assert cda > measure(victim, test)[0] - 0.05
