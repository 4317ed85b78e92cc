"""Which layer gives the logits."""

import torch
from torch import Tensor, nn

from trials.classifier._trace import Call, Trace

Head = nn.Linear | nn.Conv2d


def head_of_trace(trace: Trace) -> Call | None:
    """The last layer that all goes through and whose output is the logits, but for a scale and a
    shift of each image's: temperature, or the logarithm of a softmax.
    """
    fits = (c for c in reversed(trace.trunk) if _fits(c))
    return next((c for c in fits if _gives(c, trace)), None)


def _fits(call: Call) -> bool:
    """A linear layer that reads one vector an image, or a convolution that reads its whole map at
    once.
    """
    module = call.module
    if isinstance(module, nn.Linear):
        return len(call.inputs) == 2
    whole = isinstance(module, nn.Conv2d) and module.groups == 1 and call.shape[2:] == (1, 1)
    return whole and call.inputs[2:] == module.kernel_size


def _gives(call: Call, trace: Trace) -> bool:
    """Whether the logits are the call's output, and are so too once its sign is turned: an
    activation between would show.
    """
    if call.output is None or not _same(call.output, trace.logits):
        return False
    handle = call.module.register_forward_hook(lambda _m, _i, out: -out)
    try:
        with torch.no_grad():
            return _same(-call.output, trace.probe(trace.x))
    finally:
        handle.remove()


def _same(output: Tensor, logits: Tensor) -> bool:
    if output.numel() != logits.numel():
        return False
    own, given = (t.flatten(1) - t.flatten(1).mean(1, keepdim=True) for t in (output, logits))
    scale = (own * given).sum() / own.square().sum().clamp_min(1e-30)
    near = torch.allclose(scale * own, given, rtol=1e-3, atol=1e-4 * float(given.abs().max()))
    return near and float(scale) > 0
