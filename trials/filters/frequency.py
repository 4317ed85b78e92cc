"""Frequency detector: a small network that tells images with something put into them from clean
ones by their cosine transform.

Source: Zeng, Park, Mao, Jia 2021, arXiv:2104.03413 (A Frequency Perspective): six convolutions with
ELU on the cosine transform of each channel, trained for ten epochs of Adadelta on clean images and
corrupted copies of them.
Deviation: BaDLoss's corruption, patches of 2 to 7 pixels near a corner, comes first; the paper's
others are a setting, each drawn anew in every epoch. Each frequency is centred and scaled by the
clean images' mean and deviation. Neither the labels nor the victim's model are looked at.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import dct
from torch import Generator, Tensor, nn

from trials.filters._passes import batches, logits_of
from trials.filters._tracking import drawn_seed
from trials.reporting import reporter
from trials.spec import PositiveFloat, PositiveFraction, PositiveInt, SpecError
from trials.train import to_float
from trials.types import Images
from trials.views import DataView, SampleScores

REJECTS = True
REJECTS_BY = frozenset({"probability"})
_WIDTHS, _DROPOUT = (32, 64, 128), (0.2, 0.3, 0.4)  # two convolutions each; after each two
_SIDES = (2, 7)  # pixels of a patch
_NEAR = 0.25  # of the side: as far from a corner as a patch may begin
_LEAST_SIDE = 8  # pixels, halved three times
_FLAT = 1e-2  # the least deviation of a frequency


def score(
    view: DataView,
    rng: Generator,
    /,
    *,
    corruptions: Literal["patches", "all"] = "patches",
    epochs: PositiveInt = 10,
    copies: PositiveInt = 1,
    lr: PositiveFloat = 0.05,
    batch: PositiveInt = 64,
    probability: PositiveFraction = 0.5,
) -> SampleScores:
    """The logit of the probability that something was put into the image.

    Args:
        view: the rows, and the trusted images that the network is trained on.
        rng: draws its weights, batches and corruptions.
        corruptions: patches near a corner, white or of noise; or also noise over the image, a
            shadow of a part of it, and another image blended in.
        epochs: of the training.
        copies: corrupted copies of each trusted image in an epoch; it stands there as often.
        lr: learning rate of Adadelta.
        batch: images a step, half of them corrupted.
        probability: above which its own rule suspects a row.
    """

    def make() -> dict[str, Tensor]:
        seed, device = drawn_seed(rng), view.train.x.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            network = _network(view.trusted).to(device).to(memory_format=torch.channels_last)
            optimizer = torch.optim.Adadelta(network.parameters(), lr)
            size, every = max(1, batch // 2), epochs * copies
            steps = every * max(1, -(-len(view.trusted) // size))
            pairs = _pairs(view.trusted, size, corruptions, rng)
            for step in range(steps):
                x = next(pairs)
                y = torch.zeros(len(x), dtype=torch.int64, device=x.device)
                y[len(x) // 2 :] = 1
                optimizer.zero_grad(set_to_none=True)
                loss = F.cross_entropy(network.train()(to_float(x)), y)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                reporter.report(step + 1, steps, loss)
        logits = logits_of(network, view.train.x)
        return {"logits": logits[:, 1] - logits[:, 0]}

    training = f"corruptions={corruptions} epochs={epochs} copies={copies} lr={lr:g} batch={batch}"
    found = view.keep(f"frequency: logits, {training}", make)["logits"]
    return SampleScores(found, found.sigmoid() > probability)


def check(view: DataView, /, **_: object) -> None:
    """Raises SpecError for images that the network's three poolings leave nothing of."""
    high, wide = view.train.x.shape[2:]
    if min(high, wide) < _LEAST_SIDE:
        raise SpecError(
            f"frequency needs images of {_LEAST_SIDE} x {_LEAST_SIDE} pixels or more; these are of "
            f"{high} x {wide}."
        )


