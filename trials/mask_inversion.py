"""A mask and a pattern for each class, the mask made small by a weight that follows the success
rate.

Source: Wang et al. 2019, 'Neural Cleanse', IEEE S&P, and the authors' code for the weight's
schedule.
Deviation: all classes at once, for a fixed number of steps; those who invert a class by itself stop
it early.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.inversion import batch_at, chunks, draw
from trials.reporting import reporter
from trials.train import frozen
from trials.types import Images

MOST = 1e6  # the anomaly index where all other classes' norms are equal
_INSIDE = 1 - 1e-7  # keeps a first value off the ends of tanh, where it would stay


@dataclass(slots=True)
class Weights:
    """The norm's weight of each class: 0 until the first ``patience`` good rounds in a row, then
    ``first``.

    From there on it doubles after as many good rounds in a row and is divided by 2^1.5 after as
    many bad ones.
    """

    value: Tensor
    first: float
    patience: int
    good: Tensor = field(init=False)
    bad: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.good = torch.zeros_like(self.value, dtype=torch.int64)
        self.bad = self.good.clone()

    def look(self, reached: Tensor) -> None:
        """Take note of a round in which the classes ``reached`` (bool) were good."""
        self.good = torch.where(reached, self.good + 1, 0)
        self.bad = torch.where(reached, 0, self.bad + 1)
        up, down = self.good >= self.patience, self.bad >= self.patience
        raised = torch.where(self.value == 0, self.first, self.value * 2)
        self.value = torch.where(up, raised, torch.where(down, self.value / 2**1.5, self.value))
        self.good, self.bad = self.good.masked_fill(up, 0), self.bad.masked_fill(down, 0)


@dataclass(slots=True)
class BestMasks:
    """Each class's smallest mask of a good round; until there is one, its last.

    Attributes:
        masks: (k, 1, h, w).
        patterns: (k, c, h, w).
        rates: (k,), success rate in the round that the mask is of.
        reached: bool (k,), whether there was a good round.
    """

    masks: Tensor
    patterns: Tensor
    rates: Tensor
    reached: Tensor

    def offer(self, masks: Tensor, patterns: Tensor, rates: Tensor, good: Tensor) -> None:
        smaller = masks.sum((1, 2, 3)) < self.masks.sum((1, 2, 3))
        take = ~self.reached | (good & smaller)
        self.reached = self.reached | good
        self.rates = torch.where(take, rates, self.rates)
        self.masks = torch.where(take[:, None, None, None], masks, self.masks)
        self.patterns = torch.where(take[:, None, None, None], patterns, self.patterns)


def invert_masks(
    model: nn.Module,
    images: Images,
    rng: Generator,
    *,
    steps: int,
    lr: float,
    batch: int,
    first_weight: float,
    threshold: float,
    patience: int,
    round_steps: int,
) -> BestMasks:
    """Masks and patterns in [0, 1] of all classes, to be stamped as (1 - mask) * x + mask *
    pattern.

    Args:
        model: the model to invert; left alone.
        images: clean images, on the model's device; those of a class are not used for its own
            trigger.
        rng: seeds one generator a class, so that no class's mask depends on the others.
        steps: Adam steps (betas 0.5, 0.9).
        lr: learning rate, before tanh.
        batch: images a step and class, drawn with replacement.
        first_weight: first weight of the mask's L1 norm that is not 0.
        threshold: success rate that makes a round good.
        patience: rounds in a row that change the weight.
        round_steps: steps of a round; its success rate is that of all its batches.

    Raises:
        SpecError: a class has no images of other classes.
    """
    like, model = next(model.parameters()), frozen(model)
    parts = []
    together = list(chunks(images, rng, like.device, batch))
    for number, (labels, seeds) in enumerate(together):
        raw, draws = _start(images, labels.tolist(), seeds, steps, batch)
        raw = raw.to(like.device, like.dtype).requires_grad_(True)
        adam = torch.optim.Adam([raw], lr=lr, betas=(0.5, 0.9))
        zeros, wanted = raw.new_zeros(len(labels)), labels.repeat_interleave(batch)
        weights = Weights(zeros, first_weight, patience)
        kept = BestMasks(raw[:, :1].detach(), raw[:, 1:].detach(), zeros, zeros.bool())
        hits, seen = zeros, 0
        for step in range(1, steps + 1):
            inside = raw.tanh() * 0.5 + 0.5
            masks, patterns = inside[:, :1], inside[:, 1:]
            x, _ = batch_at(images, draws[:, step - 1], like)
            stamped = torch.lerp(
                x, patterns.repeat_interleave(batch, 0), masks.repeat_interleave(batch, 0)
            )
            logits = model(stamped)
            loss = F.cross_entropy(logits, wanted, reduction="sum") / batch
            (raw.grad,) = torch.autograd.grad(
                loss + (weights.value * masks.sum((1, 2, 3))).sum(), [raw]
            )
            adam.step()
            hits, seen = hits + (logits.argmax(1) == wanted).view(-1, batch).sum(1), seen + batch
            if step % round_steps == 0 or step == steps:
                good = hits / seen >= threshold
                kept.offer(masks.detach(), patterns.detach(), hits / seen, good)
                weights.look(good)
                hits, seen = zeros, 0
            done = number * steps + step
            reporter.report(done, len(together) * steps, loss, len(labels))
        parts.append(kept)
    return _joined(parts)


def _start(
    images: Images, labels: list[int], seeds: list[int], steps: int, batch: int
) -> tuple[Tensor, Tensor]:
    """First masks and patterns (labels, 1 + c, h, w) before tanh, even after it, and the places of
    each step.
    """
    raw, draws, (c, h, w) = [], [], images.x.shape[1:]
    for label in labels:
        own = Generator().manual_seed(seeds[label])
        even = torch.rand(1 + c, h, w, generator=own, dtype=torch.float64) * 2 - 1
        raw.append((even * _INSIDE).atanh())
        draws.append(draw(images, label, steps, batch, own))
    return torch.stack(raw), torch.stack(draws)


def _joined(parts: list[BestMasks]) -> BestMasks:
    """The chunks' classes as one."""
    return BestMasks(
        torch.cat([p.masks for p in parts]),
        torch.cat([p.patterns for p in parts]),
        torch.cat([p.rates for p in parts]),
        torch.cat([p.reached for p in parts]),
    )


def anomaly(norms: Tensor) -> Tensor:
    """(median - norm) / (1.4826 * median absolute deviation) of each class, in float64, at most
    ``MOST`` either way.

    0 for a norm that equals the median, whatever the deviation. For an even number of classes, the
    median is the mean of the two in the middle.
    """
    norms = norms.double()
    below = norms.quantile(0.5) - norms
    spread = 1.4826 * below.abs().quantile(0.5)
    return torch.where(below == 0, 0, below / spread).clamp(-MOST, MOST)
