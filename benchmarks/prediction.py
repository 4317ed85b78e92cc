"""Do self-poisoned copies predict what a defense leaves of the real attack, and by which scheme?

    poisonsweep run examples/answer.toml --local --store sqlite:///answer.db
    python -m benchmarks.prediction --store sqlite:///answer.db [--keep]
    python -m benchmarks.prediction --pairs benchmarks/results/prediction-small.csv

Reads the stores of sweeps with ``judge_all``, in which every setting runs on copies and on the real
attack, and prints for each scheme of self-poisoning how far the copies' ASR (of the worst kind of
trigger) lies from the real one, in what order they put the settings, what choosing on them gives
away, and how many real ASRs lie in the forecast made from the other victims; then what choosing
gives away, and the order, on each victim. ``shuffled`` is the
order once the copies' numbers are shuffled among a victim's settings: it has to be near 0. A victim
whose attack was not learned (ASR below 80 %) proves nothing and is left out. ``--keep`` adds the
pairs to results/reference/prediction_pairs.csv, from which the forecasts of reports are made; with
``--pairs`` such files are read in place of stores.
"""

import argparse
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from benchmarks._shared import ROOT, TINY, parsed, refusing
from results.comparison.prediction import Pair, pairs
from results.comparison.prediction_quality import OnVictim, Quality, by_victim, qualities
from results.selection.forecast import INVERSION, PAIRS
from results.store import Store
from sweep import api
from sweep.spec import sweep_file
from trials.catalog import FAMILIES
from trials.spec import Record, SpecError

LEARNED = 0.8  # ASR from which a victim counts
NAMES = [field.name for field in fields(Pair)]
COLUMNS = set(NAMES)
DIGITS = ".5g"
KEY = ["victim", "trusted", "scheme", "kinds", "defense", "settings"]
FILE = ROOT / "results" / "reference" / f"{PAIRS}.csv"
TINY_SWEEP = Path(__file__).with_name("prediction_tiny.toml")


def of_learned(records: Sequence[Record]) -> list[Record]:
    """The records of victims that learned their attack."""
    trained = (r for r in records if r.trial.game.name == "training" and r.status == "done")
    asr = {r.trial.victim.id: r.metrics.get("asr", 0.0) for r in trained}
    return [r for r in records if asr.get(r.trial.victim.id, 1.0) >= LEARNED]


def pairs_in(urls: Iterable[str]) -> list[Pair]:
    """The pairs in these stores."""
    found: list[Pair] = []
    for url in urls:
        with Store.read(url) as store:
            found += pairs(of_learned(store.records()))
    return found


def pairs_of(files: Iterable[Path]) -> list[Pair]:
    """The pairs in these files, as ``--keep`` writes them."""
    found = list[Pair]()
    for file in files:
        rows = pd.read_csv(file, keep_default_na=False, dtype={"victim": str})
        if set(rows.columns) != COLUMNS:
            raise SpecError(f"{file}: has no pairs: its columns have to be {', '.join(NAMES)}.")
        found += [Pair(**dict(zip(rows.columns, row, strict=True))) for row in rows.values.tolist()]
    return found


def percents(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f}"


def digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def line(q: Quality) -> str:
    """A row of the table in Markdown."""
    tau, shuffled = map(digits, (q.tau, q.shuffled))
    if q.tau_interval:
        tau += f" [{digits(q.tau_interval.low)}, {digits(q.tau_interval.high)}]"
    numbers = (q.error, q.bias, q.regret, q.worst_regret, q.covered)
    error, bias, regret, worst, covered = map(percents, numbers)
    return (
        f"| `{q.scheme}` | {q.victims} | {q.n} | {error} | {bias} | {tau} | {shuffled} | {regret} "
        f"| {worst} | {covered} |"
    )


def table(found: Sequence[Pair]) -> list[str]:
    """All pairs, and then those without the inversion-based ones."""
    head = (
        "| scheme | victims | pairs | error (pp) | bias (pp) | Kendall τ | shuffled | regret (pp) "
        "| worst | covered (%) |"
    )
    rule = "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    others = [f for f in FAMILIES if f != INVERSION]
    every = [line(q) for q in qualities(found)]
    without = [line(q) for q in qualities(found, families=others)]
    each = ["", "Regret (pp) and Kendall τ on each victim:", "", *victims(found)]
    return [head, rule, *every, "", "Without inversion:", "", head, rule, *without, *each]


def victims(found: Sequence[Pair]) -> list[str]:
    """A row a victim and a column a scheme, in Markdown: regret, and Kendall τ in brackets."""
    told = by_victim(found)
    schemes = sorted({o.scheme for o in told})
    heads = [f"`{s}`" for s in schemes]
    lines = [f"| victim | {' | '.join(heads)} |", f"|---|{'--:|' * len(schemes)}"]
    for name in dict.fromkeys(map(_named, told)):
        mine = {o.scheme: o for o in told if _named(o) == name}
        cells = [_cell(mine[s]) if s in mine else "" for s in schemes]
        lines.append(f"| {name[0]} | {' | '.join(cells)} |")
    return lines


def _named(o: OnVictim) -> tuple[str, str]:
    """What is shown of a victim, and what tells it from others."""
    return f"{o.attack}, seed {o.victim_seed} ({o.victim[:4]})", o.victim


def _cell(o: OnVictim) -> str:
    return f"{percents(o.regret)} ({digits(o.tau)})"


def keep(found: Sequence[Pair], file: Path | None = None) -> int:
    """Add the pairs to the file, in place of older ones of the same; returns how many it has."""
    return add(pd.DataFrame([p.as_row() for p in found]), file)


def add(rows: pd.DataFrame, file: Path | None = None) -> int:
    """The same of rows."""
    file = file or FILE
    rows["trusted"] = [float(f"{r:{DIGITS}}") for r in rows["trusted"]]  # as the file has it
    if file.exists():
        # no settings are an empty cell, and not one that lacks
        kept = pd.read_csv(file, keep_default_na=False, dtype={"victim": str})
        rows = pd.concat([kept, rows], ignore_index=True)
    rows = rows.drop_duplicates(KEY, keep="last").sort_values(KEY)
    rows.to_csv(file, index=False, float_format=f"%{DIGITS}")
    return len(rows)


def tiny() -> list[Pair]:
    """The pairs of a sweep of seconds, on digits."""
    sweep = sweep_file.read(TINY_SWEEP)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tiny.db"
        api.run(sweep, url)
        return pairs_in([url])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", nargs="+", default=[], help="stores to read")
    parser.add_argument("--pairs", nargs="+", default=[], type=Path, help="files of pairs to read")
    parser.add_argument("--keep", action="store_true", help=f"add the pairs to {FILE.name}")
    given = parsed(parser)
    with refusing("prediction"):
        found = tiny() if given.tiny else [*pairs_in(given.store), *pairs_of(given.pairs)]
    print("\n".join(table(found)) if found else "no setting ran on copies and on a real attack")
    if given.tiny:
        print(TINY + json.dumps({"qualities": [asdict(q) for q in qualities(found)]}))
    if given.keep and found:
        print(f"{FILE.name} has {keep(found)} pairs now")


if __name__ == "__main__":
    main()