class Spectrum(nn.Module):
    """The orthonormal cosine transform of each channel, each frequency centred and scaled as on
    these images, uint8 (n, c, h, w).
    """

    high: Tensor
    wide: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        for name, side in zip(("high", "wide"), images.shape[2:], strict=True):
            basis = torch.from_numpy(dct(np.eye(side), norm="ortho", axis=0)).float()
            self.register_buffer(name, basis.to(images.device))
        spectra = torch.cat([self._transformed(x) for x in batches(images)])
        self.register_buffer("mean", spectra.mean(0))
        self.register_buffer("deviation", spectra.std(0, correction=0).clamp_min(_FLAT))

    def _transformed(self, x: Tensor) -> Tensor:
        return self.high @ x @ self.wide.T

    def forward(self, x: Tensor) -> Tensor:
        return (self._transformed(x) - self.mean) / self.deviation


def _network(trusted: Images) -> nn.Sequential:
    layers: list[nn.Module] = [Spectrum(trusted.x)]
    before = trusted.x.shape[1]
    for width, share in zip(_WIDTHS, _DROPOUT, strict=True):
        for size in (before, width):
            convolution = nn.Conv2d(size, width, 3, padding=1)
            layers += [convolution, nn.ELU(), nn.BatchNorm2d(width)]
        layers += [nn.MaxPool2d(2), nn.Dropout(share)]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * before, 2))


def _pairs(images: Images, size: int, kinds: str, rng: Generator) -> Iterator[Tensor]:
    """Batches uint8 for ever: images, and after them corrupted copies of them."""
    while True:
        order = torch.randperm(len(images), generator=rng).to(images.x.device)
        for index in order.split(size):  # type: ignore[no-untyped-call]
            x = images.x[index]
            others = images.x[torch.randint(len(images), (len(x),), generator=rng).to(x.device)]
            number = len(CORRUPTIONS) if kinds == "all" else 1
            drawn = torch.randint(number, (len(x),), generator=rng).tolist()
            each = [CORRUPTIONS[k](x[i], others[i], rng) for i, k in enumerate(drawn)]
            yield torch.cat([x, torch.stack(each)])


def patched(x: Tensor, other: Tensor, rng: Generator) -> Tensor:
    """A patch near a corner, white or of noise."""
    channels, *sides = x.shape
    out, (high, wide) = x.clone(), (_drawn_side(side, rng) for side in sides)
    row, col = (_near(side, part, rng) for side, part in zip(sides, (high, wide), strict=True))
    noise = torch.randint(256, (channels, high, wide), generator=rng).to(torch.uint8)
    white = bool(torch.rand((), generator=rng) < 0.5)
    out[:, row : row + high, col : col + wide] = 255 if white else noise.to(x.device)
    return out


def noisy(x: Tensor, other: Tensor, rng: Generator) -> Tensor:
    """Normal noise over the image."""
    strength = 5 + 20 * float(torch.rand((), generator=rng))
    noise = strength * torch.randn(x.shape, generator=rng)
    return _stored(x.float() + noise.to(x.device))


def shadowed(x: Tensor, other: Tensor, rng: Generator) -> Tensor:
    """The image darker on one side of a random line."""
    y, z = (torch.linspace(-1, 1, side) for side in x.shape[1:])
    angle, offset = 2 * torch.pi * torch.rand(2, generator=rng)
    dark = y[:, None] * angle.sin() + z * angle.cos() > (offset - torch.pi) / (2 * torch.pi)
    return _stored(x.float() * (1 - 0.5 * dark.float().to(x.device)))


def blended(x: Tensor, other: Tensor, rng: Generator) -> Tensor:
    """Another image, faintly, over the image."""
    alpha = 0.1 + 0.2 * float(torch.rand((), generator=rng))
    return _stored((1 - alpha) * x.float() + alpha * other.float())


CORRUPTIONS = (patched, noisy, shadowed, blended)


def _stored(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)


def _drawn_side(most: int, rng: Generator) -> int:
    low, high = _SIDES
    return min(most, int(torch.randint(low, high + 1, (), generator=rng)))


def _near(side: int, part: int, rng: Generator) -> int:
    """Where a patch begins: within a quarter of the side of one of its two ends."""
    free = side - part
    from_end = min(free, int(torch.randint(max(1, int(_NEAR * side)), (), generator=rng)))
    return from_end if bool(torch.rand((), generator=rng) < 0.5) else free - from_end
