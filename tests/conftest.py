"""What every test shares: one thread, where real CIFAR-10 lies, a store on each kind of database,
and counting.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import markers
import programs
import pytest
import torch
from counting import counter, spent, summarise
from databases import Server
from forked_reader import Reader
from hypothesis import settings

from trials.weights import _unpack

torch.set_num_threads(1)
# of those that are bounded
LONGEST = ("test_driver_killed.py", "test_two_nodes.py", "test_two_namespaces.py")
settings.register_profile("short", max_examples=60)
# of tests/fuzz: many more inputs, others each time
settings.register_profile("long", max_examples=1000)
settings.load_profile("short")


def _real(what: str, name: str) -> Path:
    """A folder of real data; tests that use it say that they were skipped where it is absent."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("POISONSWEEP_DATA", beside)) / name
    if not root.is_dir():
        pytest.skip(f"no {what}: set POISONSWEEP_DATA to a folder that holds {name}/")
    return root


@pytest.fixture(scope="session")
def cifar10_root() -> Path:
    """The folder of CIFAR-10 as Parquet."""
    return _real("CIFAR-10", "cifar10")


@pytest.fixture(scope="session")
def imagenette_root() -> Path:
    """The folder of some of Imagenette's images, train/ and val/ by synset."""
    return _real("Imagenette", "imagenette2-160")


@pytest.fixture(scope="session")
def public_models() -> Path:
    """The folder of public checkpoints: ResNet-20 to 56 of CIFAR-10, EfficientNet-Lite0."""
    return _real("public models", "models")


@pytest.fixture(autouse=True)
def _programs_end_with_their_test() -> Iterator[None]:
    """What a test that failed had started neither slows the next ones down nor fails them."""
    yield
    programs.end_all()


@pytest.fixture(scope="session")
def reader() -> Iterator[Reader]:
    """Opens torch files as the product does, but for loading torch in a process for each."""
    reader = Reader()
    yield reader
    reader.close()


@pytest.fixture
def quick_reader(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch files are opened by copies of one process that has loaded torch."""
    monkeypatch.setattr(_unpack, "_reader", reader)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server that only these tests use."""
    server = Server()
    server.start()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a store that is not there yet, on each kind of database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/runs/store.db"
    server: Server = request.getfixturevalue("postgres_server")
    return server.url()


@pytest.fixture(scope="session")
def chaos_seed(pytestconfig: pytest.Config) -> int:
    """The seed of all random moments; ``--chaos-seed`` repeats them as far as a scheduler can be
    repeated.
    """
    given = pytestconfig.getoption("--chaos-seed")
    return secrets.randbelow(2**31) if given is None else int(given)


@pytest.fixture
def count(request: pytest.FixtureRequest, chaos_seed: int) -> Callable[..., None]:
    """Adds a line of figures to the end of the tests' output, and to the file of ``--figures``."""
    return counter(request, chaos_seed)


def pytest_addoption(parser: pytest.Parser) -> None:
    """What the tests that kill and break things can be asked for."""
    chaos = parser.getgroup("chaos")
    chaos.addoption(
        "--rounds", type=int, default=20, help="times that a driver is killed (default 20)"
    )
    chaos.addoption(
        "--chaos-seed", type=int, default=None, help="of the random moments; printed when left out"
    )
    chaos.addoption(
        "--figures",
        type=Path,
        default=None,
        help="file to which each chaos test adds what it counted",
    )
    chaos.addoption(
        "--most",
        type=float,
        default=0,
        help="seconds that chaos and fuzz tests may take together; 0: any",
    )
    parser.getgroup("fuzz").addoption(
        "--fuzz-json", default="", help="file that keeps the tally of hostile inputs"
    )


def pytest_configure(config: pytest.Config) -> None:
    """A test that needs Ray, a server or a browser says so."""
    config.pluginmanager.register(markers)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is bounded in time begins first, together; then what starts a Ray, as it takes long."""
    order = ("chaos", "fuzz", "ray")

    def rank(item: pytest.Item) -> int:
        return next(
            (i for i, name in enumerate(order) if item.get_closest_marker(name)), len(order)
        )

    of_file: dict[Path, int] = {}
    for item in items:
        of_file[item.path] = min(rank(item), of_file.get(item.path, len(order)))
    items.sort(key=lambda item: (of_file[item.path], item.path.name not in LONGEST))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where the suites took longer than ``--most``."""
    most, reporter = (
        session.config.getoption("--most"),
        session.config.pluginmanager.get_plugin("terminalreporter"),
    )
    if reporter and most and spent(reporter)[1] > most and session.exitstatus == pytest.ExitCode.OK:
        reporter.write_line(
            f"\nFAILED: chaos and fuzz tests ran for more than {most:.0f} s", red=True
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    summarise(terminalreporter, config.getoption("--fuzz-json"))
