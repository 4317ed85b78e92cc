"""Do these weights fit that model? By names and shapes alone, before any data is read."""

import re
from collections.abc import Collection, Mapping
from typing import TypeVar

from torch import Tensor

from trials import catalog
from trials.spec import SpecError

T = TypeVar("T")
_PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning
_SYNONYMS = (
    (r"\blinear\.", "fc."),
    (r"\bfc\.", "linear."),
    (r"\bshortcut\.", "downsample."),
    (r"\bdownsample\.", "shortcut."),
)


def renamed(own: Mapping[str, Tensor], state: Mapping[str, T], name: str) -> dict[str, T]:
    """``state`` under the names of the model ``own``: prefixes off, and fc / linear, downsample /
    shortcut agreed.

    Positions 0, 1, 2, ... that older transformers wrote beside the weights are left out.
    """
    for prefix in _PREFIXES * 2:
        if (
            state
            and all(k.startswith(prefix) for k in state)
            and not any(k.startswith(prefix) for k in own)
        ):
            state = {k.removeprefix(prefix): v for k, v in state.items()}
    found: dict[str, T] = {}
    for key, value in state.items():
        if key.endswith(".position_ids") and key not in own:
            continue
        others = (re.sub(pattern, other, key) for pattern, other in _SYNONYMS)
        new = key if key in own else next((o for o in others if o in own), key)
        if new in found:
            raise SpecError(f"{name!r} holds {new} twice, under two names. Keep one.")
        found[new] = value
    return found


def check_fit(
    own: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    name: str,
    may_differ: Collection[str],
) -> None:
    """Raise SpecError unless the names and shapes are the model's, but for ``may_differ`` and
    harmless buffers.
    """
    spare = ("num_batches_tracked",)
    missing = [
        k for k in own if k not in shapes and k not in may_differ and not k.startswith("normalize.")
    ]
    missing = [k for k in missing if not k.endswith(spare)]
    unexpected = [k for k in shapes if k not in own]
    other = [
        k
        for k, s in shapes.items()
        if k in own and k not in may_differ and s != tuple(own[k].shape)
    ]
    if not (missing or unexpected or other):
        return
    faults = [f"missing {_some(missing)}"] if missing else []
    faults += [f"unexpected {_some(unexpected)}"] if unexpected else []
    faults += [f"{k} is {shapes[k]}, expected {tuple(own[k].shape)}" for k in other[:2]]
    raise SpecError(f"{name!r} does not fit the model: {'; '.join(faults)}. {_hint(own, shapes)}")


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:2]) + (f" and {len(keys) - 2} more" if len(keys) > 2 else "")


def _hint(own: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Which architecture could fit, guessed from the first convolution and the last layer."""
    stem = shapes.get("conv1.weight", ())
    head = next((shapes[k] for k in ("fc.weight", "linear.weight") if k in shapes), ())
    basic = "layer4.1.conv2.weight" in shapes and not {
        "layer1.0.conv3.weight",
        "layer1.2.conv1.weight",
    } & set(shapes)
    if (
        basic
        and len(stem) == 4
        and stem != tuple(own["conv1.weight"].shape if "conv1.weight" in own else ())
    ):
        if stem[2] == 7:
            return "It looks like --arch torchvision_resnet18."
        return f"It looks like --arch resnet18 with width = {stem[0]}."
    if basic and len(head) == 2:
        return f"It looks like a model of {head[0]} classes."
    return f"It looks like none of the known architectures: {', '.join(catalog.names('models'))}."
