"""Take the demo's picture and figures anew, after `make demo`.

    python docs/retake.py [--store URL]

Writes docs/digits.md (all that the README says of the demo, in full), the README's block between
its two markers, and, where there is Chromium, docs/report.png.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from results.selection.confirmation import confirmed
from results.selection.winners import overall, winners
from results.store import Store
from trials.spec import Record

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- demo: written by docs/retake.py -->", "<!-- /demo -->"


def rows(records: list[Record]) -> list[str]:
    """A row of Markdown a winner: its setting, the report images, the real attack."""
    names = ["defense", "η on select", "CDA loss", "η on report", "real attack", "its CDA loss"]
    head = "| | " + " | ".join([*names, "step", "settings"]) + " |"
    lines = [head, "|---|---|--:|--:|--:|--:|--:|--:|---|"]
    found = winners(records)
    best = {id(w) for w in overall(found)}
    for w in found:
        mine = [r for r in records if r.trial.method == w.method and r.status == "done" and r.curve]
        by_game = {r.trial.game.name: r for r in mine}
        report, real = confirmed(w, records), by_game.get("robustness")
        settings = ", ".join(f"{k}={v}" for k, v in w.method.params.items())
        cells = ["best" if id(w) in best else "", w.defense, f"{w.eta:.1%}", f"{w.cda_loss:+.1%}"]
        cells += [
            f"{report.eta:.1%}" if report else "-",
            f"{real.curve[-1].asr:.1%}" if real else "-",
        ]
        cells += [
            f"{real.curve[0].cda - real.curve[-1].cda:+.1%}" if real else "-",
            str(w.step),
            settings,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def page(records: list[Record]) -> str:
    """docs/digits.md."""
    seconds = sum(r.seconds for r in records)
    facts = records[-1].provenance
    stamp = ", ".join(f"{k} {facts[k]}" for k in ("python", "torch", "device_name") if k in facts)
    return "\n".join(
        [
            "# The demo: digits",
            "",
            "`make demo` runs examples/digits.toml: two convolutions trained on real handwritten",
            "digits with a BadNets backdoor, then defenses tuned on self-poisoned copies, then",
            "each winner judged on the real one.",
            "",
            *rows(records),
            "",
            "η is the ASR left: of the worst of three kinds of trigger on select images (which",
            "chose the setting) and on report images (which chose nothing), and of the real attack",
            "on the test set (which the defender never sees).",
            "",
            f"{len(records)} trials, {seconds:.0f} s of trial time in all; {stamp}.",
            "",
        ]
    )


def short(records: list[Record]) -> str:
    """The README's block: five columns."""
    kept = (1, 2, 3, 5, 6)  # cells of a row
    table = [
        "| " + " | ".join(line.split("|")[1:-1][i].strip() for i in kept) + " |"
        for line in rows(records)
    ]
    return "\n".join([BEGIN, "", *table, "", END])


def picture(records: list[Record], target: Path) -> None:
    """The report's upper part, 1200 pixels wide."""
    from results.report.page import write  # noqa: PLC0415

    browser = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if browser is None:
        print("no Chromium: docs/report.png stays as it was")
        return
    with tempfile.TemporaryDirectory() as folder:
        html, shot = Path(folder) / "report.html", Path(folder) / "report.png"
        write(records, html, title="digits")
        words = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=1200,1500",
        ]
        words += [
            "--virtual-time-budget=8000",
            f"--user-data-dir={folder}/profile",
            f"--screenshot={shot}",
        ]
        subprocess.run([*words, html.as_uri()], check=True, capture_output=True, timeout=120)
        Image.open(shot).convert("RGB").save(target, optimize=True)
    print(f"{target.relative_to(ROOT)}: {target.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Read the store, write the three."""
    words = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words.add_argument("--store", default="sqlite:///runs/poisonsweep.db")
    with Store.open(words.parse_args().store, create=False) as store:
        records = store.records("digits")
    (ROOT / "docs" / "digits.md").write_text(page(records), encoding="utf-8")
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    block = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    readme.write_text(block.sub(lambda _: short(records), text), encoding="utf-8")
    picture(records, ROOT / "docs" / "report.png")


if __name__ == "__main__":
    main()
