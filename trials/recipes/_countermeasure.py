"""What a recipe does besides plain training, so that poison in its data does less: other losses and
gradients, noise on the images, rows left out.
"""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from trials.train import shuffled
from trials.types import Images


class Countermeasure:
    """Plain training: what the loop asks at each step, to be overridden. All draws come from the
    loop's generator, so that a training goes on from a checkpoint as if nothing had been.

    Attributes:
        diverges_by: settings of the recipe that may make the training diverge if they are large.
    """

    diverges_by = "learning rate"

    def epoch(self, number: int, model: nn.Module, data: Images, rng: Generator) -> Tensor | None:
        """Before an epoch, counted from 0: int64 places of the rows that it may use, None for all.

        The model may be measured, and is put into train mode afterwards.
        """
        return None

    def batches(self, index: Tensor, size: int, rng: Generator) -> Iterator[Tensor]:
        """Batches of the rows ``index`` for ever."""
        return shuffled(index, size, rng)

    def images(self, x: Tensor, places: Tensor, rng: Generator) -> Tensor:
        """Stored images, uint8, before they are augmented; ``places`` are theirs in the data."""
        return x

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, rng: Generator) -> Tensor:
        """The training loss of a batch, a scalar."""
        return F.cross_entropy(model(x), y)

    def gradient(self, model: nn.Module, rng: Generator) -> None:
        """Change the gradients in place, before the step."""


class Shaping(Countermeasure):
    """The gradient of a batch is clipped to a norm, and noise is added to it.

    Args:
        clip: largest norm over all parameters.
        noise: standard deviation of the noise on each coordinate.
    """

    diverges_by = "noise or learning rate"

    def __init__(self, clip: float, noise: float) -> None:
        self._clip, self._noise = clip, noise

    @torch.no_grad()
    def gradient(self, model: nn.Module, rng: Generator) -> None:
        nn.utils.clip_grad_norm_(model.parameters(), self._clip)
        if not self._noise:
            return
        for parameter in model.parameters():
            if parameter.grad is not None:
                drawn = torch.randn(parameter.shape, generator=rng)
                parameter.grad.add_(drawn.to(parameter.grad.device), alpha=self._noise)


class Adversarial(Countermeasure):
    """The model is trained on images that were moved against it.

    Args:
        epsilon: largest change of a value, in levels of 255.
        steps: gradient steps.
        step: change of a value in one step, in levels of 255.
    """

    def __init__(self, epsilon: int, steps: int, step: float) -> None:
        self._epsilon, self._steps, self._step = epsilon / 255, steps, step / 255

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, rng: Generator) -> Tensor:
        return F.cross_entropy(model(self._moved(model, x, y, rng)), y)

    def _moved(self, model: nn.Module, x: Tensor, y: Tensor, rng: Generator) -> Tensor:
        """The batch moved; batch normalisation sees it in eval mode meanwhile."""
        model.eval()
        drawn = torch.rand(x.shape, generator=rng).to(x.device)
        moved = (x + self._epsilon * (2 * drawn - 1)).clamp(0, 1)
        for _ in range(self._steps):
            moved.requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(model(moved), y), moved)
            with torch.no_grad():
                moved = moved + self._step * slope.sign()
                moved = torch.minimum(torch.maximum(moved, x - self._epsilon), x + self._epsilon)
                moved = moved.clamp(0, 1)
        model.train()
        return moved.detach()


class Mixing(Countermeasure):
    """Stronger augmentation of a batch.

    Args:
        kind: ``mixup`` (each image and label mixed with another's), ``cutmix`` (a rectangle of
            another image pasted in, the label mixed by its area), ``cutout`` (a black square) or
            ``maxup`` (of several cutouts of an image, the one of the largest loss).
        strength: alpha of the Beta distribution of mixup and cutmix; the square's side, as a share
            of the image's, of cutout and maxup.
    """

    def __init__(self, kind: str, strength: float) -> None:
        self._kind, self._strength = kind, strength

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, rng: Generator) -> Tensor:
        if self._kind == "cutout":
            return F.cross_entropy(model(self._cut(x, rng)), y)
        if self._kind == "maxup":
            tried = [F.cross_entropy(model(self._cut(x, rng)), y, reduction="none") for _ in _TRIES]
            return torch.stack(tried).amax(0).mean()
        other = torch.randperm(len(x), generator=rng).to(x.device)
        share = self._share(rng)
        if self._kind == "mixup":
            mixed = share * x + (1 - share) * x[other]
        else:
            mixed, share = self._pasted(x, x[other], share, rng)
        logits = model(mixed)
        return share * F.cross_entropy(logits, y) + (1 - share) * F.cross_entropy(logits, y[other])

    def _share(self, rng: Generator) -> float:
        """A draw of the Beta distribution, from two of a gamma's by the loop's generator."""
        seed = int(torch.randint(2**31, (), generator=rng))
        return float(np.random.default_rng(seed).beta(self._strength, self._strength))

    def _pasted(
        self, x: Tensor, other: Tensor, share: float, rng: Generator
    ) -> tuple[Tensor, float]:
        height, width = x.shape[-2:]
        side = (1 - share) ** 0.5
        rows, columns = round(side * height), round(side * width)
        top = int(torch.randint(height - rows + 1, (), generator=rng))
        left = int(torch.randint(width - columns + 1, (), generator=rng))
        mixed = x.clone()
        mixed[:, :, top : top + rows, left : left + columns] = other[
            :, :, top : top + rows, left : left + columns
        ]
        return mixed, 1 - rows * columns / (height * width)

    def _cut(self, x: Tensor, rng: Generator) -> Tensor:
        """Each image with a black square around a pixel of its own draw."""
        height, width = x.shape[-2:]
        half = self._strength / 2
        centre = torch.rand(2, len(x), 1, generator=rng).to(x.device)
        rows = (torch.arange(height, device=x.device) + 0.5) / height
        columns = (torch.arange(width, device=x.device) + 0.5) / width
        hidden = ((rows - centre[0]).abs() <= half)[:, :, None]
        hidden = hidden & ((columns - centre[1]).abs() <= half)[:, None, :]
        return x * ~hidden[:, None]


_TRIES = range(4)  # cutouts of maxup
