"""What the page says of a sweep as a whole: what failed, and how its numbers came about."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from results.selection.configurations import of_game
from results.selection.labels import RULES_SAID, percent
from results.selection.rules import delta_of
from trials.spec import Record


def counted(records: Sequence[Record]) -> str:
    """How many trials of which game ended how, in words."""
    counts = Counter((r.status, r.trial.game.name) for r in records)
    return ", ".join(
        f"{n} {game} trial{'s' if n > 1 else ''} {s}" for (s, game), n in sorted(counts.items())
    )


def tracebacks(lost: Sequence[Record]) -> list[dict[str, Any]]:
    """Failed trials by traceback, most frequent first."""
    alike: dict[str, list[Record]] = defaultdict(list)
    for r in lost:
        if r.status == "failed":
            alike[r.error or "no traceback was recorded"].append(r)
    found = []
    for error, group in sorted(alike.items(), key=lambda item: (-len(item[1]), item[0])):
        first = group[0].trial
        name = " ".join(filter(None, [first.game.name, first.method.name if first.method else ""]))
        final = error.strip().splitlines()[-1] if error.strip() else error
        found.append(
            {"id": first.id, "name": name, "last": final, "count": len(group), "error": error}
        )
    return found


def provenance(records: Sequence[Record], rule: str) -> list[tuple[str, str]]:
    """How the numbers came about; a fact that differs between trials is listed with its counts."""
    deltas = sorted({percent(delta_of(r)) for r in of_game(records, "tuning", "robustness")})
    statuses = sorted(Counter(r.status for r in records).items())
    hours = sum(r.seconds for r in records) / 3600
    seeds = sorted({r.trial.seed for r in records})
    rows = [
        ("rule", f"{RULES_SAID[rule]} ({rule})"),
        ("Δ", f"{', '.join(deltas)} points" if deltas else "none used"),
        ("trials", ", ".join(f"{n} {s}" for s, n in statuses) or "none"),
        ("seeds", ", ".join(map(str, seeds)) or "none"),
        ("time in trials", f"{hours:.2f} hours"),
    ]
    facts: dict[str, Counter[str]] = defaultdict(Counter)
    for r in records:
        for key, value in r.provenance.items():
            facts[key][value] += 1
    for key, counts in sorted(facts.items()):
        one = len(counts) == 1
        rows.append(
            (key, ", ".join(v if one else f"{v} ({n} trials)" for v, n in counts.most_common()))
        )
    return rows
