"""Confusion training: rows that a model still gets right once it was trained on wrong labels.

Source: Qi, Xie, Wang, Wu, Mahloujifar, Mittal 2023, 'Towards A Proactive ML Approach for Detecting
Backdoor Poison Samples', arXiv:2205.13616: six rounds of a training on the rows that were most
likely poisoned so far, and one on trusted images with labels that are wrong in turn; what the last
model gets right is suspect, in classes whose latents are likelier as two groups than as one. Rates,
weights and shares of the rounds are those of the authors' configuration for CIFAR-10.
Deviation: a round begins with new weights of the victim's architecture. Where several classes are
likelier as two groups, all of them are cleaned; where none is by a factor of two, the likeliest, by
one and a half. A class of which fewer than three rows are suspect is none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.filters._passes import finite, losses_of, seen_by_trained
from trials.filters._tracking import drawn_seed
from trials.metrics import predictions
from trials.reporting import reporter
from trials.spec import PositiveFloat, PositiveInt, SpecError
from trials.train import stream, to_float
from trials.types import Images
from trials.views import DataView, SampleScores

NEEDS = frozenset({"head"})
REJECTS = True
REJECTS_BY = frozenset({"ratio"})
_LEAST_OF_CLASS = 0.02  # of each class's rows that stay among the most suspicious
_LONE = 1.5  # likelihood ratio at which the likeliest class alone is cleaned
_FEWEST = 3  # rows of which a covariance is taken
_RIDGE = 1e-6  # of the variance, added to a covariance
_PRETRAINING = (0.01, 0.9, 1e-4)  # rate, momentum, weight decay
_MOMENTUM = 0.7  # of the training on wrong labels


@dataclass(frozen=True, slots=True)
class Round:
    """One round.

    Attributes:
        pretraining: its epochs, as a share of the first round's.
        confusing: its steps on wrong labels, as a share of the first round's.
        lr: rate of these.
        weight: how much a wrong label counts beside a row.
        kept: share of the rows that are the most suspicious after it.
    """

    pretraining: float
    confusing: float
    lr: float
    weight: float
    kept: float


ROUNDS = (
    Round(1.0, 1.0, 0.001, 20, 1 / 2),
    Round(1.0, 1.0, 0.001, 20, 1 / 5),
    Round(0.4, 1.0, 0.001, 20, 1 / 25),
    Round(0.4, 1.0, 0.01, 30, 1 / 50),
    Round(0.4, 1 / 3, 0.01, 30, 1 / 100),
    Round(0.4, 1 / 3, 0.01, 15, 1 / 100),
)


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    rounds: PositiveInt = 6,
    epochs: PositiveInt = 100,
    steps: PositiveInt = 6000,
    batch: PositiveInt = 64,
    confused: PositiveInt = 32,
    ratio: PositiveFloat = 2.0,
) -> SampleScores:
    """The negative of each row's loss after the last round.

    Args:
        view: the rows, and the trusted images that are given wrong labels.
        rng: draws weights and batches.
        rounds: how many of the six are run, from the first on.
        epochs: of the first round's training on the rows; later rounds have their part of it.
        steps: on wrong labels, of the first round.
        batch: rows a step of the training on them.
        confused: trusted images with wrong labels a step, and rows beside them every second step.
        ratio: its own rule suspects what the last model gets right of classes that are so many
            times likelier, a row, as two groups.
    """
    check(view, rounds=rounds)

    def make() -> dict[str, Tensor]:
        chosen = torch.arange(len(view.train))
        trained = predictions(view.trained(), view.trusted.x)
        for number, plan in enumerate(ROUNDS[:rounds]):
            model = view.fresh(drawn_seed(rng))
            rows = view.train.take(chosen.to(view.train.y.device))
            with reporter.untimed(f"round {number + 1} of {rounds}"):
                _pretrain(model, rows, rng, round(plan.pretraining * epochs), batch)
                many = max(1, round(plan.confusing * steps))
                _confuse(model, rows, view.trusted, trained, rng, many, confused, plan)
            losses = losses_of(model, view.train)
            chosen = most_suspicious(losses, view.train.y.cpu(), plan.kept)
        right = predictions(model, view.train.x).cpu() == view.train.y.cpu()
        return {"losses": losses, "right": right}

    training = f"rounds={rounds} epochs={epochs} steps={steps} batch={batch} confused={confused}"
    found = view.keep(f"confusion_training: losses, {training}", make)
    right, labels = found["right"], view.train.y.cpu()
    latents = seen_by_trained(view).latents
    ratios = {
        k: likelihood_ratio(latents[labels == k], right[labels == k])
        for k in torch.unique(labels).tolist()
    }
    cleaned = above(ratios, ratio)
    mine = torch.isin(labels, torch.tensor(cleaned, dtype=torch.int64))
    return SampleScores(-found["losses"], right & mine, {"cleaned_classes": float(len(cleaned))})


def check(view: DataView, /, *, rounds: int, **_: object) -> None:
    """Raises SpecError for more rounds than are known."""
    if rounds > len(ROUNDS):
        raise SpecError(f"confusion_training: rounds must lie in [1, {len(ROUNDS)}], got {rounds}.")


def above(ratios: Mapping[int, float], ratio: float) -> list[int]:
    """The classes that are cleaned: those above ``ratio``, and the likeliest from 1.5 on."""
    likeliest = max(ratios, key=lambda k: ratios[k])
    lone = min(_LONE, ratio)
    return [k for k, r in ratios.items() if r > (lone if k == likeliest else ratio)]


def most_suspicious(losses: Tensor, labels: Tensor, share: float) -> Tensor:
    """int64: the places of this share of the rows with the lowest losses, and of at least 2 % of
    each class.
    """
    chosen = torch.zeros(len(losses), dtype=torch.bool)
    chosen[losses.argsort(stable=True)[: max(1, int(share * len(losses)))]] = True
    for label in torch.unique(labels).tolist():
        mine = (labels == label).nonzero().flatten()
        least = max(1, int(_LEAST_OF_CLASS * len(mine)))
        chosen[mine[losses[mine].argsort(stable=True)[:least]]] = True
    return chosen.nonzero().flatten()


def likelihood_ratio(latents: Tensor, group: Tensor) -> float:
    """How many times likelier a row is with a normal distribution for each of the two groups than
    with one for all, in the plane of the class's two top directions; 1 where a group is too small.

    Args:
        latents: (n, d), of a class.
        group: bool (n,), of which the others are the second.
    """
    if int(group.sum()) < _FEWEST or int((~group).sum()) < _FEWEST:
        return 1.0
    centred = latents.double() - latents.double().mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    points = centred @ directions[:2].T
    both = _log_likelihood(points[group]) + _log_likelihood(points[~group])
    return float(torch.tensor((both - _log_likelihood(points)) / len(points)).exp())


def _log_likelihood(points: Tensor) -> float:
    """Of points (n, 2) under the normal distribution that fits them best."""
    covariance = points.T.cov(correction=0)
    ridge = _RIDGE * float(covariance.trace()) + 1e-12
    covariance = covariance + ridge * torch.eye(2, dtype=points.dtype)
    fitted = torch.distributions.MultivariateNormal(points.mean(0), covariance)
    return float(fitted.log_prob(points).sum())  # type: ignore[no-untyped-call]


def _pretrain(model: nn.Module, rows: Images, rng: Generator, epochs: int, batch: int) -> None:
    lr, momentum, weight_decay = _PRETRAINING
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum, weight_decay=weight_decay)
    steps = max(1, epochs) * max(1, len(rows) // batch)
    batches = stream(rows, batch, rng)
    model.train()
    for step in range(steps):
        x, y = next(batches)
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        reporter.report(step + 1, steps, loss)


def _confuse(
    model: nn.Module,
    rows: Images,
    trusted: Images,
    trained: Tensor,
    rng: Generator,
    steps: int,
    batch: int,
    plan: Round,
) -> None:
    """Train on wrong labels, and every second step on rows beside them."""
    optimizer = torch.optim.SGD(model.parameters(), plan.lr, _MOMENTUM)
    wrong, beside = _wrong(trusted, trained, batch, rng), stream(rows, batch, rng)
    sizes = torch.bincount(rows.y, minlength=rows.classes).clamp_min(1).float()
    by_class = (sizes / len(rows)).rsqrt()
    model.train()
    for step in range(steps):
        x, y = next(wrong)
        optimizer.zero_grad(set_to_none=True)
        if step % 2:
            clean, labels = next(beside)
            logits = model(torch.cat([x, clean]))
            confusion = F.cross_entropy(logits[: len(x)], y)
            known = F.cross_entropy(logits[len(x) :], labels, by_class)
            loss = ((plan.weight - 1) * confusion + known) / plan.weight
        else:
            loss = F.cross_entropy(model(x), y)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        reporter.report(step + 1, steps, loss)
    finite(loss.detach())


def _wrong(
    trusted: Images, trained: Tensor, batch: int, rng: Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of trusted images for ever, each with a label that lies further, each time by one
    more, from what the trained model says, and never is the right one.
    """
    turn = 0
    while True:
        order = torch.randperm(len(trusted), generator=rng).to(trusted.y.device)
        least = min(
            2, batch, len(order)
        )  # a rest of one is left out: batch normalisation needs two
        for index in order.split(batch):  # type: ignore[no-untyped-call]
            if len(index) < least:
                continue
            turn = turn + 1 if (turn + 1) % trusted.classes else 1
            y = (trained[index] + turn) % trusted.classes
            right = y == trusted.y[index]
            yield to_float(trusted.x[index]), torch.where(right, (y + 1) % trusted.classes, y)
