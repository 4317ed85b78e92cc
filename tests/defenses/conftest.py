"""The trained victims of this folder."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import nn

from .tiny import TinyNet


def _kept(name: str) -> nn.Module:
    model = TinyNet()
    model.load_state_dict(load_file(Path(__file__).with_name(f"{name}.safetensors")))
    return model.eval()


@pytest.fixture(scope="session")
def victim() -> nn.Module:
    """A small net with a backdoor, changed by nobody; of 400 steps on digits of which a tenth carry
    the patch and the target label (SGD of 0.05, batches of 64), its weights are kept.
    """
    return _kept("backdoored")


@pytest.fixture(scope="session")
def prunable() -> nn.Module:
    """Another such net, whose backdoor sits in few channels.

    Few have one that does (3 of 12 for CLP), and which of them differs between processors, so its
    weights are kept.
    """
    return _kept("prunable")
