"""One blind choice beside each defense at its best, which is chosen with the true trigger.

    poisonsweep run examples/board-small.toml --local --store sqlite:///board.db
    python -m benchmarks.board --store sqlite:///board.db --out benchmarks/results/board-small.csv

Public boards give a defense the setting and the point that leave the least of the true attack,
which no defender can see. Here each victim has one choice of the sweep's own rule, made without the
trigger and the test set, and beside it, for every defense, the least ASR that any of its settings
leaves within Δ on the test set. A victim counts as repaired with at most 5 % ASR left for at most
Δ. Reads stores of sweeps with ``judge_all``; ``--sweep`` names those of a store that are wanted, as
'board*'. A victim that did not learn its attack (ASR below 80 %), or that knows too little (CDA
more than 5 points below that of its clean twin, where the stores have one), is counted apart.
``--clean`` runs each blind choice on that twin, which a sweep of ``game = "training"`` makes. Each
cell is the victims repaired, the median ASR that is left, and the median CDA lost in points; *only
here, only there* are victims that the blind choice alone repairs, and the defense alone.
"""

import argparse
import fnmatch
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import pandas as pd

from benchmarks._board_clean import run_on_clean
from benchmarks._board_repairs import BEST, BLIND, Repair, repairs
from benchmarks._shared import TINY, parsed, refusing
from results.selection.rules import DEFAULT_RULE, OWN_RULE, WORST_RULE
from results.stats.intervals import wilson
from results.store import Store
from sweep import api
from sweep.spec import sweep_file
from trials.spec import Record, SpecError

CHOOSES = (DEFAULT_RULE, OWN_RULE, WORST_RULE)  # that a defender can follow
COSTS = ("cost seen", "cost", "on a clean model")
TINY_SWEEP = Path(__file__).with_name("prediction_tiny.toml")


def repairs_in(urls: Iterable[str], rule: str, sweeps: str = "*") -> list[Repair]:
    """Those of all these stores, of sweeps whose names are like that pattern; clean twins are of
    any sweep, in stores that have such a one.

    Raises SpecError where no sweep is called so.
    """
    found = dict[str, Record]()
    for url in urls:
        with Store.read(url) as store:
            names = fnmatch.filter([row.name for row in store.sweeps()], sweeps)
            records = [*store.records(None, "training")]
            for name in names:
                records += store.records(name)
        found |= {r.trial.id: r for r in records if names}
    if not found:
        raise SpecError(
            f"no sweep is called {sweeps!r} in the stores of --store, or they have no records."
        )
    return repairs(list(found.values()), rule)


def tables(found: Sequence[Repair]) -> list[str]:
    """For each share of trusted images: the repairs of each chooser, and what the blind choices
    had said.
    """
    lines = list[str]()
    for trusted in sorted({r.trusted for r in found}):
        some = [r for r in found if r.trusted == trusted]
        lines += [f"{100 * trusted:g} % of the training images are trusted:", "", *table(some), ""]
        lines += ["What the blind choices said before:", "", *said(some), ""]
    return lines


def table(found: Sequence[Repair]) -> list[str]:
    """Victims repaired of those that count, the median ASR left and the median cost, by attack and
    in all; beside each defense the settings that it had, the victims on which the blind choice and
    it differ, and the median seconds of trials.
    """
    valid = [r for r in found if r.counts]
    attacks = sorted({r.attack for r in valid})
    sides = ("settings", *attacks, "all", "95 % interval", "only here, only there", "seconds")
    lines = [_line(["", *sides]), _line(["---", *["--:"] * len(sides)])]
    by = defaultdict[str, list[Repair]](list)
    for r in valid:
        by[r.chooser].append(r)
    blind = {r.victim: r.repaired for r in by.get(BLIND, [])}
    for chooser, mine in sorted(by.items(), key=_order):
        cells = [_cell(mine, a) for a in attacks]
        interval = wilson(sum(r.repaired for r in mine) / len(mine), len(mine))
        between = f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"
        spent, tried = median(r.seconds for r in mine), max(r.tried for r in mine)
        told = (_cell(mine), between, _against(blind, mine), f"{spent:.0f}")
        row = [chooser, str(tried), *cells, *told]
        lines.append(_line(row))
    left_out = {(r.victim, r.attack) for r in found if not r.counts}
    return [*lines, "", f"{len(left_out)} victims left out: attack not learned, or low CDA"]


