"""Countermeasures that look at every row: rows that stand alone are left out, and each image gets a
noise of its own. They hold what they found, so a training with one is not resumed.
"""

import heapq

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.recipes._countermeasure import Countermeasure
from trials.reporting import reporter
from trials.spec import SpecError
from trials.train import frozen, to_float
from trials.types import Images

_BATCH = 256
_MOST_MEDOIDS = 0.5  # of a class's rows
_RATE, _MOMENTUM = 100.0, 0.9  # of the descent that makes friendly noise


def check_begins(recipe: str, begin: int, epochs: int) -> None:
    """Raises SpecError for a countermeasure that would begin once the training is over."""
    if begin >= epochs:
        raise SpecError(
            f"{recipe}: begin = {begin} comes after all {epochs} epochs (the first is 0), so it "
            f"would change nothing. Set begin to at most {epochs - 1}, or raise epochs."
        )


def check_medoids(share: float) -> None:
    """Raises SpecError for more medoids than half of the rows: they cannot all have company."""
    if share > _MOST_MEDOIDS:
        raise SpecError(
            f"epic: share = {share:g} makes more than half of a class's rows medoids, so some are "
            "alone in their cluster however alike they are. Set share to at most "
            f"{_MOST_MEDOIDS:g}; the paper has 0.1 to 0.3."
        )


class Epic(Countermeasure):
    """Every few epochs, rows whose gradient is unlike that of any other of their class are left out
    for good; none of a class whose rows are all such.

    Args:
        begin: epoch, counted from 0, before which rows are first left out.
        every: epochs from one such time to the next.
        share: medoids, as a share of a class's rows.
        batch: images a step.
    """

    def __init__(self, begin: int, every: int, share: float, batch: int) -> None:
        self._begin, self._every, self._share, self._batch = begin, every, share, batch
        self._left: Tensor | None = None

    def epoch(self, number: int, model: nn.Module, data: Images, rng: Generator) -> Tensor | None:
        """Raises ArithmeticError where fewer rows than a batch are left of more."""
        if number < self._begin or (number - self._begin) % self._every:
            return None
        places = torch.arange(len(data)) if self._left is None else self._left
        y = data.y[places.to(data.y.device)].cpu()
        gradients = _chances(model, data.x[places.to(data.x.device)]) - F.one_hot(y, data.logits)
        kept = torch.ones(len(places), dtype=torch.bool)
        for label in torch.unique(y).tolist():
            own = (y == label).nonzero().flatten()
            medoids = max(1, round(self._share * len(own)))
            lonely = alone(gradients[own], medoids)
            if len(lonely) < len(own):
                kept[own[lonely]] = False
        self._left = places[kept]
        if len(self._left) < self._batch <= len(data):
            raise ArithmeticError(
                f"epic left {len(self._left)} of {len(data)} rows before epoch {number}, fewer "
                f"than a batch of {self._batch}. Lower share or batch, or raise every."
            )
        return self._left


def alone(points: Tensor, medoids: int) -> Tensor:
    """int64: which points are the only one of their cluster, around medoids found greedily.

    The medoids are those of the facility location problem: each next one lowers the sum of the
    points' distances to their nearest medoid the most. Lazily: a gain only falls, so that few are
    computed anew.

    Args:
        points: float (n, d).
        medoids: how many, at most n.
    """
    distances = torch.cdist(points, points)
    nearest = torch.full((len(points),), float(distances.max()))
    gains = (nearest[:, None] - distances).clamp(min=0).sum(0).tolist()
    queue = [(-gain, j) for j, gain in enumerate(gains)]
    heapq.heapify(queue)
    found: list[int] = []
    while queue and len(found) < medoids:
        _, j = heapq.heappop(queue)
        gain = float((nearest - distances[:, j]).clamp(min=0).sum())
        if queue and gain < -queue[0][0]:
            heapq.heappush(queue, (-gain, j))
            continue
        found.append(j)
        nearest = torch.minimum(nearest, distances[:, j])
    centres = torch.tensor(found)
    own = distances[:, centres].argmin(1)
    own[centres] = torch.arange(len(found))  # a medoid is of its own cluster, equal points or not
    return centres[torch.bincount(own, minlength=len(found)) == 1]


class Friendly(Countermeasure):
    """Each image gets as much noise as leaves the model's answer to it alone, and each batch other
    random noise.

    Args:
        begin: epoch, counted from 0, before which the noise is made.
        clamp: largest noise of a value, in levels of 255.
        mu: weight of the noise's size beside that of the answer.
        steps: of the descent that makes it.
        random: size of the random noise, plus or minus, in levels of 255; 0 for none.
    """

    def __init__(self, begin: int, clamp: int, mu: float, steps: int, random: int) -> None:
        self._begin, self._clamp, self._mu, self._steps = begin, clamp, mu, steps
        self._random, self._noise = random, torch.zeros(0)

    def epoch(self, number: int, model: nn.Module, data: Images, rng: Generator) -> Tensor | None:
        if number == self._begin:
            self._noise = self._made(frozen(model), data.x, rng)
        return None

    def images(self, x: Tensor, places: Tensor, rng: Generator) -> Tensor:
        if not len(self._noise):
            return x
        out = x.short() + self._noise[places.to(self._noise.device)].to(x.device)
        if self._random:
            signs = 2 * torch.randint(2, x.shape, generator=rng, dtype=torch.int16) - 1
            out = out + self._random * signs.to(x.device)
        return out.clamp(0, 255).to(torch.uint8)

    def _made(self, model: nn.Module, x: Tensor, rng: Generator) -> Tensor:
        """int16, as ``x``: the noise of every image."""
        parts = []
        with reporter.untimed("friendly noise"):
            for start in range(0, len(x), _BATCH):
                parts.append(self._of(model, x[start : start + _BATCH], rng))
                reporter.report(min(start + _BATCH, len(x)), len(x))
        return torch.cat(parts)

    def _of(self, model: nn.Module, stored: Tensor, rng: Generator) -> Tensor:
        x = to_float(stored.to(next(model.parameters()).device))
        with torch.no_grad():
            before = model(x).log_softmax(1)
        most = self._clamp / 255
        drawn = 2 * torch.rand(x.shape, generator=rng) - 1
        noise = (most * drawn).to(x.device).requires_grad_()
        optimizer = torch.optim.SGD([noise], _RATE, _MOMENTUM)
        drops = [self._steps // 2, 3 * self._steps // 4]
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, 0.1)
        for _ in range(self._steps):
            optimizer.zero_grad(set_to_none=True)
            after = model(x + noise).log_softmax(1)
            moved = F.kl_div(after, before, reduction="none", log_target=True).sum()
            loss = moved - self._mu * noise.square().mean((1, 2, 3)).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                noise.clamp_(-most, most)
        return (255 * noise.detach()).round().to(torch.int16).to(stored.device)


@torch.no_grad()
def _chances(model: nn.Module, x: Tensor) -> Tensor:
    """float32 (n, outputs), on the CPU: the probabilities that the model in eval mode gives."""
    model.eval()
    device = next(model.parameters()).device
    parts = []
    for start in range(0, len(x), _BATCH):
        parts.append(model(to_float(x[start : start + _BATCH].to(device))).float().softmax(1).cpu())
    return torch.cat(parts)
