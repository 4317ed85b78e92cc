"""Kill drivers and workers of real sweeps, break what they stand on, and write down what was lost.

    python -m benchmarks.reliability [--rounds N] [--only WORDS] [--hostile] [--profile NAME]
    [--page]

Runs the tests with the marker ``chaos`` (tests/chaos, and those of two nodes), then those with
hostile inputs (tests/fuzz), keeps what they counted in benchmarks/results/reliability.json and
renders docs/reliability.md. ``--only`` runs the chaos tests whose names hold these words and leaves
all other figures as they were, ``--hostile`` does so for the hostile inputs; ``--page`` renders the
page alone.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._reliability_page import Line, render
from benchmarks._shared import OUTPUT, ROOT, parsed, write
from trials.provenance import of_code

PAGE = ROOT / "docs" / "reliability.md"
FIGURES = OUTPUT / "reliability.json"
ON_RAY = "tests/sweep/execution/ray_tune"
TESTS = ("tests/chaos", f"{ON_RAY}/test_two_nodes.py", f"{ON_RAY}/test_two_namespaces.py")
NOTHING: dict[str, Any] = {"counted": [], "hostile": {}}  # no figures yet


def measure(rounds: int, only: str) -> list[Line]:
    """What the tests counted. Raises SystemExit if one failed: no figures are kept then."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "figures.jsonl"
        words = [
            "-m",
            "pytest",
            "-m",
            "chaos",
            *TESTS,
            "--rounds",
            str(rounds),
            "--figures",
            str(file),
        ]
        code = subprocess.run(
            [sys.executable, *words, *(["-k", only] if only else [])], cwd=ROOT, check=False
        ).returncode
        if code:
            raise SystemExit("a chaos test failed, so nothing was written: see above")
        return lines_of(file)


def lines_of(file: Path) -> list[Line]:
    """What the tests counted, with the commit."""
    return [
        {"commit": of_code().get("commit", ""), **json.loads(text)}
        for text in file.read_text().splitlines()
    ]


def _more(old: Line, fresh: Sequence[Line]) -> bool:
    """True where an earlier run of a test killed more often, so that its count is worth keeping."""
    return bool(
        old.get("kills", 0) > max(x.get("kills", 0) for x in fresh if x["test"] == old["test"])
    )


def hostile(profile: str) -> dict[str, Any]:
    """How many inputs of each kind were tried, and what became of them.

    Raises SystemExit if a test failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tally.json"
        words = ["-m", "pytest", "-q", "tests/fuzz", "--fuzz-json", str(file)]
        words += ["--hypothesis-profile", profile]
        began = time.monotonic()
        if subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode:
            raise SystemExit("a test with hostile input failed, so nothing was written: see above")
        took, tally = time.monotonic() - began, json.loads(file.read_text(encoding="utf-8"))
        return {
            "profile": profile,
            "took": took,
            "commit": of_code().get("commit", ""),
            "kinds": tally,
        }


def kept() -> dict[str, Any]:
    """The figures of earlier runs."""
    return (
        {**NOTHING, **json.loads(FIGURES.read_text(encoding="utf-8"))}
        if FIGURES.exists()
        else NOTHING
    )


def main() -> None:
    """Run the tests, keep the figures, render the page."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--rounds", type=int, default=20)
    words.add_argument("--only", default="", help="words for pytest's -k")
    words.add_argument(
        "--figures", type=Path, help="take what a run of the tests with --figures FILE counted"
    )
    words.add_argument("--hostile", action="store_true", help="the hostile inputs alone")
    words.add_argument(
        "--profile",
        default="default",
        help="of hypothesis: CI tries short; long is ten times default",
    )
    words.add_argument(
        "--page", action="store_true", help="render the page from the figures that are there"
    )
    asked = parsed(words, rounds=1, only="test_a_damaged_artifact_is_never_used")
    found = NOTHING if asked.tiny else {k: kept()[k] for k in NOTHING}
    if not asked.page and not asked.hostile:
        fresh = lines_of(asked.figures) if asked.figures else measure(asked.rounds, asked.only)
        measured = {x["test"] for x in fresh}
        part = asked.only or asked.figures
        old = [
            x for x in found["counted"] if part and (x["test"] not in measured or _more(x, fresh))
        ]
        kept_tests = {x["test"] for x in old}
        found = {**found, "counted": [*(x for x in fresh if x["test"] not in kept_tests), *old]}
        write("reliability", found, tiny=asked.tiny)
    if not asked.page and not asked.only and not asked.figures:
        found = {**found, "hostile": hostile(asked.profile)}
        write("reliability", found, tiny=asked.tiny)
    text = render(json.loads(FIGURES.read_text(encoding="utf-8")))
    print(text)
    if not asked.tiny:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