def said(found: Sequence[Repair]) -> list[str]:
    """A row a blind choice: what it was chosen by, the forecast, and what was true."""
    head = ("victim", "chosen", "said", "own trigger", "forecast", "left", *COSTS)
    lines = [_line(head), _line(["---", "---", *["--:"] * (len(head) - 2)])]
    for r in sorted(found, key=lambda r: (r.attack, r.victim_seed)):
        if r.chooser != BLIND or not r.counts:
            continue
        forecast = f"{_percent(r.low)} to {_percent(r.high)}" if r.low is not None else "–"
        rates = (_percent(r.promised), _percent(r.reconstructed), forecast, _percent(r.eta))
        costs = map(_points, (r.cda_loss_seen, r.cda_loss, r.cda_loss_clean))
        name, chosen = f"{r.attack}, seed {r.victim_seed}", f"`{r.defense}`, step {r.step}"
        lines.append(_line([name, chosen, *rates, *costs]))
    return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _percent(rate: float | None) -> str:
    return "–" if rate is None else f"{100 * rate:.1f} %"


def _points(loss: float | None) -> str:
    return "–" if loss is None else f"{100 * loss:.1f}"


def _order(one: tuple[str, Sequence[Repair]]) -> tuple[bool, bool, int, float]:
    """The blind choice first, then the best of all, then by repaired victims."""
    chooser, mine = one
    repaired = sum(r.repaired for r in mine)
    return chooser != BLIND, chooser != BEST, -repaired, median(r.eta for r in mine)


def _against(blind: dict[str, bool], mine: Sequence[Repair]) -> str:
    """Victims that the blind choice alone repairs, and those that this one alone does."""
    both = [(blind[r.victim], r.repaired) for r in mine if r.victim in blind]
    return f"{both.count((True, False))}, {both.count((False, True))}"


def _cell(mine: Sequence[Repair], of: str = "") -> str:
    """Of one attack, or of all."""
    some = [r for r in mine if r.attack == of or not of]
    if not some:
        return "–"
    repaired, left = sum(r.repaired for r in some), 100 * median(r.eta for r in some)
    cost = 100 * median(r.cda_loss for r in some)
    return f"{repaired} of {len(some)}, {left:.0f} % ({cost:.1f})"


def tiny() -> list[Repair]:
    """Those of a sweep of seconds, on digits, whose choices ran on clean twins, too."""
    sweep = sweep_file.read(TINY_SWEEP)
    twins = tuple(replace(victim, attacks=()) for victim in sweep.victims)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/tiny.db"
        api.run(replace(sweep, name="twins", victims=twins, game="training"), url)
        api.run(sweep, url)
        run_on_clean(url, sweep.name, sweep.rule)
        return repairs_in([url], sweep.rule)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", nargs="+", default=[], help="stores to read")
    parser.add_argument("--sweep", default="*", help="sweeps of this name, or pattern; all")
    parser.add_argument("--rule", default=WORST_RULE, choices=CHOOSES, help="of the blind choice")
    parser.add_argument("--clean", action="store_true", help="first run choices on clean twins")
    parser.add_argument("--out", type=Path, help="file for the rows")
    given = parsed(parser)
    with refusing("board"):
        if given.clean:
            ran = sum(run_on_clean(url, given.sweep, given.rule) for url in given.store)
            print(f"{ran} choices ran on clean models")
        found = tiny() if given.tiny else repairs_in(given.store, given.rule, given.sweep)
    print("\n".join(tables(found)))
    if given.tiny:
        print(TINY + json.dumps({"repairs": [asdict(r) for r in found]}))
    if given.out:
        rows = pd.DataFrame([asdict(r) for r in found])
        with refusing("board"):
            rows.to_csv(given.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
