"""Pruning by channels: scores, one nested model after the other, and which normalisation follows
which convolution.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trials.reporting import reporter
from trials.train import clone, to_float

POINTS = 40  # most models that a pruning yields
_LEFT = 1  # channels of a layer that always stay


@torch.no_grad()
def pairs(model: nn.Module, image: Tensor) -> list[tuple[nn.Conv2d, _BatchNorm]]:
    """Each convolution whose output a batch normalisation reads, with that normalisation, as a
    forward pass shows.

    Args:
        model: in eval mode.
        image: float (1, c, h, w) on the model's device; its content does not matter.
    """
    # the tensors are kept, so that no id is used twice
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    found: list[tuple[nn.Conv2d, _BatchNorm]] = []

    def keep(module: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made[id(out)] = (module, out)

    def match(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        assert isinstance(module, _BatchNorm)
        if id(args[0]) in made:
            found.append((made[id(args[0])][0], module))

    handles = [m.register_forward_hook(keep) for m in model.modules() if isinstance(m, nn.Conv2d)]
    norms = (m for m in model.modules() if isinstance(m, _BatchNorm) and m.affine)
    handles += [m.register_forward_pre_hook(match) for m in norms]
    try:
        model(image)
    finally:
        for handle in handles:
            handle.remove()
    return found


def nested(
    model: nn.Module, norms: Sequence[int], scores: Sequence[Tensor], most: float, zero_bias: bool
) -> Iterator[tuple[int, nn.Module]]:
    """Prune the channels of the lowest score first, one set within the next; yield (channels
    pruned, model).

    A pruned channel's scale is 0, and with ``zero_bias`` its shift too; all else is the given
    model's, bit for bit. The numbers are the same for every model of one architecture. One channel
    of each layer always stays.

    Args:
        model: left alone.
        norms: places, among the model's modules, of the normalisations.
        scores: (channels,) for each of them; lower is pruned earlier.
        most: share of all channels that are pruned at the end, in at most 40 points.
    """
    pruned = clone(model).eval()
    modules = list(pruned.modules())
    layers = [modules[place] for place in norms]
    order = ranking(scores)
    last = min(len(order), max(1, round(most * sum(len(s) for s in scores))))
    stride = math.ceil(last / POINTS)
    end = reporter.upto(last)
    for number, (layer, channel) in enumerate(order[:last], 1):
        scale, shift = scaled(layers[layer])
        scale.data[channel] = 0
        if zero_bias:
            shift.data[channel] = 0
        reporter.report(number, end)
        if number % stride == 0 or number == last:
            yield number, pruned


def scaled(norm: nn.Module) -> tuple[nn.Parameter, nn.Parameter]:
    """Scale and shift of a normalisation, (channels,) each."""
    scale, shift = norm.weight, norm.bias
    assert isinstance(scale, nn.Parameter) and isinstance(shift, nn.Parameter)
    return scale, shift


def ranking(scores: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(layer, channel) from the lowest score up, but for the highest of each layer; ties in the
    layers' order.

    Raises:
        ArithmeticError: a score is not finite.
    """
    if not all(bool(torch.isfinite(each).all()) for each in scores):
        raise ArithmeticError("the channels cannot be ranked: a score is not finite")
    flat: list[tuple[float, int, int]] = []
    for layer, each in enumerate(scores):
        flat += [(float(s), layer, channel) for channel, s in enumerate(each.tolist())]
    flat.sort()
    left = [len(each) for each in scores]
    found = []
    for _, layer, channel in flat:
        if left[layer] > _LEFT:
            left[layer] -= 1
            found.append((layer, channel))
    return found


@torch.no_grad()
def lipschitz(conv: nn.Conv2d, norm: _BatchNorm) -> Tensor:
    """For each channel the largest singular value of its kernel, (inputs, kernel area), times
    |scale / sd|.

    Source: Zheng et al. 2022, arXiv:2208.03111.
    """
    assert norm.running_var is not None
    kernels = conv.weight.double().flatten(2)
    flat = kernels if kernels.shape[1] < kernels.shape[2] else kernels.mT
    # of the small Gram matrices, on the processor, where all of them take a fraction of a second
    squares = torch.linalg.eigvalsh((flat @ flat.mT).cpu())[:, -1]
    largest: Tensor = squares.clamp(min=0).sqrt().to(kernels.device)
    return largest * (norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()).abs()


def z_scores(values: Tensor) -> Tensor:
    """(values - mean) / sd over the layer; 0 where all are equal."""
    sd = values.std() if len(values) > 1 else values.new_zeros(())
    return (values - values.mean()) / sd if float(sd) > 0 else torch.zeros_like(values)


@torch.no_grad()
def outliers_cut(model: nn.Module, image: Tensor, u: float) -> int:
    """Set scale and shift of each channel whose Lipschitzness has a z-score above ``u`` to 0;
    returns their number.

    Args:
        model: changed.
        image: uint8 (1, c, h, w); its content does not matter.
        u: threshold, in standard deviations of a layer.
    """
    device = next(model.parameters()).device
    cut = 0
    for conv, norm in pairs(model.eval(), to_float(torch.zeros_like(image)).to(device)):
        above = z_scores(lipschitz(conv, norm)) > u
        norm.weight[above] = 0
        norm.bias[above] = 0
        cut += int(above.sum())
    return cut
