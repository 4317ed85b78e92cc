"""How deep a repair of a poisoned copy goes: whether a few stamped images bring the backdoor back,
and how much of the way from the poisoned to the repaired weights still has it.

Source: Min et al. 2024, 'Uncovering, Explaining, and Mitigating the Superficial Safety of Backdoor
Defense', arXiv:2410.09838: 'retuning attack' and linear mode connectivity.
Deviation: of the line they plot one number is kept, the share of it with an ASR above a half; the
images that retune are those that the repair was fitted on, not augmented, so that stamps stay where
they are.
"""

import copy

import torch
from torch import Generator, nn

from trials.metrics import success
from trials.reporting import reporter
from trials.train import clone, cross_entropy, shuffled, to_float
from trials.types import Cases, Images, TriggerGoal

STAMPED, EPOCHS, BATCH, LR, MOMENTUM = 5, 5, 128, 0.01, 0.9
PLACES = 11  # on the line, both ends among them
HALF = 0.5  # ASR above which a point of the line still has the backdoor


def retuned(
    repaired: nn.Module, fit: Images, goal: TriggerGoal, cases: Cases, rng: Generator
) -> float:
    """ASR on ``cases`` once the repaired model was tuned for a few epochs on ``fit`` and a few
    stamped images of it; the model is left alone.
    """
    others = (fit.y != goal.target).nonzero().flatten()
    few = others[torch.randperm(len(others), generator=rng)[:STAMPED].to(others.device)]
    x = torch.cat([fit.x, goal.trigger(fit.x[few], few)])
    y = torch.cat([fit.y, torch.full_like(fit.y[few], goal.target)])
    model = clone(repaired).train()
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=MOMENTUM)
    size = min(BATCH, len(y))
    batches = shuffled(torch.arange(len(y), device=y.device), size, rng)
    steps = round(EPOCHS * len(y) / size)
    for step in range(1, steps + 1):
        index = next(batches)
        optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(model, to_float(x[index]), y[index])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        reporter.report(step, steps, loss)
    return success(model, cases)


def path_share(poisoned: nn.Module, repaired: nn.Module, cases: Cases) -> float:
    """Share of the places on the line from the poisoned to the repaired weights with an ASR above a
    half. Counters, which are no floating tensors, are the repaired model's.
    """
    begin, end = poisoned.state_dict(), repaired.state_dict()
    between = copy.deepcopy(repaired)
    found = []
    for place, t in enumerate(torch.linspace(0, 1, PLACES).tolist(), 1):
        between.load_state_dict(
            {k: begin[k].lerp(v, t) if v.is_floating_point() else v for k, v in end.items()}
        )
        found.append(success(between, cases) > HALF)
        reporter.report(place, PLACES)
    return sum(found) / PLACES
