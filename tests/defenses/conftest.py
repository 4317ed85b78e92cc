"""The one trained victim of this folder."""

import pytest
from torch import nn

from .tiny import backdoored


@pytest.fixture(scope="session")
def victim() -> nn.Module:
    """A small net with a backdoor; trained once, changed by nobody."""
    return backdoored()
