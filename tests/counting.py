"""Figures that tests count, whichever process ran them: printed at the end of a run, and kept where asked."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

VERDICTS = ("refused", "contained", "accepted", "crashed")  # of a hostile input


def summarise(terminalreporter: Any, tally_file: str) -> None:
    """Print what chaos tests counted and what became of hostile inputs; the latter also to a file, as JSON."""
    for line in _counted(terminalreporter, "chaos"):
        terminalreporter.write_line("chaos: " + ", ".join(f"{k} {v}" for k, v in line.items()))
    tally: dict[str, Counter[str]] = defaultdict(Counter)
    for counts_of in _counted(terminalreporter, "hostile"):
        for kind, counts in counts_of.items():
            tally[kind] += Counter(counts)
    table = {k: {"tried": c.total(), **{v: c[v] for v in VERDICTS}} for k, c in sorted(tally.items())}
    for kind, row in table.items():
        numbers = ", ".join(f"{row[v]} {v}" for v in VERDICTS)
        terminalreporter.write_line(f"hostile input: {kind}: {row['tried']} tried, {numbers}")
    if tally_file and table:
        Path(tally_file).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def _counted(terminalreporter: Any, what: str) -> list[Any]:
    """The user properties of this name, of all tests that ran, in the order of their ends."""
    ended = [r for some in terminalreporter.stats.values() for r in some if getattr(r, "when", "") == "teardown"]
    return [value for report in ended for name, value in report.user_properties if name == what]
