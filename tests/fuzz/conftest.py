"""What hostile inputs may take, and the tally of what became of them."""

import importlib
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fuzzing import TALLY
from PIL import Image

# hypothesis draws constants from the modules that are loaded: none may come in between two examples
for loaded_first in ("results.report.page", "results.export.all_tables", "sweep.cli.app"):
    importlib.import_module(loaded_first)
# their made-up records
sys.path += [str(Path(__file__).parents[1] / package) for package in ("results", "sweep")]


@pytest.fixture(scope="module", autouse=True)
def _little_memory() -> Iterator[None]:
    """An input that asks for more than 6 GiB fails here instead of bringing the machine down."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 6 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POISONSWEEP_CACHE", str(tmp_path_factory.mktemp("cache")))
        # torch makes it when loaded
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of six images, the same for all models."""
    root = tmp_path_factory.mktemp("trusted")
    for label in range(2):
        (root / f"class{label}").mkdir()
        for i in range(6):
            Image.fromarray(np.full((8, 8, 3), 40 * i + label, np.uint8)).save(
                root / f"class{label}" / f"{i}.png"
            )
    return root


@pytest.fixture(autouse=True)
def _tally(request: pytest.FixtureRequest) -> Iterator[None]:
    """What this test adds to the tally goes with its report."""
    before = {kind: Counter(counts) for kind, counts in TALLY.items()}
    yield
    fresh = {kind: dict(counts - before.get(kind, Counter())) for kind, counts in TALLY.items()}
    request.node.user_properties.append(
        ("hostile", {kind: counts for kind, counts in fresh.items() if counts})
    )
