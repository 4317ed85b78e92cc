"""The names that transformers gives a network's tensors in files, which since its version 5 are for
many networks not those of the modules.
"""

import torch
from torch import nn


def saved_names(network: nn.Module) -> dict[str, str]:
    """The name of each tensor of the state dict in the files of ``save_pretrained``; only those
    that differ.
    """
    try:
        from transformers.core_model_loading import (  # noqa: PLC0415 - seconds to import
            revert_weight_conversion,
        )
    except ImportError:  # before version 5 they are the same
        return {}
    names = list(network.state_dict())
    marked = {name: torch.tensor(float(i), device="cpu") for i, name in enumerate(names)}
    try:
        saved = revert_weight_conversion(network, marked)  # type: ignore[arg-type, unused-ignore]
        found = {names[int(mark)]: name for name, mark in saved.items()}
    except Exception:  # it would join or cut tensors: then files are read by the modules' names
        return {}
    if len(saved) != len(names) or len(found) != len(names):
        return {}
    return {name: other for name, other in found.items() if name != other}
