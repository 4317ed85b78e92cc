"""The trained victims of this folder."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import nn

from .tiny import TinyNet, backdoored


@pytest.fixture(scope="session")
def victim() -> nn.Module:
    """A small net with a backdoor; trained once, changed by nobody."""
    return backdoored()


@pytest.fixture(scope="session")
def prunable() -> nn.Module:
    """Another such net, whose backdoor sits in few channels.

    Few have one that does (3 of 12 for CLP), and which of them differs between processors, so its
    weights are kept.
    """
    model = TinyNet()
    model.load_state_dict(load_file(Path(__file__).with_name("prunable.safetensors")))
    return model.eval()
