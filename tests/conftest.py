"""What every test shares: one thread, and where real CIFAR-10 lies."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("long", max_examples=1000)  # of tests/fuzz: ten times the inputs, others each time


@pytest.fixture(scope="session")
def cifar10_root() -> Path:
    """The folder of CIFAR-10 as Parquet; tests that use it say that they were skipped where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("POISONSWEEP_DATA", beside)) / "cifar10"
    if not root.is_dir():
        pytest.skip("no CIFAR-10: set POISONSWEEP_DATA to a folder that holds cifar10/train.parquet")
    return root
