"""Imports point down: between the top packages, and between the packages inside `results` and
`sweep`.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
METHODS = ("datasets", "models", "recipes", "attacks", "filters", "defenses", "detectors")
ZERO = {
    "trials.architecture",
    "trials.spec",
    "trials.catalog",
    "trials.catalog.method_files",
    "trials.catalog.method_kinds",
    "trials.catalog.methods",
    "trials.catalog.resolving",
    "trials.catalog.signatures",
    "trials.curve",
    "trials.dependencies",
    "trials.image_tables",
    "trials.json_forms",
    "trials.later",
    "trials.self_poisoning",
    "trials.suspicious",
    "trials.whole",
    "trials.guarded",
    "trials.digests",
}
FLOORS = {  # each package may import those before it
    "results": (
        "stats",
        "reference",
        "store",
        "selection",
        "comparison",
        "tables",
        "figures",
        "export",
        "report",
    ),
    "sweep": ("spec", "planning", "execution", "console", "watching", "commands", "api", "cli"),
}
TOOLS = {
    "train",
    "displaced",
    "metrics",
    "types",
    "classifier",
    "views",
    "splits",
    "inversion",
    "inverted",
    "mask_inversion",
    "normalisation",
    "output_order",
    "provenance",
    "leaving",
    "reporting",
}
TOOLS |= {"storage", "weights"}
PACKAGES = ("trials", "search_spaces", "results", "sweep")
FILES = sorted(p for package in PACKAGES for p in (ROOT / package).rglob("*.py"))
METHOD_FILES = [
    f
    for f in FILES
    if f.parent.name in (*METHODS, "games")
    and f.parts[-3] == "trials"
    and not f.name.startswith("_")
]


def module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def imports(file: Path) -> list[str]:
    """Modules that a file imports at any depth of it, but for typing only."""
    return list(_imports(ast.parse(file.read_text(encoding="utf-8")), file))


def _imports(tree: ast.Module, file: Path) -> Iterator[str]:
    typing = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"
    ]
    skipped = {id(inner) for block in typing for inner in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            base = node.module or ""
            for alias in node.names:
                inside = ROOT.joinpath(*base.split("."), alias.name)
                module = inside.with_suffix(".py").exists() or (inside / "__init__.py").exists()
                yield f"{base}.{alias.name}" if module else base


def own_imports(file: Path) -> Iterator[str]:
    """Imports of our own."""
    yield from (name for name in imports(file) if name.split(".")[0] in PACKAGES)


@pytest.mark.parametrize("file", FILES, ids=module)
def test_no_package_knows_another(file: Path) -> None:
    package = module(file).split(".")[0]
    for name in own_imports(file):
        if package == "trials":
            assert name.startswith("trials"), f"{module(file)} imports {name}"
        elif package in {"results", "search_spaces"}:
            assert name in ZERO or name.startswith(package), f"{module(file)} imports {name}"


@pytest.mark.parametrize("file", [f for f in FILES if module(f) in ZERO], ids=module)
def test_the_ground_floor_needs_only_the_standard_library(file: Path) -> None:
    for name in imports(file):
        assert name in ZERO | {"trials"} or name.split(".")[0] in sys.stdlib_module_names, name


@pytest.mark.parametrize("file", [f for f in FILES if module(f).startswith("trials.")], ids=module)
def test_trials_know_no_engine_and_no_database(file: Path) -> None:
    banned = {
        "ray",
        "optuna",
        "sqlalchemy",
        "alembic",
        "pandas",
        "plotly",
        "sweep",
        "results",
        "search_spaces",
    }
    assert not banned & {name.split(".")[0] for name in imports(file)}


@pytest.mark.parametrize(
    "file", [f for f in FILES if f.parent.name in METHODS and f.parts[-3] == "trials"], ids=module
)
def test_methods_do_not_import_one_another(file: Path) -> None:
    own = f"trials.{file.parent.name}"
    for name in own_imports(file):
        tool = name in ZERO or name.split(".")[1] in TOOLS
        private = name.startswith(f"{own}._") or name == own
        assert tool or private, f"{module(file)} imports {name}"


@pytest.mark.parametrize(
    "file",
    [f for f in FILES if module(f).startswith("trials.") and module(f).split(".")[1] in TOOLS],
    ids=module,
)
def test_tools_know_neither_games_nor_the_runtime(file: Path) -> None:
    for name in own_imports(file):
        assert name in ZERO or name.split(".")[1] in TOOLS, f"{module(file)} imports {name}"


@pytest.mark.parametrize(
    "file", [f for f in FILES if module(f).split(".")[0] in FLOORS], ids=module
)
def test_no_package_imports_one_above_it(file: Path) -> None:
    top, *inside = module(file).split(".")
    order = FLOORS[top]
    if not inside:
        return
    assert inside[0] in order, f"give {inside[0]} its place in FLOORS"
    for name in own_imports(file):
        parts = name.split(".")
        if parts[0] == top and len(parts) > 1:
            assert order.index(parts[1]) <= order.index(inside[0]), f"{module(file)} imports {name}"


@pytest.mark.parametrize("file", [f for f in FILES if "ray_tune" not in f.parts], ids=module)
def test_ray_is_imported_in_one_package_alone(file: Path) -> None:
    assert "ray" not in {name.split(".")[0] for name in imports(file)}


@pytest.mark.parametrize("name", ["results.store", "trials.catalog", "sweep.cli"])
def test_reading_results_loads_neither_torch_nor_ray(name: str) -> None:
    code = f"import sys, {name}; print(sorted({{'torch', 'ray', 'optuna'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    allowed = "[]\n"
    assert done.stdout == allowed


@pytest.mark.parametrize("file", METHOD_FILES, ids=module)
def test_every_method_cites_its_source_and_says_where_it_deviates(file: Path) -> None:
    if file.stem == "__init__":
        return
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    assert "\nSource: " in doc
    assert "\nDeviation: " in doc or " Deviation: " in doc


def test_the_rules_are_checked_on_files_that_exist() -> None:
    names = {module(f) for f in FILES}
    assert {
        "trials.games.tuning",
        "results.store.store",
        "sweep.execution.ray_tune.executor",
        "search_spaces.none",
    } <= names
    assert len(METHOD_FILES) > 20
