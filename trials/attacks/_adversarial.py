"""Adversarial perturbation of each image by itself, and the surrogates that it is made against."""

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Generator, Tensor, nn

from trials.attacks._draws import uniform
from trials.reporting import reporter
from trials.spec import derive
from trials.train import make_optimizer, stream, tune
from trials.types import Images
from trials.weights.files import load_weights

# images a pass; always as many, because other shapes round differently and a sign may then flip
_CHUNK = 16
_BATCH = 64
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_cache: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Steered:
    """Moves each image by at most ``epsilon`` levels, by projected gradient descent from a random
    start.

    Attributes:
        surrogate: the network whose loss is followed; asked for at the first image.
        seed: with an image's place, keys its start.
        steer: class whose loss is followed.
        epsilon: largest change of a value, in levels of 255.
        step: change of a value in one step, in levels.
        steps: gradient steps.
        sign: targeted lowers the loss (towards the class), release raises it.
    """

    surrogate: Callable[[], nn.Module]
    seed: int
    steer: int
    epsilon: int
    step: float
    steps: int
    sign: str

    def __call__(self, x: Tensor, index: Tensor, /) -> Tensor:
        if not len(x):
            return x.clone()
        model = self.surrogate().to(x.device)
        moved = []
        with reporter.untimed("perturbing images"):
            for i in range(0, len(x), _CHUNK):
                moved.append(self._moved(model, x[i : i + _CHUNK], index[i : i + _CHUNK]))
                reporter.report(min(i + _CHUNK, len(x)), len(x))
        return torch.cat(moved)

    def _moved(self, model: nn.Module, x: Tensor, index: Tensor) -> Tensor:
        start = uniform(self.seed, index.to(x.device), math.prod(x.shape[1:])).reshape(x.shape)
        clean, start = (_filled(t.to(next(model.parameters()).dtype)) for t in (x, start))
        low, high = (-clean).clamp(min=-self.epsilon), (255 - clean).clamp(max=self.epsilon)
        delta = ((2 * start - 1) * self.epsilon).clamp(low, high)
        classes = torch.full((_CHUNK,), self.steer, device=x.device)
        down = -self.step if self.sign == "targeted" else self.step
        for _ in range(self.steps):
            with torch.enable_grad():
                delta.requires_grad_()
                loss = F.cross_entropy(model((clean + delta) / 255), classes, reduction="sum")
                (slope,) = torch.autograd.grad(loss, delta)
            delta = (delta.detach() + down * slope.sign()).clamp(low, high)
        return (clean + delta)[: len(x)].round().to(torch.uint8)


def cached(key: str, make: Callable[[], Any]) -> Any:
    """What ``make`` gives, made once a process for each key; the latest eight are kept."""
    if key not in _cache:
        value = make()
        while len(_cache) >= 8:
            del _cache[next(iter(_cache))]
        _cache[key] = value
    return _cache[key]


def digest(*tensors: Tensor) -> str:
    """A key for the tensors' content."""
    state = hashlib.sha256()
    for tensor in tensors:
        state.update(str((tensor.dtype, tuple(tensor.shape))).encode())
        state.update(tensor.cpu().contiguous().numpy().tobytes())
    return state.hexdigest()


def trained(train: Images, seed: int, epochs: int) -> nn.Module:
    """A small network trained on the images; in float64, where thread counts and machines hardly
    matter.
    """
    channels, width = train.x.shape[1], 16
    layers: list[nn.Module] = [
        _Prepared(torch.full((channels,), 0.5), torch.full((channels,), 0.25), 0)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive(seed, "weights"))
        for before, after, stride in (
            (channels, width, 1),
            (width, 2 * width, 2),
            (2 * width, 4 * width, 2),
        ):
            convolution = nn.Conv2d(before, after, 3, stride, 1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, train.classes)]
    model = nn.Sequential(*layers).double()
    batches = stream(train.to("cpu"), _BATCH, Generator().manual_seed(derive(seed, "batches")))
    steps = epochs * max(1, len(train) // _BATCH)
    with reporter.untimed("surrogate"):
        for _ in tune(model, batches, make_optimizer(model, "adam", 3e-3), steps, steps):
            pass
    return model.eval().requires_grad_(False)


def imagenet(weights: str | os.PathLike[str]) -> nn.Module:
    """torchvision's ResNet-18 of 1,000 classes with the weights in the file, behind an upsampling
    to 224 pixels.

    Raises:
        SpecError: the file does not hold its weights.
    """
    with torch.random.fork_rng(devices=[]):
        inner = torchvision.models.resnet18(weights=None)
    load_weights(inner, weights)
    mean, std = map(torch.tensor, _IMAGENET)
    return nn.Sequential(_Prepared(mean, std, 224), inner).eval().requires_grad_(False)


class _Prepared(nn.Module):
    """Images in [0, 1] to the network's own type, side (0 for as it is; bilinear) and
    normalisation.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, side: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean[:, None, None])
        self.register_buffer("std", std[:, None, None])
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.mean.dtype)
        if self.side and x.shape[-2:] != (self.side, self.side):
            x = F.interpolate(x, (self.side, self.side), mode="bilinear", align_corners=False)
        return (x - self.mean) / self.std


def _filled(x: Tensor) -> Tensor:
    """The chunk with black images behind it, ``_CHUNK`` in all."""
    return F.pad(x, (0, 0, 0, 0, 0, 0, 0, _CHUNK - len(x)))
