"""What the commands that run trials say."""

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from sweep.console.grid import Grid
from sweep.console.terminal import Plain, shown
from trials.spec import Trial

if TYPE_CHECKING:
    from results.selection.understood import Understood
    from results.store.queries import Failure
    from sweep.commands.rerun import Comparison
    from sweep.commands.run import Ran

SHOWN = 20  # differences that a table shows


def ran(sweep: str, done: "Ran") -> None:
    """Say what a run did and what to do next."""
    p = done.progress
    number = p.done + p.failed + p.pruned
    parts = [
        f"sweep {sweep}: ran {number} trials ({p.failed} failed, {p.pruned} pruned), {p.stored} "
        "were in the store"
    ]
    if p.remote_done:
        parts.append(f", {p.remote_done} were run by other drivers")
    if p.worker_lost:
        parts.append(f"; {p.worker_lost} lost workers' trials were started again")
    print(f"{''.join(parts)}.")
    if p.failed:
        print(
            f"failures: poisonsweep status --sweep {sweep}; after mending, run again "
            "with --retry-failed."
        )
    elif done.failed:
        print("some stored trials have failed; --retry-failed runs them again.")
    for line in _to_mend(done.failed):
        print(line)
    print(f"next: poisonsweep best --sweep {sweep}, poisonsweep report --sweep {sweep}")


def _to_mend(failed: "list[Failure]") -> list[str]:
    """The errors that say what to do, such as those of a damaged artifact or a full disk, each
    once, with its count.
    """
    last = ("".join((f.error or "").strip().splitlines()[-1:]).partition(": ")[2] for f in failed)
    counts = Counter(line for line in last if "run again with --retry-failed" in line)
    return [f"{count} failed: {line}." for line, count in counts.items()]


def understood(seen: "Understood", *, to_stderr: bool) -> None:
    """Say what was made of a given model and its images before anything is spent, and warn."""
    console = Plain(stderr=to_stderr)
    for text in seen.lines():
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    taken = "others mostly taken for"
    table = Grid("class", "images", "right", taken, words={"class", taken}, right=True)
    for c in seen.listed():
        table.add(c.name, c.images, f"{c.recall:.1%}", c.taken_for)
    console.print(table)
    if len(seen.listed()) < len(seen.classes):
        console.print(
            f"The {len(seen.listed())} of {len(seen.classes)} classes that it knows least.",
            highlight=False,
        )
    for text in seen.warnings:
        console.print(f"warning: {text}", markup=False, highlight=False, soft_wrap=True)


def defended(choice: dict[str, Any], as_json: bool) -> None:
    """Say what ``defend`` chose and wrote."""
    if as_json:
        print(json.dumps(choice, indent=1))
        return
    for text in (*choice["said"], *(f"- {note}" for note in choice["notes"]), *choice["files"]):
        print(shown(text))


def compared(c: "Comparison", as_json: bool) -> None:
    """Say whether a trial that was run again gave what is stored, and what may be why not."""
    if as_json:
        print(json.dumps(c.as_json(), indent=1))
        return
    console = Plain()
    how = f"within {c.tolerance:g}" if c.tolerance else "bit for bit"
    what = f"status, {len(c.stored.metrics)} metrics, {len(c.stored.curve)} points of the curve"
    head = f"trial {c.stored.trial.id} ({trial_label(c.stored.trial)})"
    if not c.differences:
        console.print(
            f"{head}: equal {how}: {what}.", markup=False, highlight=False, soft_wrap=True
        )
        return
    console.print(f"{head}: not equal {how}.", markup=False, highlight=False, soft_wrap=True)
    table = Grid("what", "stored", "now", words={"what", "stored", "now"})
    for d in c.differences[:SHOWN]:
        table.add(d.what, d.stored, d.now)
    if len(c.differences) > SHOWN:
        table.add(f"and {len(c.differences) - SHOWN} more (--json has them all)")
    for d in c.reasons:
        table.add(f"likely reason: {d.what}", d.stored, d.now)
    console.print(table)


def trial_label(trial: Trial) -> str:
    """The trial's game, and its defense or filter, or else its data set."""
    method = trial.method or trial.roles.get("filter")
    return f"{trial.game.name} {method or trial.victim.dataset.name}"
