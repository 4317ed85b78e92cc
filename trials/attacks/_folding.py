"""A network in eval mode as a function of its parameters, without passes over the images for its
batch normalisation.

In eval mode that is one scale and shift a channel, so it can be taken into the convolution before
it. This is done to the parameters, by operations that are differentiated like any other: gradients,
of every order, are those in the network's own parameters, and equal up to rounding.

Source: Jacob et al. 2018, arXiv:1712.05877, section 3.2 (folding, there of weights for good).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from trials.train import clone

_NEAR = 1e-3  # of the largest logit; what folding changes by rounding is far less


@dataclass(frozen=True, slots=True)
class Folded:
    """A network whose ``pairs`` of convolution and normalisation are one.

    Attributes:
        model: the network, with nothing in the place of each normalisation of a pair.
        pairs: names of a convolution and its normalisation.
        statistics: of each pair, the running mean (c,) and one over the standard deviation (c,).
        low: all of it is computed in bfloat16; parameters and logits stay as they are.
    """

    model: nn.Module
    pairs: tuple[tuple[str, str], ...] = ()
    statistics: tuple[tuple[Tensor, Tensor], ...] = ()
    low: bool = False

    def __call__(self, parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """The logits, with these parameters of the unfolded network, by name."""
        held = dict(parameters)
        for (conv, norm), (mean, inverse) in zip(self.pairs, self.statistics, strict=True):
            scale = held.pop(f"{norm}.weight") * inverse
            bias = held.get(f"{conv}.bias", 0.0)
            held[f"{conv}.weight"] = held[f"{conv}.weight"] * scale[:, None, None, None]
            held[f"{conv}.bias"] = held.pop(f"{norm}.bias") + (bias - mean) * scale
        if not self.low:
            logits: Tensor = functional_call(self.model, held, (x,))
            return logits
        # not by autocast, under which derivatives along a direction mix the two types
        held |= dict(self.model.named_buffers())
        half = {k: v.bfloat16() if v.is_floating_point() else v for k, v in held.items()}
        logits = functional_call(self.model, half, (x.bfloat16(),))
        return logits.to(x.dtype)


@torch.no_grad()
def folded(model: nn.Module, x: Tensor) -> Folded:
    """The network folded where a normalisation takes what one convolution gives; as it is where it
    then does not give the same logits.

    Args:
        model: in eval mode; left alone.
        x: some images, float (n, c, h, w) in [0, 1].
    """
    pairs = _pairs(model, x)
    bare, statistics = clone(model).eval(), []
    for conv, norm in pairs:
        was = bare.get_submodule(norm)
        assert isinstance(was, nn.BatchNorm2d) and was.running_mean is not None
        assert was.running_var is not None
        statistics.append((was.running_mean, (was.running_var + was.eps).rsqrt()))
        parent, _, name = norm.rpartition(".")
        setattr(bare.get_submodule(parent), name, nn.Identity())
        kernel = bare.get_submodule(conv)
        if kernel.bias is None:
            kernel.bias = nn.Parameter(torch.zeros_like(statistics[-1][0]))
    made, true = Folded(bare, tuple(pairs), tuple(statistics)), model(x)
    apart = (made(dict(model.named_parameters()), x) - true).abs().amax()
    return made if pairs and apart <= _NEAR * true.abs().amax() else Folded(model)


def _pairs(model: nn.Module, x: Tensor) -> list[tuple[str, str]]:
    """Names of each convolution and the normalisation that its output, as it is, goes into."""
    given: dict[int, str] = {}
    kept: list[Tensor] = []  # alive, so that no other tensor has the same id
    runs, found = Counter[str](), list[tuple[str, str]]()

    def gives(name: str, out: Tensor) -> None:
        given[id(out)] = name
        kept.append(out)
        runs[name] += 1

    def takes(name: str, taken: Tensor) -> None:
        runs[name] += 1
        if id(taken) in given:
            found.append((given[id(taken)], name))

    hooks = []
    for name, part in model.named_modules():
        if type(part) is nn.Conv2d:
            hooks.append(part.register_forward_hook(lambda _m, _x, out, n=name: gives(n, out)))
        elif type(part) is nn.BatchNorm2d and part.affine and part.track_running_stats:
            hooks.append(part.register_forward_pre_hook(lambda _m, x, n=name: takes(n, x[0])))
    try:
        model(x[:1])
    finally:
        for hook in hooks:
            hook.remove()
    return [(conv, norm) for conv, norm in found if runs[conv] == runs[norm] == 1]
