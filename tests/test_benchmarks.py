"""Every benchmark runs, in a tiny form, gives figures, and leaves the kept ones alone."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from programs import Program

from benchmarks._shared import OUTPUT, ROOT, TINY

NAMES = sorted(file.stem for file in (ROOT / "benchmarks").glob("[a-z]*.py"))
KEPT = (*OUTPUT.iterdir(), ROOT / "docs" / "self-poisoning.md", ROOT / "docs" / "reliability.md")
MARKS = {"engine": pytest.mark.ray}


def numbers(figures: Any) -> Iterator[float]:
    if isinstance(figures, dict):
        figures = list(figures.values())
    for each in figures if isinstance(figures, list) else ():
        yield from numbers(each)
    if isinstance(figures, int | float) and not isinstance(figures, bool):
        yield float(figures)


@pytest.mark.examples
@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in NAMES])
def test_every_benchmark_runs_and_keeps_nothing_of_a_tiny_run(name: str) -> None:
    before = {file: file.read_bytes() for file in KEPT}
    done = Program(
        ["-m", f"benchmarks.{name}", "--tiny"], ROOT, {**os.environ, "OMP_NUM_THREADS": "1"}
    )
    out, err = done.communicate()
    assert done.returncode == 0, out + err
    lines = out.splitlines()
    if skipped := [line for line in lines if line.startswith("skipped: ")]:
        pytest.skip(skipped[0].removeprefix("skipped: "))
    figures = [json.loads(line.removeprefix(TINY)) for line in lines if line.startswith(TINY)]
    assert len(list(numbers({k: v for k, v in figures[-1].items() if k != "machine"}))) >= 3
    assert {file: file.read_bytes() for file in KEPT} == before and set(OUTPUT.iterdir()) <= set(
        KEPT
    )
