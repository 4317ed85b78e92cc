"""The trained suspects of this folder, each made once and changed by nobody.

Of seeds 0 to 6 all with a backdoor scored above all clean ones; these have clear margins, for the
tests of the parts.
"""

import pytest
import torch
from suspects import Suspect, suspect

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def patched() -> Suspect:
    return suspect("patch", 5)


@pytest.fixture(scope="session")
def additive() -> Suspect:
    return suspect("additive", 6)


@pytest.fixture(scope="session")
def clean() -> list[Suspect]:
    return [suspect("clean", seed) for seed in (0, 2, 5)]
