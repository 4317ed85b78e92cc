"""The schedule of ``fast``, for the recipes that are it and one thing besides."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Generator, nn

from trials.recipes._countermeasure import Countermeasure
from trials.recipes._loop import train
from trials.storage.checkpoint import Checkpointer
from trials.types import Poisoning

_WARM_UP = 0.2  # share of the epochs in which the learning rate rises


@dataclass(frozen=True, slots=True)
class Fast:
    """The settings of ``fast``; see there."""

    epochs: int
    peak: float
    weight_decay: float
    batch: int
    precision: str

    def fit(
        self,
        model: nn.Module,
        poisoning: Poisoning,
        rng: Generator,
        checkpointer: Checkpointer | None,
        counter: Countermeasure | None = None,
    ) -> Iterator[tuple[int, int, float]]:
        """Train ``model`` in place; yield (steps done, steps in all, mean loss) after each epoch.

        Args:
            model: trained in place.
            poisoning: what it is trained on.
            rng: shuffles and augments.
            checkpointer: keeps checkpoints and has the last one.
            counter: what is done against poison.
        """
        weights = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        groups = [
            {"params": weights, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer = torch.optim.SGD(groups, self.peak, momentum=0.9, nesterov=True, foreach=True)
        return train(
            model,
            poisoning,
            rng,
            optimizer,
            self._rate,
            checkpointer,
            epochs=self.epochs,
            batch=self.batch,
            precision=self.precision,
            counter=counter or Countermeasure(),
        )

    def _rate(self, epoch: float) -> float:
        done = epoch / self.epochs
        return self.peak * max(min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP)), 0.01)
