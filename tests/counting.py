"""Figures that tests count, whichever process ran them: printed at the end of a run, and kept where
asked.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

SUITES = {"chaos", "fuzz"}
VERDICTS = ("refused", "contained", "accepted", "crashed")  # of a hostile input


def counter(request: pytest.FixtureRequest, seed: int) -> Callable[..., None]:
    """Adds a line of figures to the end of the tests' output, and to the file of ``--figures``."""
    began = time.monotonic()

    def add(what: str, **figures: Any) -> None:
        line = {"test": request.node.name, "what": what, "seed": seed, **figures}
        line["took"] = round(time.monotonic() - began, 1)
        request.node.user_properties.append(("chaos", line))
        file = request.config.getoption("--figures")
        if file is not None:
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")

    return add


def event_log(artifacts: Path) -> list[dict[str, Any]]:
    """Every line that workers wrote, with the process it is of, in the order of time."""
    found = []
    for file in (artifacts / "events").glob("*.jsonl"):
        for line in file.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                found.append({**json.loads(line), "pid": int(file.stem.rsplit("-", 1)[1])})
    return sorted(found, key=lambda e: e["time"])


def started(artifacts: Path) -> list[str]:
    """The trials that workers have started, by their event logs."""
    return [e["trial"] for e in event_log(artifacts) if e["event"] == "started"]


def repeated(artifacts: Path, records: Collection[str], lost: int) -> int:
    """Starts beyond one a record and one a trial that was lost with its worker; below 0: not all of
    them ran.
    """
    return len(started(artifacts)) - len(records) - lost


def summarise(terminalreporter: Any, tally_file: str) -> None:
    """Print what chaos tests counted and what became of hostile inputs; the latter also to a file,
    as JSON.
    """
    for line in _counted(terminalreporter, "chaos"):
        terminalreporter.write_line("chaos: " + ", ".join(f"{k} {v}" for k, v in line.items()))
    tally: dict[str, Counter[str]] = defaultdict(Counter)
    for counts_of in _counted(terminalreporter, "hostile"):
        for kind, counts in counts_of.items():
            tally[kind] += Counter(counts)
    table = {
        k: {"tried": c.total(), **{v: c[v] for v in VERDICTS}} for k, c in sorted(tally.items())
    }
    for kind, row in table.items():
        numbers = ", ".join(f"{row[v]} {v}" for v in VERDICTS)
        terminalreporter.write_line(f"hostile input: {kind}: {row['tried']} tried, {numbers}")
    total, wall = spent(terminalreporter)
    if total:
        terminalreporter.write_line(f"chaos and fuzz: {total:.0f} s of tests in {wall:.0f} s")
    if tally_file and table:
        Path(tally_file).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def spent(terminalreporter: Any) -> tuple[float, float]:
    """Seconds of the tests that kill, break and mistreat things: their sum, and those in which any
    of them ran.
    """
    ran = [
        r
        for some in terminalreporter.stats.values()
        for r in some
        if SUITES & set(getattr(r, "keywords", ()))
    ]
    total = wall = end = 0.0
    for start, stop in sorted((r.start, r.stop) for r in ran if hasattr(r, "start")):
        total += stop - start
        wall += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total, wall


def _counted(terminalreporter: Any, what: str) -> list[Any]:
    """The user properties of this name, of all tests that ran, in the order of their ends."""
    ended = [
        r
        for some in terminalreporter.stats.values()
        for r in some
        if getattr(r, "when", "") == "teardown"
    ]
    return [value for report in ended for name, value in report.user_properties if name == what]
