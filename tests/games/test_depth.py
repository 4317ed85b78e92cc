"""How deep a repair of a copy goes: a few stamped images, and the line between the weights."""

import copy
from dataclasses import replace

import pytest
import tiny_sweep
import torch
from torch import Tensor, nn

from sweep.spec.sweep_file import Sweep
from trials import catalog
from trials.games._depth import path_share, retuned
from trials.metrics import success
from trials.run import run
from trials.runtime import DefenderContext, TrialRuntime
from trials.spec import MethodConfig, Record, Trial
from trials.types import Cases, Copy, Images, TriggerGoal


def stamp(x: Tensor, index: Tensor) -> Tensor:
    """White in the upper left corner."""
    stamped = x.clone()
    stamped[:, :, :4, :4] = 255
    return stamped


GOAL = TriggerGoal(stamp, 1)


def images(n: int = 200) -> Images:
    """Two classes of 8 x 8 pixels, told apart by the lower half's brightness; corners are dark."""
    rng = torch.Generator().manual_seed(0)
    y = torch.arange(n) % 2
    x = torch.randint(0, 40, (n, 1, 8, 8), generator=rng, dtype=torch.uint8)
    x[:, :, 4:] += (y * 150)[:, None, None, None].to(torch.uint8)
    return Images(x, y, 2, pad=2, flip=False)


def network(of_corner: float, scale: float = 1.0) -> nn.Module:
    """Logits of the lower half's brightness, and of the corner's by ``of_corner``; a counter."""
    weight = torch.zeros(1, 8, 8)
    weight[:, 4:] = scale
    weight[:, :4, :4] = of_corner * scale
    linear = nn.Linear(64, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.stack([-weight.flatten(), weight.flatten()]))
        linear.bias.copy_(torch.tensor([12.0, -12.0]) * scale)
    model = nn.Sequential(nn.Flatten(), linear).eval()
    model.register_buffer("counter", torch.tensor(int(of_corner > 1)))
    return model


def test_the_line_counts_the_places_that_still_have_the_backdoor() -> None:
    cases = GOAL.cases(images())
    poisoned, repaired = network(2.0), network(0.0)
    assert success(poisoned, cases) == 1 and success(repaired, cases) == 0
    found = path_share(poisoned, repaired, cases)
    between = (network(2.0 * (1 - i / 10)) for i in range(11))
    assert found == sum(success(model, cases) > 0.5 for model in between) / 11
    assert 0 < found < 1
    assert path_share(poisoned, poisoned, cases) == 1
    assert path_share(repaired, repaired, cases) == 0
    assert success(repaired, cases) == 0


def test_what_is_barely_hidden_comes_back_and_the_model_is_left_alone() -> None:
    fit, cases = images(), GOAL.cases(images())
    asrs = []
    for of_corner in (0.4, -2.0):
        model = network(of_corner, scale=0.01)
        before = copy.deepcopy(model.state_dict())
        assert success(model, cases) == 0
        asrs.append(retuned(model, fit, GOAL, cases, torch.Generator().manual_seed(1)))
        assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
        again = retuned(model, fit, GOAL, cases, torch.Generator().manual_seed(1))
        assert again == asrs[-1]
    assert asrs[0] > 0.9 and asrs[1] == 0


@pytest.fixture
def tuning_trial(sweep: Sweep) -> Trial:
    return tiny_sweep.first(sweep, "tuning")


def confirmed(trial: Trial, runtime: TrialRuntime, **settings: object) -> Record:
    game = MethodConfig("confirmation", {"copies": 1, "record_every": 2, **settings})  # type: ignore[dict-item]
    record = run(replace(trial, game=catalog.resolve("games", game)), runtime)
    assert record.status == "done", record.error
    return record


def of_copy(ctx: DefenderContext) -> tuple[Copy, Images, Cases]:
    poisoned = ctx.copy(0)
    trusted = ctx.view.trusted
    return (
        poisoned,
        trusted.take(poisoned.fit),
        poisoned.goal.cases(trusted.take(poisoned.report)),
    )


def test_confirmation_measures_both_and_nothing_else_changes(
    tuning_trial: Trial, runtime: TrialRuntime
) -> None:
    probed = confirmed(tuning_trial, runtime, stop_at=4)
    plain = confirmed(tuning_trial, runtime, stop_at=4, probe=False)
    depth = {"retuned_asr", "path_share"}
    assert depth <= probed.metrics.keys() and not depth & plain.metrics.keys()
    assert {k: v for k, v in probed.metrics.items() if k not in depth} == dict(plain.metrics)
    assert not depth & confirmed(tuning_trial, runtime, stop_at=0).metrics.keys()


def test_confirmation_measures_the_repaired_copy_on_report_images(
    tuning_trial: Trial, runtime: TrialRuntime
) -> None:
    record = confirmed(tuning_trial, runtime, stop_at=4)
    ctx = runtime.defender(record.trial)
    poisoned, fit, cases = of_copy(ctx)
    assert ctx.repair is not None
    view = replace(ctx.view, trusted=fit, model=poisoned.model)
    steps = ctx.repair(view, ctx.rng("repair", 0), 2)
    repaired = next(model for step, model in steps if step >= 4)
    share = path_share(poisoned.model, repaired, cases)
    back = retuned(repaired, fit, poisoned.goal, cases, ctx.rng("retune", 0))
    assert record.metrics["path_share"] == pytest.approx(share)
    assert record.metrics["retuned_asr"] == pytest.approx(back)
