"""Fine-Pruning: what is cut, that it stays cut, and that columns of the head stand for channels of
the stage.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torchvision.models import resnet18 as torchvision_resnet18

from trials.classifier import Classifier, Prunable
from trials.defenses.fine_pruning import mean_activity, repair
from trials.defenses.fine_tuning import repair as fine_tune
from trials.models.resnet18 import build
from trials.spec import SpecError
from trials.train import clone, make_optimizer, stream, tune
from trials.types import DefenderView, Images

from .tiny import fresh_view, noise, run, same, state


class Turn(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


def rng() -> Generator:
    return Generator().manual_seed(0)


def channels(model: nn.Module) -> Prunable:
    found = Classifier(model).prunable()
    assert found is not None
    return found


def on_stage(stage: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    stage.register_forward_hook(lambda _m, _i, out: change(out))


def coloured(size: int) -> Images:
    grey = noise(n=24, size=size)
    return Images(grey.x.repeat(1, 3, 1, 1), grey.y, 4)


MODELS: dict[str, Callable[[], DefenderView]] = {
    "tiny": fresh_view,
    "resnet18": lambda: DefenderView(build(4, 16, width=4).eval(), coloured(16)),
    "torchvision": lambda: DefenderView(torchvision_resnet18(num_classes=4).eval(), coloured(32)),
}


@pytest.mark.parametrize("name", list(MODELS))
def test_cut_channels_reach_no_logit_before_or_after_tuning(name: str) -> None:
    torch.manual_seed(0)
    view = MODELS[name]()
    image = view.trusted.x.float() / 255
    for _, model in repair(view, rng(), 1, steps=2, batch=12, rho=0.75, ranking_batches=1, lr=0.01):
        model.eval()
        columns = (Classifier(model).head.weight == 0).all(0)
        assert int(columns.sum()) == int(0.75 * len(columns))
        usual = model(image)
        for change in (0.0, 7.0):  # silence the channels, or let them shout
            other = clone(model).eval()
            on_stage(
                other.get_submodule("layer4"),
                lambda out, v=change, c=columns: torch.where(c[:, None, None], v, out),  # type: ignore[misc]
            )
            assert torch.equal(other(image), usual)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_is_a_mask_on_the_output_of_the_last_stage(optimizer: Any) -> None:
    """Twin: a mask after the last ReLU, shortcut included, while all else is tuned."""
    view = fresh_view()
    (_, cut) = run(
        repair(
            view,
            rng(),
            99,
            steps=6,
            lr=0.01,
            batch=16,
            rho=0.5,
            ranking_batches=2,
            optimizer=optimizer,
        )
    )[-1]
    columns = (cut["head.weight"] == 0).all(0)
    twin, same_draws = clone(view.model), stream(view.trusted, 16, rng())
    mean_activity(view.model, same_draws, channels(view.model), 2)
    on_stage(twin.layer4, lambda out: out * ~columns[:, None, None])  # type: ignore[arg-type]
    for _ in tune(twin, same_draws, make_optimizer(twin, optimizer, 0.01), 6, 6):
        pass
    masked = state(twin)
    masked["head.weight"][:, columns] = 0
    for name, value in masked.items():
        assert torch.allclose(cut[name].float(), value.float(), atol=1e-6), name


def test_cuts_the_channels_with_the_least_activation() -> None:
    view = fresh_view()
    seen: list[Tensor] = []
    probe = clone(view.model).eval()
    on_stage(probe.layer4, lambda out: seen.append(out.abs().mean((0, 2, 3))) or out)  # type: ignore[arg-type, func-returns-value]
    probe(view.trusted.x.float() / 255)
    ranked = mean_activity(view.model, stream(view.trusted, 40, rng()), channels(view.model), 1)
    assert torch.allclose(ranked.float(), seen[0], atol=1e-6)
    (_, cut) = run(repair(view, rng(), 9, steps=1, batch=40, rho=0.5, ranking_batches=1))[-1]
    columns = (cut["head.weight"] == 0).all(0)
    assert seen[0][columns].max() < seen[0][~columns].min()


def test_a_share_of_zero_is_plain_fine_tuning() -> None:
    plain = run(fine_tune(fresh_view(), rng(), 1, steps=4, batch=16))
    uncut = run(repair(fresh_view(), rng(), 1, steps=4, batch=16, rho=0.0))
    assert all(same(a, b) for (_, a), (_, b) in zip(plain, uncut, strict=True))


def test_one_channel_always_stays() -> None:
    (_, cut) = run(repair(fresh_view(), rng(), 9, steps=2, batch=16, rho=1.0))[-1]
    assert int((cut["head.weight"] != 0).any(0).sum()) == 1


def test_reads_the_channels_of_a_flattened_head() -> None:
    torch.manual_seed(0)
    flat = nn.Sequential(nn.Conv2d(1, 6, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 4))
    (_, cut) = run(repair(DefenderView(flat, noise()), rng(), 9, steps=2, batch=16, rho=0.5))[-1]
    columns = (cut["3.weight"] == 0).all(0).view(6, 16)
    assert columns.all(1).tolist() == columns.any(1).tolist()
    assert int(columns.all(1).sum()) == 3


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Flatten(), nn.Linear(64, 4)),
        # a channel's places are not neighbours
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(2), Turn(), nn.Flatten(), nn.Linear(144, 4)),
    ],
    ids=["no_convolution", "channels_last"],
)
def test_refuses_a_model_whose_channels_it_cannot_cut(model: nn.Module) -> None:
    with pytest.raises(SpecError, match="fine_pruning needs"):
        next(repair(DefenderView(model, noise()), rng(), 1))
