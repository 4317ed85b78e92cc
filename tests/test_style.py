"""One loop a comprehension, and none inside an f-string: what a reader would want to print has a
name. No file is long.
"""

import ast
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("trials", "sweep", "results", "search_spaces", "poisonsweep", "benchmarks")
FILES = sorted(chain.from_iterable((ROOT / p).rglob("*.py") for p in PACKAGES))
LONGEST = 300  # lines of a file
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def dense(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and fault of each comprehension that does more than one thing."""
    for node in ast.walk(tree):
        inner = [n for n in ast.walk(node) if n is not node and isinstance(n, COMPREHENSIONS)]
        if isinstance(node, COMPREHENSIONS) and len(node.generators) > 1:
            yield node.lineno, "two loops in one comprehension"
        if isinstance(node, COMPREHENSIONS) and inner:
            yield node.lineno, "a comprehension in another"
        if isinstance(node, ast.JoinedStr) and inner:
            yield node.lineno, "a comprehension in an f-string"


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", FILES, ids=name)
def test_a_comprehension_has_one_loop_and_is_in_no_other(file: Path) -> None:
    found = [f"line {line}: {fault}" for line, fault in dense(ast.parse(file.read_text()))]
    assert not found, f"{name(file)}: {'; '.join(found)}"


@pytest.mark.parametrize(
    ("code", "faults"),
    [
        ("[x for x in y]", 0),
        ("f(x for x in y if x)", 0),
        ("[x for y in z for x in y]", 1),
        ("[[x for x in y] for y in z]", 1),
        ("{k: v for k, v in {1: 2 for _ in z}.items()}", 1),
        ("f'{[x for x in y]}'", 1),
        ("f'{x}'.join(x for x in y)", 0),
    ],
)
def test_what_counts_as_dense(code: str, faults: int) -> None:
    assert len(list(dense(ast.parse(code)))) == faults


def test_a_file_is_short_enough_to_be_about_one_thing() -> None:
    lines = {name(f): len(f.read_text().splitlines()) for f in FILES}
    assert {file: n for file, n in lines.items() if n > LONGEST} == {}
