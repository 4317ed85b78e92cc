"""CBD: rows that a model learns in a few epochs, beside one that is kept from learning the same.

Source: Zhang, Liu, Yu, Zhang 2023, arXiv:2303.06818 (Deconfounded Representation Learning): a model
of five epochs, which has learned the backdoor; and one of which each row counts by the first one's
loss as a share of both losses, and whose latents a critic must not be able to match with the first
one's.
Deviation: the authors keep the second model as the answer. Here it scores: the second loss's share
of both, one minus the weight with which a row was trained on. The critic is one bilinear layer of
spectral norm 1, of latents of length 1.
"""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.classifier import with_latents
from trials.filters._passes import finite, losses_of
from trials.filters._tracking import drawn_seed, tracked, with_trusted
from trials.reporting import reporter
from trials.spec import NonNegativeFloat, PositiveFloat, PositiveInt
from trials.train import make_optimizer, stream
from trials.types import Images
from trials.views import DataView, SampleScores

NEEDS = frozenset({"head"})
_DROPS = (0.2, 0.7)  # parts of the second training after which its rate falls to a tenth
_CRITIC_LR = 0.2


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    early: PositiveInt = 5,
    epochs: PositiveInt = 100,
    critic: NonNegativeFloat = 0.01,
    lr: PositiveFloat = 0.1,
    weight_decay: NonNegativeFloat = 1e-4,
    batch: PositiveInt = 64,
) -> SampleScores:
    """The second model's loss as a share of both.

    Args:
        view: the rows; the trusted images are trained on with them.
        rng: draws the models' weights and their batches.
        early: epochs of the first model.
        epochs: of the second.
        critic: weight of what the critic gains in the second model's loss.
        lr: learning rate of SGD, which the second training lowers to a tenth after a fifth of the
            way and again after seven tenths.
        weight_decay: of SGD.
        batch: images a step.
    """

    def make() -> dict[str, Tensor]:
        images = with_trusted(view.train, view.trusted)
        first, second = view.fresh(drawn_seed(rng)), view.fresh(drawn_seed(rng))
        before = tracked(
            first,
            make_optimizer(first, "sgd", lr, weight_decay),
            images,
            rng,
            F.cross_entropy,
            epochs=early,
            batch=batch,
            augmented=True,
            seen="at_end",
        )
        optimizer = make_optimizer(second, "sgd", lr, weight_decay)
        _train_apart(second, first.eval(), optimizer, images, rng, epochs, batch, critic)
        return {"early": before[:, 0], "second": losses_of(second, images)}

    training = f"early={early} epochs={epochs} critic={critic:g} lr={lr:g}"
    name = f"cbd: losses, {training} weight_decay={weight_decay:g} batch={batch}"
    found, rows = view.keep(name, make), len(view.train)
    return SampleScores(1 - weights(found["early"], found["second"])[:rows])


def weights(early: Tensor, second: Tensor) -> Tensor:
    """The first loss as a share of both, in [0, 1]; a half where both are 0."""
    return (early + 1e-8) / (early + second + 2e-8)


def _train_apart(
    model: nn.Module,
    first: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Images,
    rng: Generator,
    epochs: int,
    batch: int,
    critic: float,
) -> None:
    """Train the second model; the first is left alone."""
    steps = epochs * max(1, len(images) // batch)
    batches, judge = stream(images, batch, rng), None
    drops = [round(part * steps) for part in _DROPS]
    pace = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, 0.1)
    for step in range(steps):
        x, y = next(batches)
        with torch.no_grad():
            known, logits = with_latents(first, x)
            early = F.cross_entropy(logits, y, reduction="none")
        model.train()
        latents, logits = with_latents(model, x)
        each = F.cross_entropy(logits, y, reduction="none")
        share = weights(early, each.detach())
        judge = judge or _Critic(known.shape[1], rng, known.device)
        judge.learn(latents.detach(), known)
        loss = (share / share.mean() * each).mean() + critic * judge(latents, known)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        pace.step()
        reporter.report(step + 1, steps, loss)
    finite(logits.detach())


class _Critic:
    """Tells latents of two models of the same images from those of different ones; what it gains is
    a bound of what they have in common.
    """

    def __init__(self, width: int, rng: Generator, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(drawn_seed(rng))
            layer = nn.Linear(width, width, bias=False)
            self._layer = nn.utils.parametrizations.spectral_norm(layer).to(device)
        self._optimizer = torch.optim.Adam(self._layer.parameters(), _CRITIC_LR)

    def __call__(self, latents: Tensor, known: Tensor) -> Tensor:
        """A scalar: the mean over the same images less that over different ones."""
        matched = self._layer(_unit(latents)) * _unit(known)
        others = self._layer(_unit(latents)) * _unit(known).roll(1, 0)
        gain: Tensor = matched.sum(1).mean() - others.sum(1).mean()
        return gain

    def learn(self, latents: Tensor, known: Tensor) -> None:
        """One step towards a larger gain."""
        self._optimizer.zero_grad(set_to_none=True)
        (-self(latents, known)).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


def _unit(latents: Tensor) -> Tensor:
    return F.normalize(latents, dim=1)
