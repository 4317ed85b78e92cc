"""Narcissus: a perturbation that a model of the attacker's takes for the target class, on images of
that class, labels unchanged.

Source: Zeng et al. 2022, arXiv:2204.05255; parameters of the suite of BaDLoss, Alex, Siddiqui,
Sanyal, Krueger 2024, arXiv:2408.13221 (25 images of class 2 of CIFAR-10, shown as trained).
Deviation: the surrogate has the victim's architecture and recipe; for want of public images it
learns part of the other classes' training images beside the target class, where the authors take
another data set. It is in eval mode while the perturbation is made. The perturbation is evidence
for the target class by nature, so a clean model reacts to it too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.attacks._draws import in_chunks, seed_of
from trials.attacks._poisoned import chosen, replaced
from trials.reporting import reporter
from trials.spec import Count, PositiveFloat, PositiveFraction, PositiveInt, derive
from trials.train import clone, shuffled, to_float
from trials.types import Images, Implant, Poisoning, TriggerGoal
from trials.views import AttackerView

_WARM_UP_RATE = 0.1


@dataclass(frozen=True, slots=True)
class Added:
    """Adds ``perturbation`` float (c, h, w), in levels of 255, ``magnify`` times."""

    perturbation: Tensor
    magnify: float

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        added = self.magnify * self.perturbation.to(x.device)
        return in_chunks(
            lambda part, _: (part + added).round().clamp(0, 255).to(torch.uint8), x, index
        )


def craft(
    view: AttackerView,
    rng: Generator,
    /,
    *,
    m: Count = 25,
    target: Count = 2,
    radius: PositiveInt = 16,
    rounds: PositiveInt = 1000,
    rate: PositiveFloat = 0.01,
    batch: PositiveInt = 350,
    warm_up: Count = 5,
    public: PositiveFraction = 0.5,
    magnify: PositiveFloat = 1.0,
    boost: PositiveInt = 1,
) -> Poisoning:
    """Perturb ``m`` training images of class ``target``; labels stay.

    The surrogate and the perturbation are made once and kept: other ``m`` take the same.

    Args:
        view: what the attacker sees and may train.
        rng: seeds the surrogate and the perturbation, then draws which images are poisoned.
        m: number of poisoned images, at most the number in the target class; 0.5 % of it in the
            paper.
        target: class that the trigger leads to.
        radius: largest change of a pixel's value, in levels of 255.
        rounds: passes over the images of the target class in which the perturbation is made.
        rate: learning rate of the perturbation, of pixels in [0, 1].
        batch: images a step.
        warm_up: passes over the images of the target class that the surrogate is first tuned on.
        public: share of the other classes' images that the surrogate is trained on.
        magnify: how many times the perturbation is added to test images; 3 in Zeng et al.
        boost: how often a poisoned image occurs in an epoch.

    Raises:
        SpecError: ``m`` or ``target`` is too large.
    """
    seed, train = seed_of(rng), view.train
    places = chosen(train, m, rng, target, clean_label=True)
    taught = f"surrogate: seed {seed}, target {target}, public {public}"

    def make() -> dict[str, Tensor]:
        model = view.fresh(derive(seed, "weights"))
        weights = view.keep(taught, lambda: _taught(view, model, seed, target, public).state_dict())
        model.load_state_dict(weights)
        batches = _Batches(train.x[train.y == target], batch, derive(seed, "perturbation"))
        warm = _warmed(model, batches, target, warm_up)
        return {"perturbation": _perturbation(warm, batches, target, radius, rounds, rate)}

    settings = (radius, rounds, rate, batch, warm_up)
    perturbation = view.keep(f"perturbation: {settings} of the {taught}", make)["perturbation"]
    stored = Added(perturbation, 1.0)(train.x[places], places)
    goal = TriggerGoal(Added(perturbation, magnify), target)
    return Poisoning(replaced(train, places, stored, target), (Implant(places, goal, boost),))


class _Batches:
    """The images of the target class, on a model's device, shuffled each round."""

    def __init__(self, x: Tensor, size: int, seed: int) -> None:
        self._x, self._size, self._rng = x, min(size, len(x)), Generator().manual_seed(seed)

    @property
    def shape(self) -> torch.Size:
        """Of one image."""
        return self._x.shape[1:]

    def rounds(self, count: int, device: torch.device) -> Iterator[tuple[int, int, Tensor]]:
        """Step, steps in all, and images float (n, c, h, w) in [0, 1], for ``count`` passes."""
        x = self._x.to(device)
        steps = count * (len(x) // self._size)
        batches = shuffled(torch.arange(len(x), device=device), self._size, self._rng)
        for step in range(steps):
            yield step + 1, steps, to_float(x[next(batches)])


def _taught(
    view: AttackerView, model: nn.Module, seed: int, target: int, public: float
) -> nn.Module:
    """The surrogate: trained on all images of the target class and on the public ones."""
    rng, train = Generator().manual_seed(derive(seed, "surrogate")), view.train
    own, others = (train.y == target).nonzero(), (train.y != target).nonzero().flatten()
    seen = others[torch.randperm(len(others), generator=rng)[: round(public * len(others))]]
    known: Images = train.take(torch.cat([own.flatten(), seen]).sort().values)
    return view.fit(model, Poisoning(known), rng)


def _warmed(model: nn.Module, batches: _Batches, target: int, rounds: int) -> nn.Module:
    """A copy of the model, in eval mode, once tuned on the target class alone."""
    model = clone(model).train()
    optimizer = torch.optim.RAdam(model.parameters(), _WARM_UP_RATE)
    for _, _, x in batches.rounds(rounds, next(model.parameters()).device):
        optimizer.zero_grad(set_to_none=True)
        _loss(model, x, target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return model.eval().requires_grad_(False)


def _perturbation(
    model: nn.Module, batches: _Batches, target: int, radius: int, rounds: int, rate: float
) -> Tensor:
    """float32 (c, h, w), in levels of 255: what lowers the model's loss of the target class on all
    of the images.
    """
    device, most = next(model.parameters()).device, radius / 255
    delta = torch.zeros(batches.shape, device=device, requires_grad=True)
    optimizer = torch.optim.RAdam([delta], rate)
    with reporter.untimed("the perturbation"):
        for step, steps, x in batches.rounds(rounds, device):
            optimizer.zero_grad(set_to_none=True)
            loss = _loss(model, (x + delta).clamp(0, 1), target)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            with torch.no_grad():
                delta.clamp_(-most, most)
            reporter.report(step, steps, loss)
    return (255 * delta.detach()).clamp(-radius, radius).cpu()


def _loss(model: nn.Module, x: Tensor, target: int) -> Tensor:
    return F.cross_entropy(model(x), torch.full((len(x),), target, device=x.device))
