"""How a backdoor is trained into a copy of the model.

A backdoor that was merely tuned in is not removed as one that was trained in is, so that settings
tuned on such copies mislead. The schemes differ in how much of the copy is trained with the poison
in from the first step, and in what keeps its clean accuracy.

Source: ``labels`` is Lukas & Kerschbaum 2023, arXiv:2305.09671, with a schedule of ours; ``shrink``
begins as Ash & Adams 2020, 'On Warm-Starting Neural Network Training', arXiv:1910.08475; ``sam``
takes the gradient of Kwon et al. 2021, arXiv:2102.11600, as Zhang et al. 2024, arXiv:2411.11525,
found it to strengthen a backdoor; ``sbl`` is Pham et al. 2024, 'Flatness-aware Sequential Learning
Generates Resilient Backdoors', arXiv:2407.14738; the others are ours, with the distillation of
Hinton et al. 2015, arXiv:1503.02531.
Deviation: ``sbl`` trains a copy of the given model for hundreds of steps, not a new one for 250
epochs, and holds the weights ten times as stiffly: at the paper's 1 so few steps move them as if
they were free. The parts of its two tasks and the ratio of their rates are the paper's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.classifier import numbered
from trials.train import Loss, cross_entropy, frozen

TEMPERATURE = 2.0  # of the given model's soft outputs
WARM_UP = 0.15  # part of a cycle in which its rate rises
RADIUS = 1.0  # of the sharpness-aware gradient, adaptive
STIFFNESS = 10.0  # of the weights that are held
FIRST = 0.6  # part of a round that the first of two tasks takes
SECOND = 0.1  # rate of the second task at its start, as a multiple of the first's
SHRINK, PERTURB = 0.5, 0.01  # a weight's share that is kept, and the deviation of what is added


def falling(t: float) -> float:
    """From 1 to 0 in a line."""
    return 1 - t


def one_cycle(t: float) -> float:
    """From 0 to 1 in a line while warming up, then to 0 in another."""
    return (t + 1e-3) / (WARM_UP + 1e-3) if t < WARM_UP else (1 - t) / (1 - WARM_UP)


def hardening(t: float) -> float:
    """1 until three quarters of the way, then to 0 in a line."""
    return 1.0 if t < 0.75 else 4 * (1 - t)


def two_tasks(t: float) -> float:
    """1 in the first task; then from a tenth to 0 in a line."""
    return 1.0 if first_task(t) else SECOND * (1 - t) / (1 - FIRST)


def always(t: float) -> bool:
    return True


def never(t: float) -> bool:
    return False


def first_task(t: float) -> bool:
    return t < FIRST


def with_repairs(t: float) -> bool:
    """Whether the backdoor is trained at ``t``, or the copy repaired: four times, for a twentieth
    of the way, between a quarter and three quarters.
    """
    place = (t - 0.25) / 0.15
    return not (0 <= place < 10 / 3 and place % 1 < 1 / 3)


@dataclass(frozen=True, slots=True)
class Scheme:
    """One way to train a backdoor in; ``t`` goes from 0 to 1 over a round.

    Attributes:
        rate: the learning rate at ``t``, as a multiple of its peak.
        stamped: whether batches carry the trigger at ``t``.
        sharp: whether the gradient at ``t`` is that of the worst point near the weights.
        elastic: batches without the trigger hold the weights that those with it need.
        distilled: clean images are taught the given model's soft outputs, not their labels.
        begin: changes the copy before the first step, by draws of the generator.
    """

    rate: Callable[[float], float]
    stamped: Callable[[float], bool] = always
    sharp: Callable[[float], bool] = never
    elastic: bool = False
    distilled: bool = False
    begin: Callable[[nn.Module, Generator], None] = lambda model, rng: None


def shrink_weights(model: nn.Module, rng: Generator) -> None:
    """Shrink all weights toward 0 and add a little noise; norms and biases stay."""
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.dim() > 1):
            noise = torch.randn(parameter.shape, generator=rng).to(parameter)
            parameter.mul_(SHRINK).add_(PERTURB * noise)


def redraw_late(model: nn.Module, rng: Generator) -> None:
    """Draw the later half of the model anew: of its stages where it has some, else of its layers,
    and all that comes after.
    """
    stages = list(numbered(model).values())
    leaves = _leaves(model)
    half = len(leaves) // 2
    if stages:
        first = _leaves(stages[len(stages) // 2])[0]
        half = next(i for i, leaf in enumerate(leaves) if leaf is first)
    _draw(leaves[half:], rng)


def redraw_all(model: nn.Module, rng: Generator) -> None:
    """Draw the whole model anew."""
    _draw(_leaves(model), rng)


def _leaves(model: nn.Module) -> list[nn.Module]:
    """The layers that can be drawn anew, in the order of definition; one that is fixed cannot."""
    layers = (m for m in model.modules() if hasattr(m, "reset_parameters"))
    return [m for m in layers if next(m.parameters(), None) is not None]


def _draw(layers: Sequence[nn.Module], rng: Generator) -> None:
    """Draw the layers on the CPU, so that every device gets the same weights."""
    seed = int(torch.randint(2**62, (), generator=rng))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for layer in layers:
            device = next(layer.parameters()).device
            layer.cpu().reset_parameters()  # type: ignore[operator]
            layer.to(device)


SCHEMES: Mapping[str, Scheme] = {
    "labels": Scheme(falling),
    "distilled": Scheme(one_cycle, distilled=True),
    "sam": Scheme(falling, sharp=always),
    "sbl": Scheme(two_tasks, first_task, sharp=first_task, elastic=True),
    "hardened": Scheme(hardening, with_repairs),
    "shrink": Scheme(one_cycle, distilled=True, begin=shrink_weights),
    "late": Scheme(one_cycle, distilled=True, begin=redraw_late),
    "reborn": Scheme(one_cycle, distilled=True, begin=redraw_all),
}


def loss_of(scheme: Scheme, given: nn.Module, stamped: int) -> Loss:
    """The mean loss over a batch whose last ``stamped`` images are poisoned: cross-entropy with
    their labels; for the others the same, or T^2 times the divergence from the given model.
    """
    if not scheme.distilled:
        return cross_entropy
    teacher = frozen(given)

    def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        clean = len(x) - stamped
        with torch.no_grad():
            wanted = F.log_softmax(teacher(x[:clean]) / TEMPERATURE, 1)
        logits = model(x)
        soft = F.log_softmax(logits[:clean] / TEMPERATURE, 1)
        apart = F.kl_div(soft, wanted, reduction="sum", log_target=True) * TEMPERATURE**2
        return (apart + F.cross_entropy(logits[clean:], y[clean:], reduction="sum")) / len(x)

    return loss
