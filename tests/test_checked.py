"""mypy looks into every test, which it finds by the folders that pyproject.toml lists."""

import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
MYPY = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]
TESTS = [f for f in (ROOT / "tests").rglob("*.py") if "methods" not in f.parts]


def test_each_folder_of_tests_that_is_no_package_is_on_mypys_path() -> None:
    folders = {file.parent for file in TESTS}
    loose = {f.relative_to(ROOT).as_posix() for f in folders if not (f / "__init__.py").exists()}
    assert set(MYPY["mypy_path"]) == {".", "docs", *loose}  # docs: what writes its tables


def test_only_a_conftest_is_left_out() -> None:
    """No two others have one name, which neither mypy nor pytest could tell apart."""
    assert MYPY["exclude"] == [r"conftest\.py$", "^tests/chaos/methods/"]
    loose = [f.name for f in TESTS if not (f.parent / "__init__.py").exists()]
    assert {name for name, n in Counter(loose).items() if n > 1} <= {"conftest.py"}
