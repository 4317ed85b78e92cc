"""The digits and the one clean model of this folder."""

from collections.abc import Callable

import pytest
import torch
from torch import Generator, nn

from trials import catalog
from trials.datasets import digits
from trials.recipes import fast
from trials.types import Images, Poisoning


def fitted_model(backdoor: Poisoning) -> nn.Module:
    """A small network trained on ``backdoor``, in a second or two; the same each time."""
    torch.manual_seed(0)
    model = catalog.find("models", "small_cnn")(10, 16, width=16).to(
        memory_format=torch.channels_last
    )
    for _ in fast.fit(
        model, backdoor, Generator().manual_seed(0), epochs=8, peak=0.1, batch=64, precision="fp32"
    ):
        pass
    return model


@pytest.fixture(scope="session")
def fitted() -> Callable[[Poisoning], nn.Module]:
    """What trains the small network."""
    return fitted_model


@pytest.fixture(scope="session")
def digits_train() -> Images:
    return digits.load("train", size=16)


@pytest.fixture(scope="session")
def digits_test() -> Images:
    return digits.load("test", size=16)


@pytest.fixture(scope="session")
def clean_model(digits_train: Images) -> nn.Module:
    """Trained once on clean digits, changed by nobody."""
    return fitted_model(Poisoning(digits_train))
