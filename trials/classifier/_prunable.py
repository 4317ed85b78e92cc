"""Which units a defense can cut by the weights that read them, found by data flow and checked by
intervention.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from trials.classifier._head import Head
from trials.classifier._stages import layouts_of
from trials.classifier._trace import Call, Trace
from trials.classifier.inputs import with_inputs

_LAYERS = (nn.Linear, nn.Conv2d)


@dataclass(frozen=True, slots=True)
class Units:
    """Where the units are, in names.

    Attributes:
        number: of the units.
        consumer: path of the one layer that reads them.
        maker: path of the layer or normalisation that makes them; "" where several do.
        read: which tokens of the consumer's input reach the logits; () for all.
    """

    number: int
    consumer: str
    maker: str
    read: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Prunable:
    """Units that can be cut without cutting another: channels of the last convolution stage, or
    hidden units of the last MLP block of a transformer.

    Attributes:
        number: of the units.
        consumer: the one layer that reads them. A unit's inputs are neighbours there: unit u of a
            linear layer with k inputs a unit has the inputs u k to (u + 1) k.
        maker: the layer that makes them, or the normalisation after it; None where several do.
        read: which tokens of the consumer's input reach the logits; () for all.
    """

    number: int
    consumer: Head
    maker: nn.Module | None
    read: tuple[int, ...] = ()

    def activity(self, inputs: Tensor) -> Tensor:
        """Mean absolute value of each unit in what the consumer reads: (units,)."""
        if self.read:
            inputs = inputs[:, list(self.read)]
        if isinstance(self.consumer, nn.Linear):
            inputs = inputs.flatten(0, -2)
        return inputs.abs().reshape(len(inputs), self.number, -1).mean((0, 2))

    def columns(self, units: Tensor) -> Tensor:
        """A mask of units, bool (units,), as a mask that fits the consumer's weight."""
        if isinstance(self.consumer, nn.Conv2d):
            return units[None, :, None, None].to(self.consumer.weight.device)
        each = self.consumer.in_features // self.number
        return units.repeat_interleave(each).to(self.consumer.weight.device)


def units_of(trace: Trace, head: Call | None) -> Units | None:
    """The units that can be cut; None where there are none, or where the check fails."""
    layouts = list(layouts_of(trace).values())
    if head is None or not layouts:
        return None
    makers = {c.made: c for c in trace.calls if isinstance(c.module, _LAYERS)}
    channels = _channels(trace, head, makers) if layouts[-1] == "channels first" else None
    return channels or _hidden(trace, makers)


def _sources(trace: Trace, call: Call, makers: dict[Node, Call]) -> list[Call]:
    """The layers whose output ``call`` reads, with no other layer between, in their order."""
    if call.read is None:
        return []
    _, met = trace.graph.before(call.read, makers.keys())
    return [c for c in trace.calls if c.made in met and makers[c.made] is c]


def _channels(trace: Trace, head: Call, makers: dict[Node, Call]) -> Units | None:
    """The channels of the last maps, read by the first layer after them."""
    consumer, met = head, _sources(trace, head, makers)
    while len(met) == 1 and isinstance(met[0].module, nn.Linear):
        consumer, met = met[0], _sources(trace, met[0], makers)
    if not any(isinstance(c.module, nn.Conv2d) for c in met) or consumer.read is None:
        return None
    if consumer.made not in trace.graph.trunk or len(consumer.inputs) not in (2, 4):
        return None
    between, _ = trace.graph.before(consumer.read, makers.keys())
    for number, maker in _candidates(trace, between, met):
        if _checked(trace, maker, consumer, number):
            return Units(number, consumer.name, _maker(trace, between, met, number))
    return None


