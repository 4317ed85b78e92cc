"""One forward pass of two random images through a copy of the model, and what each layer did.

The copy's weights are drawn anew, so that what is found depends on the architecture alone: a head
of zeros, as some models begin with, would hide what it reads. The model itself is never run.
"""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.autograd.graph import Node
from torch.nn.modules.batchnorm import _BatchNorm

from trials.classifier._graph import Graph
from trials.output_order import without_order

IMAGES = 2
_DRAWN = 65_537  # a prime, so that no two rows of a weight are the same
Shape = tuple[int, ...]  # of an image: (c, h, w)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A module that was called once in the forward pass.

    Attributes:
        name: its path in the model.
        module: of the copy.
        read: the operation that gave its input; None where it is none of the graph's.
        inputs: shape of its input.
        made: the operation that gave its output.
        shape: of its output.
        output: its values, of linear layers and convolutions.
        alone: it gave this tensor itself, and no mapping or tuple with it.
    """

    name: str
    module: nn.Module
    read: Node | None
    inputs: Shape
    made: Node
    shape: Shape
    output: Tensor | None
    alone: bool


@dataclass(frozen=True, slots=True)
class Trace:
    """What one forward pass showed.

    Attributes:
        probe: the copy that was run, in eval mode.
        x: float (2, c, h, w), the images.
        logits: (2, classes).
        graph: from the images to the logits.
        calls: in the order in which they ended.
    """

    probe: nn.Module
    x: Tensor
    logits: Tensor
    graph: Graph
    calls: Sequence[Call]

    @property
    def trunk(self) -> list[Call]:
        """The calls through whose output all goes that the logits know of the images."""
        return [call for call in self.calls if call.made in self.graph.trunk]


def tensor_in(value: object) -> Tensor | None:
    """The first tensor of what a module takes or gives: itself, or the first of a tuple or
    mapping.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, tuple | list):
        return next((v for v in value if isinstance(v, Tensor)), None)
    return None


def trace(model: nn.Module, shape: Shape) -> Trace | None:
    """What happens to two random images of ``shape``; None where no logits come out of them that
    depend on the images. To be called in ``own_modes``.

    Raises:
        Exception: whatever the model raises on images of that shape.
    """
    rng = Generator().manual_seed(0)
    x = torch.rand(IMAGES, *shape, generator=rng).to(_like(model))
    probe = without_order(copy.deepcopy(model).eval())
    _draw(probe, rng)
    return _run(probe, x)


@contextmanager
def own_modes(model: nn.Module) -> Iterator[None]:
    """Gradients, full precision and random numbers of its own, whatever the caller is at."""
    device = _like(model).device
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        torch.autocast(device.type, enabled=False),
    ):
        yield


def _like(model: nn.Module) -> Tensor:
    return next((p for p in model.parameters() if p.is_floating_point()), torch.zeros(()))


def _draw(model: nn.Module, rng: Generator) -> None:
    """Draw weights that tend to shrink what flows, and scales and shifts near 1; large ones repeat
    themselves, as drawing many numbers takes long.
    """
    with torch.no_grad():
        for p in (p for p in model.parameters() if p.is_floating_point()):
            few = torch.rand(min(p.numel(), _DRAWN), generator=rng).to(p)
            draws = few.repeat(-(-p.numel() // _DRAWN))[: p.numel()].view(p.shape)
            many = p.dim() > 1
            p.copy_((2 * draws - 1) * p[0].numel() ** -0.5 if many else draws + 0.5)
    for norm in (m for m in model.modules() if isinstance(m, _BatchNorm)):
        norm.reset_running_stats()


def _run(probe: nn.Module, x: Tensor) -> Trace | None:
    images = x.clone().requires_grad_(True).clone()
    start = images.grad_fn
    taken: dict[nn.Module, tuple[Node | None, Shape]] = {}
    calls: list[Call] = []
    times = Counter[nn.Module]()
    names = {module: name for name, module in probe.named_modules()}

    def before(module: nn.Module, args: object, kwargs: object) -> None:
        given = tensor_in(args)
        given = tensor_in(kwargs) if given is None else given
        taken[module] = (None, ()) if given is None else (given.grad_fn, tuple(given.shape))
        times[module] += 1

    def after(module: nn.Module, _: object, out: object) -> None:
        value = tensor_in(out)
        if value is not None and value.grad_fn is not None:
            kept = value.detach().clone() if isinstance(module, nn.Linear | nn.Conv2d) else None
            read, inputs = taken[module]
            call = Call(
                name=names[module],
                module=module,
                read=read,
                inputs=inputs,
                made=value.grad_fn,
                shape=tuple(value.shape),
                output=kept,
                alone=value is out,
            )
            calls.append(call)

    handles = [m.register_forward_pre_hook(before, with_kwargs=True) for m in names]
    handles += [m.register_forward_hook(after) for m in names]
    try:
        logits = probe(images)
    finally:
        for handle in handles:
            handle.remove()
    usable = isinstance(logits, Tensor) and logits.ndim == 2 and len(logits) == IMAGES
    if not usable or logits.grad_fn is None or start is None:
        return None
    graph = Graph(logits.grad_fn, start)
    once = [call for call in calls if times[call.module] == 1]
    return Trace(probe, x, logits.detach(), graph, once) if graph.trunk else None
