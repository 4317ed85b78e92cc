"""A pytest plugin: a test that needs Ray, PostgreSQL or a browser has to carry that marker.

``make test`` leaves marked tests out, and those of tests/chaos and tests/fuzz. A test whose marker
was forgotten would slip in. It is refused: at collection where its folder, its fixtures or an
import of Ray shows the need, else when it starts such a program, itself or in another process.
"""

import ast
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
FOLDERS = {"chaos": "chaos", "fuzz": "fuzz"}
FIXTURES = {"running_ray": "ray", "postgres_server": "postgres", "postgres": "postgres"}
PROGRAMS = {"raylet": "ray", "gcs_server": "ray", "pg_ctl": "postgres", "initdb": "postgres"}
PROGRAMS |= dict.fromkeys(("chromium", "chromium-browser", "google-chrome"), "browser")
_item: pytest.Item | None = None  # whose setup or call runs


def pytest_configure() -> None:
    sys.addaudithook(_refuse_programs)


@pytest.hookimpl(trylast=True)  # once the folders' own conftest.py have given their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Raises pytest.UsageError, which ends the run, with a line for each missing marker."""
    lines = [
        f"{item.nodeid}: {why}, so it needs @pytest.mark.{marker}"
        for item in items
        for marker, why in _needed(item)
        if not item.get_closest_marker(marker)
    ]
    if lines:
        raise pytest.UsageError("\n".join(lines))


def _needed(item: pytest.Item) -> Iterator[tuple[str, str]]:
    """The markers that a test needs, and why."""
    for folder in item.path.parts:
        if folder in FOLDERS:
            yield FOLDERS[folder], f"it lies in {folder}/"
    for fixture in getattr(item, "fixturenames", ()):
        if fixture in FIXTURES:
            yield FIXTURES[fixture], f"it uses {fixture}"
    importers = _importers_of_ray(item.path)
    if {"", getattr(item, "originalname", item.name)} & importers:
        yield "ray", "it imports ray"


@functools.cache
def _importers_of_ray(file: Path) -> frozenset[str]:
    """Names of the functions in a file that import Ray; "" stands for the file itself."""
    if file.suffix != ".py":
        return frozenset()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    found = {function.name for function in functions if any(map(_imports_ray, ast.walk(function)))}
    if any(_imports_ray(node) for node in ast.walk(tree) if id(node) not in inside):
        found.add("")
    return frozenset(found)


def _imports_ray(node: ast.AST) -> bool:
    names: Iterable[str] = ()
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [node.module or ""]
    return any(name.split(".")[0] == "ray" for name in names)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    global _item  # noqa: PLW0603
    _item = item


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """What ends here may be a server that another test started."""
    global _item  # noqa: PLW0603
    _item = None


def _refuse_programs(event: str, arguments: tuple[Any, ...]) -> None:
    """Fail the running test where it starts a program without the marker."""
    if event != "subprocess.Popen" or _item is None:
        return
    program, words, *_ = arguments
    given = [program, *words] if isinstance(words, list | tuple) else [program, words]
    for word in given[:8]:  # after runuser -u postgres --
        marker = PROGRAMS.get(Path(os.fsdecode(word or "")).name)
        if marker and not _item.get_closest_marker(marker):
            pytest.fail(f"it starts {os.fsdecode(word)}, so it needs @pytest.mark.{marker}")


@pytest.fixture(scope="session")
def _nobodys_ray() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ray-"))  # short, as Ray's sockets lie in it
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _no_ray_unmarked(request: pytest.FixtureRequest, _nobodys_ray: Path) -> Iterator[None]:
    """A Ray that another process starts for a test leaves its session's folder here."""
    if request.node.get_closest_marker("ray"):
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(_nobodys_ray))
        yield
    if left := list(_nobodys_ray.iterdir()):
        shutil.rmtree(left[0])
        pytest.fail("a process of this test started a Ray, so it needs @pytest.mark.ray")