def _candidates(trace: Trace, between: set[Node], met: list[Call]) -> Iterator[tuple[int, Call]]:
    """Calls whose output has a unit a channel, and the number of channels, the last one first;
    vectors come after maps, and only where they have as many numbers as the last maps channels.
    """
    inside = [c for c in trace.trunk if c.alone and (c.made in between or c in met)]
    layouts = layouts_of(trace)
    maps = [c for c in reversed(inside) if layouts.get(c) == "channels first" and c.shape[1] > 1]
    yield from ((c.shape[1], c) for c in maps)
    vectors = [c for c in reversed(inside) if len(c.shape) == 2]
    if maps:
        yield from ((c.shape[1], c) for c in vectors if c.shape[1] == maps[0].shape[1])


def _maker(trace: Trace, between: set[Node], met: list[Call], number: int) -> str:
    """The last normalisation or layer that has a channel a unit, where there is one."""
    norms = [
        c for c in trace.calls if c.made in between and "norm" in type(c.module).__name__.lower()
    ]
    fits = [c for c in [*met, *norms] if len(c.shape) > 1 and c.shape[1] == number]
    return fits[-1].name if fits else ""


def _hidden(trace: Trace, makers: dict[Node, Call]) -> Units | None:
    """The hidden units of the last pair of linear layers with nothing but an activation between,
    of those that read tokens.
    """
    layers = [c for c in trace.calls if isinstance(c.module, nn.Linear) and len(c.inputs) > 2]
    for consumer in reversed(layers):
        met = _sources(trace, consumer, makers)
        if len(met) == 1 and met[0].shape == consumer.inputs:
            number = consumer.inputs[-1]
            if _checked(trace, met[0], consumer, number, axis=-1):
                read = _read(trace, consumer)
                return None if read is None else Units(number, consumer.name, met[0].name, read)
    return None


def _checked(trace: Trace, maker: Call, consumer: Call, number: int, axis: int = 1) -> bool:
    """Whether a channel of the maker's output that is set to 0 changes those inputs of the
    consumer that are its unit's, and no other.
    """
    made: list[Tensor] = []

    def keep(_m: nn.Module, _i: object, out: Tensor) -> None:
        made.append(out.clone())  # as a later activation may change it in place

    given = _given(trace, maker, consumer, keep)
    alive = made[0].movedim(axis, 0).flatten(1).any(1).nonzero().flatten().tolist()
    each, odd = divmod(given.shape[axis], number)
    if odd or not alive:
        return False
    for unit in {alive[0], alive[len(alive) // 2], alive[-1]}:

        def silence(_m: nn.Module, _i: object, out: Tensor, unit: int = unit) -> Tensor:
            out = out.clone()
            out.select(axis, unit).zero_()
            return out

        moved = _given(trace, maker, consumer, silence) != given
        places = moved.movedim(axis, 0).flatten(1).any(1).nonzero().flatten().tolist()
        if not places or not unit * each <= min(places) <= max(places) < (unit + 1) * each:
            return False
    return True


@torch.no_grad()
def _given(trace: Trace, maker: Call, consumer: Call, hook: Callable[..., Tensor | None]) -> Tensor:
    """What the consumer reads while ``hook`` is on the maker."""
    handle = maker.module.register_forward_hook(hook)
    try:
        return with_inputs(trace.probe, consumer.module, trace.x)[0]
    finally:
        handle.remove()


def _read(trace: Trace, consumer: Call) -> tuple[int, ...] | None:
    """The tokens of the consumer's input on which the logits depend; () for all, None for none."""
    x = trace.x.clone().requires_grad_(True)
    given, logits = with_inputs(trace.probe, consumer.module, x)
    weights = torch.linspace(-1, 1, logits.numel()).to(logits).reshape(logits.shape)
    (slope,) = torch.autograd.grad((logits * weights).sum(), given)
    used = slope.flatten(2).any(2) if slope.ndim == 3 else slope.flatten(1).any(1, keepdim=True)
    found = used.any(0)
    if not bool(found.any()):
        return None
    return () if bool(found.all()) else tuple(found.nonzero().flatten().tolist())
